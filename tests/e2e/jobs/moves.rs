//! A tenant's database moves to another server. No write is lost and nothing is left behind, and whatever process is
//! killed on the way, one server serves the tenant.

use crate::invariants;
use crate::jobs::sagas;
use crate::operations::audit;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::Admin;
use harness::kill;
use harness::load::{Answered, Ended, Load};
use harness::servers::Server;
use harness::stack::{Role, Stack};
use harness::wait;
use kernel::jobs::JobKind;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, MySqlConnection};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Rows that are in the database from the beginning: texts, bytes, dates and numbers that a careless copy changes.
const ODD_ROWS: &str = "CREATE TABLE odd (a VARCHAR(20), b VARBINARY(20), c DATETIME(6), d DECIMAL(20,6), e DOUBLE, f BIT(5), g JSON,
        h BIGINT UNSIGNED, i INT GENERATED ALWAYS AS (h % 7) STORED);
    INSERT INTO odd (a, b, c, d, e, f, g, h) VALUES
        ('', x'00ff27', '2025-01-02 03:04:05.678901', 12345678901234.000001, 0.1, b'10101', '{\"k\": \"\\u00e9\"}', 18446744073709551615),
        ('it''s \\\\ 😀 ', NULL, NULL, NULL, 1e300, NULL, NULL, 0), (NULL, '', NULL, 0, -0.5, b'0', 'null', 1);
    ALTER TABLE odd ADD COLUMN `sel``ect` INT DEFAULT 5;
    CREATE VIEW seen AS SELECT COUNT(*) AS n FROM odd;
    CREATE TRIGGER odd_more BEFORE INSERT ON odd FOR EACH ROW SET NEW.a = 'changed'";

async fn begin(admin: &Admin, tenant: &str, server: &str) -> Result<String> {
    let reply = admin.post(&format!("/admin/tenants/{tenant}/database/move"), json!({"server": server})).await?;
    ensure!((reply.status, &reply.json["kind"]) == (202, &json!("move")), "{}", reply.text);
    Ok(reply.operation_id()?.to_owned())
}

async fn server_of(admin: &Admin, tenant: &str) -> Result<String> {
    let shown: Value = admin.get(&format!("/admin/tenants/{tenant}")).await?;
    Ok(shown["database"]["server"].as_str().unwrap_or_default().to_owned())
}

