//! The demo tenant: a small school with orders, courses, progress, coupons and a promotion. The public API makes what
//! it can make; the rest is written into the tenant's database as the legacy application would write it.
//!
//! Every row has a fixed id, so a second start changes nothing.

mod rows;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::Connection;

use crate::clients::{Admin, NewUser, TenantApi};
use crate::files::{read_json, write_json};

pub const TENANT: &str = "demo";
pub const DOMAIN: &str = "demo.localhost";
const ACTIVE: Duration = Duration::from_secs(60);

/// How to use the demo tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Demo {
    pub domain: String,
    /// An admin of the tenant.
    pub user_id: String,
    pub token: String,
    /// All six users, the administrator first.
    pub users: Vec<String>,
}

/// User name, name and role of each person in the school.
const PEOPLE: [(&str, &str, &str); 6] = [
    ("demo-grace", "Grace Lin", "admin"),
    ("demo-victor", "Victor Zhao", "viewer"),
    ("demo-amelia", "Amelia Chen", "user"),
    ("demo-noah", "Noah Wang", "user"),
    ("demo-sofia", "Sofia Liu", "user"),
    ("demo-liam", "Liam Zhou", "user"),
];

/// Makes the tenant, its users and its data, or finds those of an earlier start.
pub async fn ensure(admin: &Admin, api: &TenantApi, system: &str, tenant_admin: &str, dir: &Path) -> Result<Demo> {
    ensure_tenant(admin).await?;
    let file = dir.join("demo.json");
    let known: Option<Demo> = read_json(&file)?;
    let members = known.as_ref().map_or(&[][..], |demo| &demo.users);
    let users = ensure_users(admin, system, members).await?;
    let still_good = match &known {
        Some(demo) if demo.users == users => {
            api.get(&demo.domain, &demo.token, "/api/orders").await.is_ok_and(|reply| reply.status == 200)
        }
        _ => false,
    };
    let demo = match known.filter(|_| still_good) {
        Some(demo) => demo,
        None => {
            let (user_id, domain) = (users[0].clone(), DOMAIN.to_owned());
            let token = admin.create_token(&user_id, None).await?;
            Demo { domain, user_id, token, users }
        }
    };
    write_json(&file, &demo)?;
    rows::fill(tenant_admin, &demo.users).await.context("write the demo data")?;
    Ok(demo)
}

async fn ensure_tenant(admin: &Admin) -> Result<()> {
    let body = json!({"tenant_id": TENANT, "tenant_name": "Demo School", "tenant_domain": DOMAIN});
    let reply = admin.post("/admin/tenants", body).await?;
    if reply.status == 409 {
        // The tenant exists since an earlier start.
        admin.wait_for_state(TENANT, "active", ACTIVE).await?;
        return Ok(());
    }
    let created: crate::clients::Created = reply.expect(202).context("create the demo tenant")?;
    admin.wait_for_operation(&created.operation_id, ACTIVE).await?;
    admin.wait_for_state(TENANT, "active", ACTIVE).await?;
    Ok(())
}

async fn ensure_users(admin: &Admin, system: &str, members: &[String]) -> Result<Vec<String>> {
    let mut connection = rows::connect(system).await?;
    let mut users = Vec::new();
    for (index, (username, name, role)) in PEOPLE.iter().enumerate() {
        let known: Option<String> = sqlx::query_scalar("SELECT user_id FROM user_info WHERE username = ? LIMIT 1")
            .bind(username)
            .fetch_optional(&mut connection)
            .await?;
        let user_id = match known {
            Some(user_id) => user_id,
            None => {
                let email = format!("{username}@example.com");
                let mobile = format!("1380000{:04}", index + 1);
                admin.create_user(NewUser { username, name, email: &email, mobile: &mobile }).await?
            }
        };
        if !members.contains(&user_id) {
            admin.put_member(TENANT, &user_id, role).await?;
        }
        users.push(user_id);
    }
    connection.close().await?;
    Ok(users)
}
