//! Makes the tenants of the request benchmarks: `t0001`, `t0002` and so on, with domains, users, tokens and 20 orders
//! each.
//!
//! Tenant `t0007` has the domain `t0007.example.com` and the users `u0007-1` (its admin) to `u0007-4`, each with five
//! of the orders. The server of `--reference` must have the same tenants.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::clients::{Admin, Created, TenantApi};
use harness::stack::Stack;
use harness::wait;
use serde_json::json;
use sqlx::{Connection, MySqlConnection};

use super::load::Request;

/// Orders of a tenant: a full page of the list, by the default page size.
pub const ORDERS: usize = 20;
pub const USERS: usize = 4;
/// The limit for creating all tenants together.
const CREATED: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(60);

pub struct BenchTenant {
    pub id: String,
    number: usize,
    domain: String,
    /// The token of its first user, an admin.
    authorization: String,
}

/// A kind of request that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// `GET /api/orders`.
    Orders,
    /// `GET /api/users/{user_id}/orders`, for each of the users in turn.
    OrdersOfUser,
}

impl BenchTenant {
    /// Makes `count` tenants through the public API. It writes users and orders as the legacy application would.
    pub async fn make(stack: &Stack, count: usize) -> Result<Vec<Self>> {
        let admin = stack.admin();
        let mut root = MySqlConnection::connect(&stack.urls.root).await?;
        let mut system = MySqlConnection::connect(&stack.urls.system.migrator).await?;
        let ids = (1..=count).map(id).collect::<Vec<_>>();
        create(&admin, &ids).await?;
        let mut tenants = Vec::with_capacity(count);
        for (number, id) in (1..).zip(ids) {
            let users: Vec<String> = (1..=USERS).map(|user| format!("u{number:04}-{user}")).collect();
            for user in &users {
                let insert = "INSERT INTO user_info (user_id, username, name, email) VALUES (?, ?, ?, ?)";
                let email = format!("{user}@example.com");
                let user = user.as_str();
                sqlx::query(insert).bind(user).bind(user).bind(user).bind(email).execute(&mut system).await?;
                admin.put_member(&id, user, if user.ends_with("-1") { "admin" } else { "user" }).await?;
            }
            let token = admin.create_token(&users[0], None).await?;
            fill(&mut root, &id, &users).await.context("write the orders")?;
            let (domain, authorization) = (format!("{id}.example.com"), format!("Bearer {token}"));
            tenants.push(Self { id, number, domain, authorization });
        }
        Ok(tenants)
    }

    /// The URL of its database with the server's root account.
    pub fn database_url(&self, stack: &Stack) -> String {
        format!("{}/ai_shifu_tenant_{}", stack.urls.root.trim_end_matches('/'), self.id)
    }

    /// The requests, which are the same for every server.
    pub fn requests(&self, question: Question) -> Vec<Request> {
        let request = |path: String| Request {
            path,
            headers: vec![("Host", self.domain.clone()), ("Authorization", self.authorization.clone())],
        };
        match question {
            Question::Orders => vec![request("/api/orders".to_owned())],
            Question::OrdersOfUser => {
                let path = |user| format!("/api/users/u{:04}-{user}/orders", self.number);
                (1..=USERS).map(|user| request(path(user))).collect()
            }
        }
    }
}

impl Question {
    /// Orders in each answer.
    fn orders(self) -> usize {
        match self {
            Self::Orders => ORDERS,
            Self::OrdersOfUser => ORDERS / USERS,
        }
    }
}

/// Waits until the server answers each of these requests with all orders. Returns the first answer.
pub async fn answers(url: &str, question: Question, requests: &[Request]) -> Result<serde_json::Value> {
    let api = TenantApi::new(url);
    let mut first = None;
    for Request { path, headers } in requests {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // A data node learns of a new tenant a moment after the tenant has become active.
        let answer = wait::until_ok(SOON, "all orders in an answer", async || {
            let reply = api.request("GET", path, &headers).await?;
            let orders = reply.json["orders"].as_array().map_or(0, Vec::len);
            ensure!(
                reply.status == 200 && orders == question.orders(),
                "{url}{path} for {} must show {} orders: {} with {orders}: {}",
                headers[0].1,
                question.orders(),
                reply.status,
                reply.text
            );
            Ok(reply.json)
        })
        .await?;
        first.get_or_insert(answer);
    }
    first.context("there is no request")
}

/// The id of the n-th tenant.
fn id(number: usize) -> String {
    format!("t{number:04}")
}

/// Requests all tenants, then waits for all of them.
pub async fn create(admin: &Admin, ids: &[String]) -> Result<()> {
    let mut operations = Vec::with_capacity(ids.len());
    for id in ids {
        // The load has 32 connections, and the limits of a smaller plan would be measured instead of the node.
        let body = json!({"tenant_id": id, "tenant_name": "Bench", "tenant_domain": format!("{id}.example.com"),
                          "plan_type": "enterprise"});
        let created: Created = admin.post("/admin/tenants", body).await?.expect(202)?;
        operations.push(created.operation_id);
    }
    for operation in &operations {
        admin.wait_for_operation(operation, CREATED).await?;
    }
    Ok(())
}

async fn fill(root: &mut MySqlConnection, id: &str, users: &[String]) -> Result<()> {
    for index in 0..ORDERS {
        let insert = format!(
            "INSERT INTO `ai_shifu_tenant_{id}`.order_orders
                 (order_bid, shifu_bid, user_id, payable_price, paid_price, status, created_at, updated_at)
             VALUES (MD5(?), MD5(?), ?, 199.00, 179.10, 502, '2025-01-01' + INTERVAL ? HOUR, '2025-01-01' + INTERVAL ? HOUR)"
        );
        sqlx::query(&insert)
            .bind(format!("order {id} {index}"))
            .bind(format!("shifu {id} {}", index % 5))
            .bind(&users[index % users.len()])
            .bind(index as u32 * 7)
            .bind(index as u32 * 7)
            .execute(&mut *root)
            .await?;
    }
    Ok(())
}