/// Writes numbered rows with the tenant's own login, on whatever server that is, until `on` is false. Returns the
/// number of rows that the server has acknowledged.
async fn write(stack: &Stack, on: &AtomicBool) -> Result<i64> {
    let (mut connection, mut next): (Option<MySqlConnection>, i64) = (None, 0);
    while on.load(Ordering::SeqCst) {
        let mut open = match connection.take() {
            Some(open) => open,
            None => match world::login(stack, "acme").await?.database("ai_shifu_tenant_acme").connect().await {
                Ok(open) => open,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        // A row without acknowledgement may have been written. Writing the same number again changes nothing.
        let insert = "INSERT IGNORE INTO tenant_config (config_key, config_value) VALUES (CONCAT('written.', ?), 'x')";
        if sqlx::query(insert).bind(next).execute(&mut open).await.is_ok() {
            next += 1;
            connection = Some(open);
        }
    }
    Ok(next)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_moves_under_load_and_no_write_is_lost() -> Result<()> {
    let mut options = world::with_second_server("move")?;
    options.data_planes = 1;
    let stack = Stack::start(options).await?;
    world::place_on_main(&stack).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    let (user, token) = world::user(&admin, "ann", &[("acme", "admin")]).await?;
    world::plant_order(&stack, "acme", &user, "o-1").await?;
    let mut root = world::login(&stack, "acme").await?;
    root =
        stack.urls.root.parse::<sqlx::mysql::MySqlConnectOptions>()?.database(root.get_database().unwrap_or_default());
    sqlx::raw_sql(ODD_ROWS).execute(&mut root.connect().await?).await?;
    let api = stack.tenant_api(0);
    world::served(&api, "acme.example.com", &token).await?;
    let on = AtomicBool::new(true);
    let mut load = Load::new();
    load.client({
        let (api, token) = (api.clone(), token.clone());
        move |_| {
            let (api, token) = (api.clone(), token.clone());
            async move {
                let reply = api.get("acme.example.com", &token, "/api/orders").await?;
                match (reply.status, reply.error()) {
                    (200, _) => {
                        ensure!(world::order_bids(&reply) == ["o-1"], "{}", reply.text);
                        Ok(Answered::Served)
                    }
                    (503, "tenant_maintenance") => {
                        ensure!(reply.header("retry-after").is_some(), "without Retry-After");
                        Ok(Answered::Refused)
                    }
                    _ => anyhow::bail!("{} {}", reply.status, reply.text),
                }
            }
        }
    });
    let moving = async {
        let mut kinds = Vec::new();
        for server in ["eu2", "main", "eu2"] {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let ended = admin.wait_for_operation(&begin(&admin, "acme", server).await?, SOON).await?;
            kinds = ended.steps.into_iter().map(|step| step.name).collect::<Vec<_>>();
            ensure!(server_of(&admin, "acme").await? == server, "the tenant is not on {server}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        on.store(false, Ordering::SeqCst);
        Ok(kinds)
    };
    let (written, steps) = tokio::join!(write(&stack, &on), moving);
    let (written, steps) = (written?, steps?);
    let Ended { served, refused } = load.end().await?;
    ensure!(steps.len() == 10 && written > 50 && served > 10 && refused > 0, "{steps:?} {written} {served} {refused}");
    let mut there = world::login(&stack, "acme").await?.connect().await?;
    let found: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tenant_config WHERE config_key LIKE 'written.%'")
        .fetch_one(&mut there)
        .await?;
    ensure!((written..=written + 1).contains(&found), "{found} rows of {written}");
    let odd: (i64, String, String) = sqlx::query_as(
        "SELECT CAST(SUM(`sel``ect`) AS SIGNED), CAST(MAX(h) AS CHAR), MAX(HEX(a)) FROM odd WHERE i = h % 7",
    )
    .fetch_one(&mut there)
    .await?;
    assert_eq!(odd, (15, "18446744073709551615".into(), "69742773205C20F09F988020".into()));
    let (seen,): (i64,) = sqlx::query_as("SELECT n FROM seen").fetch_one(&mut there).await?;
    sqlx::query("INSERT INTO odd (h) VALUES (2)").execute(&mut there).await?;
    let (changed,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM odd WHERE a = 'changed'").fetch_one(&mut there).await?;
    assert_eq!((seen, changed), (3, 1), "the view and the trigger went along, and fired for no row on its way");
    let kinds: Vec<String> = admin.events("acme").await?.into_iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds[kinds.len() - 3..],
        ["tenant.database_move_requested", "tenant.database_move_started", "tenant.database_moved"]
    );
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_move_killed_after_every_step_converges() -> Result<()> {
    killed("move-killed", &["after"]).await
}

#[tokio::test]
#[ignore = "long: the worker is killed at twenty-one points"]
async fn a_move_killed_before_and_after_every_step_converges() -> Result<()> {
    killed("move-killed-all", &["before", "after"]).await
}

async fn killed(name: &str, whens: &[&str]) -> Result<()> {
    let mut stack = Stack::start(world::with_second_server(name)?).await?;
    world::place_on_main(&stack).await?;
    let admin = stack.admin();
    let steps = sagas::steps(&stack, JobKind::Move, "steps").await?;
    let mut points: Vec<String> =
        steps.iter().flat_map(|step| whens.iter().map(move |when| format!("move.{step}.{when}"))).collect();
    points.push("move.recorded".into());
    for number in 0..points.len() {
        admin.create_active_tenant(&format!("t-{number}"), None, SOON).await?;
    }
    let operations = kill::at_each(
        &mut stack,
        Role::Provisioner,
        &points,
        async |_: &mut Stack, number: usize| begin(&admin, &format!("t-{number}"), "eu2").await,
        kill::later,
    )
    .await?;
    for (number, operation) in operations.iter().enumerate() {
        admin.wait_for_operation(operation, SOON).await?;
        let id = format!("t-{number}");
        ensure!(server_of(&admin, &id).await? == "eu2", "{id} is not on eu2 after {}", points[number]);
        world::login(&stack, &id).await?.connect().await?;
    }
    invariants::check(&stack).await
}

#[tokio::test]
async fn commands_given_during_a_move_hold_after_it() -> Result<()> {
    // Two moves at once.
    let mut options = world::with_second_server("move-meanwhile")?.with_env("provisioner", "PROVISIONER_WORKERS", "4");
    options.data_planes = 1;
    let mut stack = Stack::start(options).await?;
    world::place_on_main(&stack).await?;
    let admin = stack.admin();
    for id in ["acme", "beta", "gone"] {
        admin.create_active_tenant(id, None, SOON).await?;
    }
    for (server, detail) in [("main", "another server"), ("nowhere", "a registered database server: eu2, main")] {
        let reply = admin.post("/admin/tenants/acme/database/move", json!({"server": server})).await?;
        ensure!((reply.status, reply.error()) == (422, "invalid_server"), "{}", reply.text);
        ensure!(reply.json["detail"].as_str().unwrap_or_default().starts_with(detail), "{}", reply.text);
    }
    let base = "/admin/tenants/acme";
    let (held, points) = world::held_at("move.copy.after")?;
    stack.provisioners[0].restart(&[("FAILPOINTS", Some(&points))]).await?;
    let operations = [begin(&admin, "acme", "eu2").await?, begin(&admin, "gone", "eu2").await?];
    for (operation, id) in operations.iter().zip(["acme", "gone"]) {
        wait::until_ok(SOON, "the copying to begin", async || {
            let operation = admin.operation(operation).await?;
            ensure!(operation.steps.iter().any(|step| step.name == "copy"), "{id}: {:?}", operation.steps);
            Ok(())
        })
        .await?;
    }
    let shown: Value = admin.get(base).await?;
    ensure!(shown["state"] == "active" && shown["database"]["moving_to"] == "eu2", "{shown}");
    ensure!(
        world::login(&stack, "acme").await?.connect().await.is_err(),
        "the tenant's login works although the move locked its account"
    );
    let reply = admin.post(&format!("{base}/database/rotate"), json!({})).await?;
    ensure!((reply.status, reply.error()) == (409, "operation_in_progress"), "{}", reply.text);
    let put = admin.request("PUT", &format!("{base}/config/features.new"), Some(json!({"value": true})), &[]).await?;
    ensure!(put.status == 202, "{}", put.text);
    ensure!(admin.request("PATCH", base, Some(json!({"plan_type": "standard"})), &[]).await?.status == 200);
    ensure!(admin.post("/admin/tenants/gone/suspend", json!({"reason": "unpaid"})).await?.status == 200);
    drop(held);
    for operation in &operations {
        admin.wait_for_operation(operation, SOON).await?;
    }
    world::idle(&stack).await?;
    let mut there = world::login(&stack, "acme").await?.connect().await?;
    let features: Vec<(String,)> =
        sqlx::query_as("SELECT config_value FROM tenant_config WHERE config_key = 'features.new'")
            .fetch_all(&mut there)
            .await?;
    assert_eq!(features, [("true".to_owned(),)]);
    ensure!(world::login(&stack, "gone").await?.connect().await.is_err(), "the move unlocked a suspended tenant");
    audit::finds_nothing(&admin).await?;

    // The other server has a database of this name that is not this job's. It stays, and the tenant stays where it is.
    let there = stack.more_servers["eu2"].url();
    let mut there = there.parse::<sqlx::mysql::MySqlConnectOptions>()?.connect().await?;
    sqlx::raw_sql("CREATE DATABASE ai_shifu_tenant_beta; CREATE TABLE ai_shifu_tenant_beta.precious (id INT)")
        .execute(&mut there)
        .await?;
    let ended = admin.wait_for_end(&begin(&admin, "beta", "eu2").await?, SOON).await?;
    ensure!(ended.error.as_deref().unwrap_or_default().contains("exists on eu2"), "{:?}", ended.error);
    sqlx::raw_sql("DROP TABLE ai_shifu_tenant_beta.precious; DROP DATABASE ai_shifu_tenant_beta")
        .execute(&mut there)
        .await?;
    world::login(&stack, "beta").await?.connect().await?;
    ensure!(server_of(&admin, "beta").await? == "main", "beta is not on main");

    let asked = admin.post("/admin/tenants/gone/resume", json!({})).await?;
    ensure!(asked.status == 200, "{}", asked.text);
    world::idle(&stack).await?;
    world::login(&stack, "gone").await?.connect().await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_move_to_a_lost_server_is_undone_in_bounded_time() -> Result<()> {
    let options = world::with_second_server("move-target-lost")?.with_env("control-plane", "JOB_PATIENCE", "6");
    let mut stack = Stack::start(options).await?;
    world::place_on_main(&stack).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", None, SOON).await?;
    stack.provisioners[0].restart(&[("FAILPOINTS", Some("move.copy.after=slow:3000"))]).await?;
    let operation = begin(&admin, "acme", "eu2").await?;
    wait::until_ok(SOON, "the copy", async || {
        let operation = admin.operation(&operation).await?;
        ensure!(operation.steps.iter().any(|step| step.name == "copy"), "{:?}", operation.steps);
        Ok(())
    })
    .await?;
    stack.more_servers.get_mut("eu2").context("eu2")?.kill9()?;
    let ended = admin.wait_for_end(&operation, SOON).await?;
    ensure!(ended.status == "failed", "{ended:?}");
    ensure!(ended.error.as_deref().unwrap_or_default().contains("cannot be reached"), "{:?}", ended.error);
    world::login(&stack, "acme").await?.connect().await?;
    let shown: Value = admin.get("/admin/tenants/acme").await?;
    ensure!(shown["database"]["server"] == "main" && shown["database"]["moving_to"].is_null(), "{shown}");
    // Nothing prevents the next operation.
    admin.wait_for_operation(&world::rotate(&admin, "acme").await?, SOON).await?;

    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    stack.more_servers.get_mut("eu2").context("eu2")?.restart().await?;
    let found = wait::until_ok(SOON, "the copy that was left to be found", async || {
        let found = audit::findings(&admin, false).await?;
        ensure!(found.iter().any(|(kind, _)| kind == "copy_left"), "{found:?}");
        Ok(found)
    })
    .await?;
    ensure!(found.contains(&("copy_left".to_owned(), "ai_shifu_tenant_acme".to_owned())), "{found:?}");
    admin.wait_for_operation(&begin(&admin, "acme", "eu2").await?, SOON).await?;
    ensure!(server_of(&admin, "acme").await? == "eu2", "the tenant is not on eu2");
    invariants::check(&stack).await
}
