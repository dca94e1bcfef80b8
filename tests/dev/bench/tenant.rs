//! The tenant of the request benchmarks: 20 orders, a domain, an administrator with a token.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::admin::{Created, NewUser, Reply, TenantApi};
use harness::stack::Stack;
use harness::wait;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};

const TENANT: &str = "t0001";
pub const PATH: &str = "/api/orders";
/// A full page of the list when none is asked for.
const ORDERS: u32 = 20;
const SOON: Duration = Duration::from_secs(60);

pub struct BenchTenant {
    pub id: &'static str,
    pub domain: String,
    /// The URL of its database with the server's root account.
    pub database_url: String,
    authorization: String,
}

impl BenchTenant {
    /// Makes it through the public API; the orders as the legacy application would write them.
    pub async fn make(stack: &Stack) -> Result<Self> {
        let admin = stack.admin();
        let domain = format!("{TENANT}.example.com");
        // The largest plan: 32 connections ask at once, and it is not the limit of a small plan that is measured.
        let body =
            json!({"tenant_id": TENANT, "tenant_name": "Bench", "tenant_domain": domain, "plan_type": "enterprise"});
        let created: Created = admin.post("/admin/tenants", body).await?.expect(202)?;
        admin.wait_for_operation(&created.operation_id, SOON).await?;
        let user = NewUser { username: "bench", name: "Bench", email: "bench@example.com", mobile: "" };
        let user_id = admin.create_user(user).await?;
        admin.put_member(TENANT, &user_id, "admin").await?;
        let token = admin.create_token(&user_id, None).await?;
        let database = admin.tenant(TENANT).await?.database.context("the tenant has no database")?;
        let database = database["name"].as_str().context("its database has no name")?;
        let database_url = format!("{}/{database}", stack.urls.root.trim_end_matches('/'));
        fill(&database_url, &user_id).await.context("write the orders")?;
        Ok(Self { id: TENANT, domain, database_url, authorization: format!("Bearer {token}") })
    }

    /// What every request carries, to whichever server.
    pub fn headers(&self) -> [(&str, &str); 2] {
        [("Host", &self.domain), ("Authorization", &self.authorization)]
    }

    /// The body of the measured answer, as soon as the server gives it with all orders.
    pub async fn orders(&self, url: &str) -> Result<Value> {
        let api = TenantApi::new(url);
        // A data node hears of a new tenant a moment after it has become active.
        wait::until_ok(SOON, "all orders in an answer", async || {
            let Reply { status, json, text, .. } = api.request("GET", PATH, &self.headers()).await?;
            let orders = json["orders"].as_array().map_or(0, Vec::len);
            ensure!(status == 200 && orders == ORDERS as usize, "{status} with {orders} orders: {text}");
            Ok(json)
        })
        .await
    }
}

async fn fill(database_url: &str, user_id: &str) -> Result<()> {
    let mut connection = MySqlConnection::connect(database_url).await?;
    for index in 0..ORDERS {
        sqlx::query(
            "INSERT INTO order_orders
                 (order_bid, shifu_bid, user_id, payable_price, paid_price, status, created_at, updated_at)
             VALUES (MD5(?), MD5(?), ?, 199.00, 179.10, 502, '2025-01-01' + INTERVAL ? HOUR, '2025-01-01' + INTERVAL ? HOUR)",
        )
        .bind(format!("order {index}"))
        .bind(format!("shifu {}", index % 5))
        .bind(user_id)
        .bind(index * 7)
        .bind(index * 7)
        .execute(&mut connection)
        .await?;
    }
    Ok(connection.close().await?)
}
