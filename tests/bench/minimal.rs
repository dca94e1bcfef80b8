//! A minimal handler for `GET /api/orders`, which the throughput of the data plane is measured against.
//!
//! It sends the same query to the same database and answers with the same JSON, with the same web framework and driver.
//! It has what any handler needs (a pool, a query, a serialiser) and nothing that serves tenants: no token, no
//! membership, no routing, no limits, no metrics, no budget of connections, and one hard-wired pool. Unlike the
//! driver's default, the pool does not ping a connection before use, which makes the handler faster and the comparison
//! stricter.
//!
//! It reads its settings from the environment: `MINIMAL_LISTEN`, `MINIMAL_DB_URL` and `MINIMAL_TENANT`.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlRow};
use sqlx::types::chrono::{DateTime, Utc};
use sqlx::{ConnectOptions, MySqlPool, Row};
use tokio::net::TcpListener;

/// The data plane uses the same allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As many connections as the data plane may use for one tenant in the comparison.
const CONNECTIONS: u32 = 10;

/// The statement of the data plane for the first page of all orders, word for word.
const ORDERS: &str =
    "SELECT order_bid, shifu_bid, user_id, payable_price, paid_price, status, created_at, id FROM order_orders
             FORCE INDEX (idx_list) WHERE deleted = 0 ORDER BY created_at DESC, id DESC LIMIT ?";
/// A page, and one more order that shows whether there is a next page.
const LIMIT: u32 = 20 + 1;

#[derive(Clone)]
struct App {
    pool: MySqlPool,
    tenant: Arc<str>,
}

#[derive(Serialize)]
struct Page<'r> {
    tenant_id: &'r str,
    orders: Vec<Order<'r>>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Order<'r> {
    order_bid: &'r str,
    shifu_bid: &'r str,
    user_id: &'r str,
    payable_price: &'r str,
    paid_price: &'r str,
    status: i16,
    created_at: DateTime<Utc>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let setting = |name: &str| std::env::var(name).with_context(|| format!("the setting {name} is missing"));
    let options: MySqlConnectOptions =
        setting("MINIMAL_DB_URL")?.parse().context("MINIMAL_DB_URL is not a valid address")?;
    let pool = MySqlPoolOptions::new()
        .max_connections(CONNECTIONS)
        .min_connections(CONNECTIONS)
        .test_before_acquire(false)
        .connect_with(options.disable_statement_logging())
        .await?;
    let app = App { pool, tenant: setting("MINIMAL_TENANT")?.into() };
    let router = Router::new()
        .route("/api/orders", get(orders))
        // `cargo dev bench` asks this route whether the handler serves.
        .route("/readyz", get(|| async {}))
        .with_state(app);
    axum::serve(TcpListener::bind(setting("MINIMAL_LISTEN")?).await?, router).await?;
    Ok(())
}

async fn orders(State(app): State<App>) -> Response {
    match sqlx::query(ORDERS).bind(LIMIT).fetch_all(&app.pool).await.as_deref().map(|rows| page(&app.tenant, rows)) {
        Ok(Ok(page)) => Json(page).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn page<'r>(tenant_id: &'r str, rows: &'r [MySqlRow]) -> Result<Page<'r>, sqlx::Error> {
    let orders = rows.iter().map(order).collect::<Result<_, _>>()?;
    Ok(Page { tenant_id, orders, next_cursor: None })
}

fn order(row: &MySqlRow) -> Result<Order<'_>, sqlx::Error> {
    Ok(Order {
        order_bid: row.try_get(0)?,
        shifu_bid: row.try_get(1)?,
        user_id: row.try_get(2)?,
        // MySQL sends a DECIMAL as text. The read is unchecked, because the driver expects a numeric type here.
        payable_price: row.try_get_unchecked(3)?,
        paid_price: row.try_get_unchecked(4)?,
        status: row.try_get(5)?,
        created_at: row.try_get(6)?,
    })
}
