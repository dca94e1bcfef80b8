//! The access log shows who asked what, also over an outage of the database, and loses no more rows than promised.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::servers::Server;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::json;
use sqlx::MySqlConnection;
use std::time::Duration;

const HOST: &str = "acme.example.com";

#[tokio::test]
async fn requests_are_logged_with_their_user_until_retention() -> Result<()> {
    let options = StackOptions::for_test("access-log")?.with_env("data-plane", "TRUSTED_PROXIES", "127.0.0.0/8");
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (ann, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    let api = stack.tenant_api(0);
    world::served(&api, HOST, &token).await?;
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Host", HOST),
        ("Authorization", bearer.as_str()),
        ("X-Request-Id", "first-1"),
        ("User-Agent", "tést/1"),
        ("X-Forwarded-For", "6.6.6.6, 198.51.100.7"),
    ];
    assert_eq!(api.request("GET", "/api/orders?limit=1", &headers).await?.status, 200);
    let headers = [("Host", HOST), ("X-Request-Id", "second-2")];
    assert_eq!(api.request("GET", "/api/nothing", &headers).await?.status, 404);

    let mut system = world::system(&stack).await?;
    let first = row(&mut system, "first-1").await?;
    let expected = (Some("acme".into()), Some(ann), "GET".into(), "/api/orders".into(), 200);
    assert_eq!((first.0, first.1, first.2, first.3, first.4), expected);
    assert_eq!((first.5, first.6.as_deref()), ("198.51.100.7".to_owned(), Some("tést/1")));
    let second = row(&mut system, "second-2").await?;
    assert_eq!((second.0, second.1, second.4), (None, None, 404));

    // A node's account may insert rows, and may not change them.
    let mut node: MySqlConnection = sqlx::Connection::connect(&stack.urls.system.node).await?;
    let changed = sqlx::query("UPDATE saas_access_logs SET user_id = 'x'").execute(&mut node).await;
    ensure!(changed.is_err(), "a node may change the access log");

    sqlx::query(
        "UPDATE saas_access_logs SET created_at = UTC_TIMESTAMP() - INTERVAL 31 DAY WHERE request_id = 'first-1'",
    )
    .execute(&mut system)
    .await?;
    let asked = admin.post("/admin/schedules/history-retention/run", json!({})).await?;
    assert_eq!(asked.status, 202, "{}", asked.text);
    wait::until_ok(SOON, "old rows to go", async || {
        let rows = "SELECT COUNT(*) FROM saas_access_logs WHERE request_id";
        let old = world::number(&mut world::system(&stack).await?, &format!("{rows} = 'first-1'")).await?;
        let young = world::number(&mut world::system(&stack).await?, &format!("{rows} = 'second-2'")).await?;
        ensure!((old, young) == (0, 1), "{old} old, {young} young");
        Ok(())
    })
    .await
}

type Row = (Option<String>, Option<String>, String, String, i64, String, Option<String>);

async fn row(system: &mut MySqlConnection, request_id: &str) -> Result<Row> {
    let limit = tokio::time::Instant::now() + SOON;
    loop {
        let row: Option<Row> = sqlx::query_as(
            "SELECT tenant_id, user_id, method, path, CAST(status_code AS SIGNED), ip_address, user_agent
             FROM saas_access_logs WHERE request_id = ?",
        )
        .bind(request_id)
        .fetch_optional(&mut *system)
        .await?;
        match row {
            Some(row) => return Ok(row),
            None => ensure!(tokio::time::Instant::now() < limit, "{request_id} is not logged"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn log_rows_wait_for_the_database_or_are_counted() -> Result<()> {
    let options = StackOptions::for_test("access-log-away")?
        .with_env("data-plane", "ACCESS_LOG_BUFFER", "80")
        .with_env("data-plane", "ACCESS_LOG_STRANGER_ROWS_PER_SECOND", "1000");
    let mut stack = Stack::start(options).await?;
    let api = stack.tenant_api(0);
    let ask = async |id: String| api.request("GET", "/api/nothing", &[("Host", HOST), ("X-Request-Id", &id)]).await;
    assert_eq!(ask("before".into()).await?.status, 404);
    row(&mut world::system(&stack).await?, "before").await?;

    stack.mariadb.as_mut().context("a private server")?.pause()?;
    // The writer holds one row. Rows without a user have a quarter of the places, so 20 wait, and 10 are beyond the
    // limit. No request is slower for it.
    assert_eq!(ask("held".into()).await?.status, 404);
    tokio::time::sleep(Duration::from_secs(2)).await;
    for number in 0..30 {
        assert_eq!(ask(format!("away-{number}")).await?.status, 404);
    }
    assert_eq!(dropped(&stack).await?, 10);
    stack.mariadb.as_mut().context("a private server")?.resume()?;
    wait::until_ok(SOON, "the rows to be written", async || {
        let mut system = world::system(&stack).await?;
        let rows = "SELECT COUNT(DISTINCT request_id) FROM saas_access_logs
             WHERE request_id = 'held' OR request_id LIKE 'away-%'";
        let rows = world::number(&mut system, rows).await?;
        ensure!(rows == 21, "{rows} rows");
        Ok(())
    })
    .await?;
    assert_eq!(dropped(&stack).await?, 10);
    Ok(())
}

async fn dropped(stack: &Stack) -> Result<u64> {
    let text = stack.data_planes[0].metrics().await?;
    let line = text.lines().find(|line| line.starts_with("access_log_dropped_total{reason=\"buffer\"}"));
    Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0))
}
