//! What the tests have in common: a stack, users with tokens, and connections to the databases.

mod command;
mod fleet;

pub use command::{Answer, command};
pub use fleet::{fleet, host, orders, serves_all};

use anyhow::{Context, Result, ensure};
use harness::clients::{Admin, NewUser, Reply, TenantApi};
use harness::servers::Server;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use kernel::crypto::{KeyRing, Purpose};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Connection, Executor, MySqlConnection};
use std::time::Duration;
use tempfile::NamedTempFile;

/// Limit for anything that takes a moment, such as provisioning on a busy machine or a takeover.
pub const SOON: Duration = Duration::from_secs(60);

/// A stack with one of each service.
pub async fn start(name: &str) -> Result<Stack> {
    Stack::start(StackOptions::for_test(name)?).await
}

/// A stack without data nodes, and a short lease, for tests of provisioning.
pub fn without_nodes(name: &str) -> Result<StackOptions> {
    let mut options = StackOptions::for_test(name)?.with_env("provisioner", "JOB_LEASE", "4");
    options.data_planes = 0;
    Ok(options)
}

/// The same stack with a second server for tenants, `eu2`.
pub fn with_second_server(name: &str) -> Result<StackOptions> {
    let mut options = without_nodes(name)?;
    options.more_servers = vec!["eu2".into()];
    Ok(options)
}

/// Waits until both servers of such a stack are registered.
pub async fn both_servers(stack: &Stack) -> Result<()> {
    let mut system = system(stack).await?;
    let registered = "SELECT COUNT(*) FROM saas_database_servers";
    wait::until(SOON, "both servers to be registered", async || {
        number(&mut system, registered).await.ok().filter(|count| *count == 2)
    })
    .await
    .map(drop)
}

/// Lets new tenants be placed on `main` only, once `eu2` is registered.
pub async fn place_on_main(stack: &Stack) -> Result<()> {
    let mut system = system(stack).await?;
    let keep_off = "UPDATE saas_database_servers SET accepts_tenants = 0 WHERE server_id = 'eu2'";
    wait::until(SOON, "eu2 to be registered", async || {
        let changed = sqlx::query(keep_off).execute(&mut system).await.ok()?;
        (changed.rows_affected() == 1).then_some(())
    })
    .await
    .map(drop)
}

/// The value of `FAILPOINTS` that stops a service at a point until the returned file is dropped.
pub fn held_at(point: &str) -> Result<(NamedTempFile, String)> {
    let held = NamedTempFile::new()?;
    let points = format!("{point}=hold:{}", held.path().display());
    Ok((held, points))
}

/// A connection to the system database with every right on it.
pub async fn system(stack: &Stack) -> Result<MySqlConnection> {
    MySqlConnection::connect(&stack.urls.system.migrator).await.context("connect to the system database")
}

/// A connection to the tenants' server with every right.
pub async fn root(stack: &Stack) -> Result<MySqlConnection> {
    MySqlConnection::connect(&stack.urls.root).await.context("connect to the tenants' server")
}

/// A login with the tenant's stored credential.
pub async fn login(stack: &Stack, tenant: &str) -> Result<MySqlConnectOptions> {
    let (username, sealed, database, port): (String, String, String, i32) = sqlx::query_as(
        "SELECT db_username, db_password_encrypted, db_name, db_port FROM saas_tenant_databases WHERE tenant_id = ?",
    )
    .bind(tenant)
    .fetch_one(&mut system(stack).await?)
    .await?;
    let ring = KeyRing::parse(&SecretString::from(stack.encryption_keys()))?;
    let password = ring.open_text(Purpose::TenantPassword { tenant_id: tenant, username: &username }, &sealed)?;
    let other = stack.more_servers.values().find(|server| i32::from(server.port()) == port);
    let root = other.map_or_else(|| stack.urls.root.clone(), |server| server.url());
    let server: MySqlConnectOptions = root.parse()?;
    Ok(server.username(&username).password(password.expose_secret()).database(&database))
}

/// Creates a user with a token and with `role` in each of `tenants`.
pub async fn user(admin: &Admin, name: &str, tenants: &[(&str, &str)]) -> Result<(String, String)> {
    let email = format!("{name}@example.com");
    let user_id = admin.create_user(NewUser { username: name, name, email: &email, mobile: "" }).await?;
    for (tenant, role) in tenants {
        admin.put_member(tenant, &user_id, role).await?;
    }
    let token = admin.create_token(&user_id, None).await?;
    Ok((user_id, token))
}

/// Waits until a node serves the orders of the tenant with this host, and returns the answer.
pub async fn served(api: &TenantApi, host: &str, token: &str) -> Result<Reply> {
    wait::until_ok(SOON, &format!("the node to serve {host}"), async || {
        let reply = api.get(host, token, "/api/orders").await?;
        ensure!(reply.status == 200, "it answered {}: {}", reply.status, reply.text);
        Ok(reply)
    })
    .await
}

/// Requests a rotation of the tenant's credential and returns its operation.
pub async fn rotate(admin: &Admin, tenant: &str) -> Result<String> {
    let reply = admin.post(&format!("/admin/tenants/{tenant}/database/rotate"), json!({})).await?;
    ensure!((reply.status, &reply.json["kind"]) == (202, &json!("rotate")), "{tenant}: {}", reply.text);
    let operation = reply.operation_id()?.to_owned();
    let location = format!("/admin/operations/{operation}");
    ensure!(reply.header("location") == Some(location.as_str()), "{tenant}: {:?}", reply.headers);
    Ok(operation)
}

/// Inserts an order into a tenant's database that names the tenant, so that every reader knows whose it is.
pub async fn plant_order(stack: &Stack, tenant: &str, user_id: &str, order_bid: &str) -> Result<()> {
    let insert = format!(
        "INSERT INTO `ai_shifu_tenant_{tenant}`.order_orders (order_bid, shifu_bid, user_id, payable_price, paid_price, status)
         VALUES (?, ?, ?, 12.30, 12.30, 502)"
    );
    sqlx::query(&insert).bind(order_bid).bind(tenant).bind(user_id).execute(&mut root(stack).await?).await?;
    Ok(())
}

/// The `order_bid`s of an answer of `GET /api/orders`.
pub fn order_bids(reply: &Reply) -> Vec<String> {
    let orders = reply.json["orders"].as_array().cloned().unwrap_or_default();
    orders.iter().filter_map(|order| order["order_bid"].as_str().map(str::to_owned)).collect()
}

/// A single value of a query on the system database.
pub async fn number(connection: &mut MySqlConnection, query: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(query).fetch_one(connection).await?)
}

/// The number of sessions of a user. `SHOW PROCESSLIST` can be read while statements of others contain bytes that are
/// no text; `information_schema.PROCESSLIST` of MySQL cannot.
pub async fn sessions_of(root: &mut MySqlConnection, username: &str) -> Result<usize> {
    let rows = root.fetch_all("SHOW PROCESSLIST").await?;
    let users = rows.iter().map(|row| kernel::database::text(row, 1)).collect::<Result<Vec<_>, _>>()?;
    Ok(users.iter().filter(|user| *user == username).count())
}

/// Waits until no job is open.
pub async fn idle(stack: &Stack) -> Result<()> {
    let mut system = system(stack).await?;
    let open = "SELECT COUNT(*) FROM saas_operations WHERE status IN ('pending', 'running')";
    wait::until(SOON, "all jobs to end", async || number(&mut system, open).await.ok().filter(|open| *open == 0))
        .await
        .map(drop)
}
