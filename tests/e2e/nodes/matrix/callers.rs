//! The callers, and the rows that they must or must not see.

use super::canary;
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::stack::Stack;
use harness::wait;
use serde_json::json;
use sqlx::Executor;

pub struct Caller {
    pub name: &'static str,
    /// `None` for a caller with an unknown token or none.
    pub member: Option<Member>,
    pub token: Option<String>,
}

#[derive(Clone)]
pub struct Member {
    pub tenant: &'static str,
    pub user_id: String,
    pub sees_all: bool,
    pub changes: bool,
}

pub async fn callers(stack: &Stack) -> Result<Vec<Caller>> {
    let admin = stack.admin();
    for (tenant, domains) in
        [("t1", ["t1.example.com", "bücher.example"]), ("t2", ["t2.example.com", "bucher.example"])]
    {
        // The tenant has the largest plan, because this test is not about its limits.
        let body = json!({"tenant_id": tenant, "tenant_name": tenant, "tenant_domain": domains[0],
                          "plan_type": "enterprise"});
        ensure!(admin.post("/admin/tenants", body).await?.status == 202);
        admin.wait_for_state(tenant, "active", SOON).await?;
        let path = format!("/admin/tenants/{tenant}/domains");
        ensure!(admin.post(&path, json!({"domain": domains[1]})).await?.status == 201);
    }
    let mut callers = vec![
        Caller { name: "a caller without a token", member: None, token: None },
        Caller { name: "a caller with a forged token", member: None, token: Some("0".repeat(64)) },
    ];
    for (name, tenant, role) in [
        ("a user of t1", "t1", "user"),
        ("a viewer of t1", "t1", "viewer"),
        ("an admin of t1", "t1", "admin"),
        ("an admin of t2", "t2", "admin"),
        ("an admin of the default tenant", "default", "admin"),
    ] {
        let (user_id, token) = world::user(&admin, &format!("{tenant}-{role}"), &[(tenant, role)]).await?;
        let member = Member { tenant, user_id, sees_all: role != "user", changes: role != "viewer" };
        for node in 0..stack.data_planes.len() {
            let (api, host) = (stack.tenant_api(node), format!("{tenant}.x.example"));
            wait::until(SOON, "a member to be known to a node", async || {
                api.get(&host, &token, "/api/me").await.ok().filter(|reply| reply.status == 200)
            })
            .await?;
        }
        callers.push(Caller { name, member: Some(member), token: Some(token) });
    }
    Ok(callers)
}

/// Inserts rows about every user into every table that a route reads.
pub async fn plant(stack: &Stack, tenant: &str, callers: &[Caller]) -> Result<()> {
    let (mut root, canary) = (world::root(stack).await?, canary(tenant));
    root.execute(format!("USE `ai_shifu_tenant_{tenant}`").as_str()).await?;
    let course = format!(
        "INSERT INTO shifu_published_shifus (shifu_bid, title, description) VALUES ('s', '{canary}course', '');
         INSERT INTO active (active_id, active_name, active_desc, active_type) VALUES ('a', '{canary}promotion', '', 1);
         UPDATE tenant_config SET config_value = '{canary}name' WHERE config_key = 'tenant.name'"
    );
    root.execute(course.as_str()).await?;
    for (number, member) in callers.iter().filter_map(|caller| caller.member.as_ref()).enumerate() {
        let user = &member.user_id;
        let rows = format!(
            "INSERT INTO order_orders (order_bid, shifu_bid, user_id, payable_price, paid_price, status)
                 VALUES ('{canary}{number}', 's', '{user}', 1.00, 1.00, 502);
             INSERT INTO active_user_record (active_id, user_id, status) VALUES ('a', '{user}', 1);
             INSERT INTO promo_coupon_usages (coupon_bid, name, user_bid, code, value, status)
                 VALUES ('c', '{canary}coupon', '{user}', 'CODE', 1.00, 902)"
        );
        root.execute(rows.as_str()).await?;
    }
    Ok(())
}
