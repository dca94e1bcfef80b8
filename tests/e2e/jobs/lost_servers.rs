//! A database server is gone while a job needs it. The job ends, says what may be left, and what is left is removed
//! when the server is back.

use crate::invariants;
use crate::operations::audit;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::Admin;
use harness::servers::Server;
use harness::stack::Stack;
use harness::wait;
use serde_json::{Value, json};
use sqlx::ConnectOptions;

/// Places new tenants on `eu2` only.
async fn place_on_eu2(stack: &Stack) -> Result<()> {
    world::both_servers(stack).await?;
    sqlx::query("UPDATE saas_database_servers SET accepts_tenants = (server_id = 'eu2')")
        .execute(&mut world::system(stack).await?)
        .await?;
    Ok(())
}

async fn step_runs(admin: &Admin, operation: &str, step: &str) -> Result<()> {
    wait::until_ok(SOON, &format!("the step {step}"), async || {
        let operation = admin.operation(operation).await?;
        ensure!(operation.steps.iter().any(|found| found.name == step), "{:?}", operation.steps);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_move_ends_although_its_source_dies_after_relocate() -> Result<()> {
    let mut stack = Stack::start(world::with_second_server("move-source-lost")?).await?;
    place_on_eu2(&stack).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", None, SOON).await?;
    let (held, hold) = world::held_at("move.relocate.after")?;
    stack.provisioners[0].restart(&[("FAILPOINTS", Some(&hold))]).await?;
    let reply = admin.post("/admin/tenants/acme/database/move", json!({"server": "main"})).await?;
    let operation = reply.operation_id()?.to_owned();
    step_runs(&admin, &operation, "relocate").await?;
    wait::until_ok(SOON, "the tenant to be on main", async || {
        let shown: Value = admin.get("/admin/tenants/acme").await?;
        ensure!(shown["database"]["server"] == "main", "{shown}");
        Ok(())
    })
    .await?;
    stack.more_servers.get_mut("eu2").context("eu2")?.kill9()?;
    drop(held);
    admin.wait_for_operation(&operation, SOON).await?;
    world::login(&stack, "acme").await?.connect().await?;
    // Nothing prevents the next operation.
    admin.wait_for_operation(&world::rotate(&admin, "acme").await?, SOON).await?;

    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    stack.more_servers.get_mut("eu2").context("eu2")?.restart().await?;
    let left = ("copy_left".to_owned(), "ai_shifu_tenant_acme".to_owned());
    wait::until_ok(SOON, "an audit to find what the move has left", async || {
        let found = audit::findings(&admin, false).await?;
        ensure!(found.contains(&left), "{found:?}");
        Ok(())
    })
    .await?;
    let found = audit::findings(&admin, true).await?;
    ensure!(!found.contains(&left), "{found:?}");
    audit::finds_nothing(&admin).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_move_that_loses_a_server_costs_neither_logins_nor_data() -> Result<()> {
    let options = world::with_second_server("move-given-up")?.with_env("control-plane", "JOB_PATIENCE", "6");
    let mut stack = Stack::start(options).await?;
    place_on_eu2(&stack).await?;
    let admin = stack.admin();
    let mut system = world::system(&stack).await?;
    admin.create_active_tenant("acme", None, SOON).await?;
    let begin = async |server: &str| {
        let reply = admin.post("/admin/tenants/acme/database/move", json!({"server": server})).await?;
        Ok::<_, anyhow::Error>(reply.operation_id()?.to_owned())
    };

    // The source dies once the move has locked the account, and comes back after the move was given up.
    let (held, hold) = world::held_at("move.copy.before")?;
    stack.provisioners[0].restart(&[("FAILPOINTS", Some(&hold))]).await?;
    let operation = begin("main").await?;
    step_runs(&admin, &operation, "lock_source").await?;
    stack.more_servers.get_mut("eu2").context("eu2")?.kill9()?;
    drop(held);
    let ended = admin.wait_for_end(&operation, SOON).await?;
    ensure!(ended.status == "failed", "{ended:?}");
    let shown: Value = admin.get("/admin/tenants/acme").await?;
    ensure!(shown["database"]["server"] == "eu2" && shown["database"]["moving_to"].is_null(), "{shown}");
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    stack.more_servers.get_mut("eu2").context("eu2")?.restart().await?;
    wait::until_ok(SOON, "acme to log in again", async || {
        Ok(world::login(&stack, "acme").await?.connect().await.map(drop)?)
    })
    .await?;

    // The tenant is on main, and eu2 has a database of it that no job has left, as after a restore on another server. A
    // move to eu2 that does not reach eu2 leaves nothing there.
    audit::findings(&admin, true).await?;
    admin.wait_for_operation(&begin("main").await?, SOON).await?;
    let eu2 = stack.more_servers["eu2"].url().parse::<sqlx::mysql::MySqlConnectOptions>()?;
    let (installation,): (String,) =
        sqlx::query_as("SELECT config_value FROM saas_system_config WHERE config_key = 'system.installation_id'")
            .fetch_one(&mut system)
            .await?;
    let marker = format!("installation={installation};tenant=acme;schema=0;sum=e3b0c44298fc1c14");
    audit::set_marker(&mut eu2.connect().await?, "ai_shifu_tenant_acme", &marker).await?;
    sqlx::query(
        "INSERT INTO saas_server_objects (tenant_id, server_id, kind, name, operation_id, recorded_at)
         VALUES ('acme', 'eu2', 'database', 'ai_shifu_tenant_acme', UUID(), UTC_TIMESTAMP(6))",
    )
    .execute(&mut system)
    .await?;
    stack.more_servers.get_mut("eu2").context("eu2")?.kill9()?;
    let ended = admin.wait_for_end(&begin("eu2").await?, SOON).await?;
    ensure!(ended.status == "failed", "{ended:?}");
    stack.more_servers.get_mut("eu2").context("eu2")?.restart().await?;
    let orphan = ("database_orphan".to_owned(), "ai_shifu_tenant_acme".to_owned());
    wait::until_ok(SOON, "an audit to find the former database", async || {
        let found = audit::findings(&admin, true).await?;
        ensure!(found.contains(&orphan), "{found:?}");
        Ok(())
    })
    .await?;
    let ended = admin.wait_for_end(&begin("eu2").await?, SOON).await?;
    ensure!(ended.error.as_deref().unwrap_or_default().contains("exists on eu2"), "{ended:?}");
    let there = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'ai_shifu_tenant_acme'";
    ensure!(world::number(&mut eu2.connect().await?, there).await? == 1, "the former database is gone");
    world::login(&stack, "acme").await?.connect().await?;
    sqlx::query("DROP DATABASE ai_shifu_tenant_acme").execute(&mut eu2.connect().await?).await?;
    audit::finds_nothing(&admin).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_creation_on_a_lost_server_fails_and_the_tenant_can_be_purged() -> Result<()> {
    let options = world::with_second_server("create-lost")?.with_env("control-plane", "JOB_PATIENCE", "6");
    let mut stack = Stack::start(options).await?;
    place_on_eu2(&stack).await?;
    let admin = stack.admin();
    admin.create_active_tenant("moved", None, SOON).await?;
    let (held, hold) = world::held_at("provision.apply_schema.before")?;
    stack.provisioners[0].restart(&[("FAILPOINTS", Some(&hold))]).await?;
    let mut operations = Vec::new();
    for id in ["gone", "back"] {
        let operation = admin.create_tenant(id, id, None).await?.operation_id;
        step_runs(&admin, &operation, "create_user").await?;
        operations.push(operation);
    }
    stack.more_servers.get_mut("eu2").context("eu2")?.kill9()?;
    drop(held);
    for (operation, id) in operations.iter().zip(["gone", "back"]) {
        let ended = admin.wait_for_end(operation, SOON).await?;
        let error = ended.error.clone().unwrap_or_default();
        ensure!(ended.status == "failed" && error.contains("may be left on eu2"), "{ended:?}");
        ensure!(admin.tenant(id).await?.state == "failed");
    }
    ensure!(admin.request("DELETE", "/admin/tenants/gone", None, &[]).await?.status == 202);
    let purge = admin.post("/admin/tenants/gone/purge", json!({})).await?;
    ensure!(purge.status == 202, "{}", purge.text);
    admin.wait_for_state("gone", "purged", SOON).await?;
    let certificate = admin.events("gone").await?.pop().context("events")?.data;
    ensure!(certificate["checks"].to_string().contains("not seen, because they could not be reached: the servers eu2"));

    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    stack.more_servers.get_mut("eu2").context("eu2")?.restart().await?;
    let has_left = |found: &std::collections::BTreeSet<(String, String)>, id: &str| {
        found.contains(&("copy_left".to_owned(), format!("ai_shifu_tenant_{id}")))
    };
    wait::until_ok(SOON, "an audit to find what the creations have left", async || {
        let found = audit::findings(&admin, false).await?;
        ensure!(has_left(&found, "gone") && has_left(&found, "back"), "{found:?}");
        Ok(())
    })
    .await?;
    audit::findings(&admin, true).await?;
    audit::finds_nothing(&admin).await?;
    invariants::check(&stack).await?;
    let retried = admin.post("/admin/tenants/back/retry", json!({})).await?;
    admin.wait_for_operation(retried.operation_id()?, SOON).await?;

    // A purge visits every server that ever had something of the tenant, also one of a move that was given up.
    let operation = admin.post("/admin/tenants/moved/database/move", json!({"server": "main"})).await?;
    admin.wait_for_operation(operation.operation_id()?, SOON).await?;
    let mut former = stack.more_servers["eu2"].url().parse::<sqlx::mysql::MySqlConnectOptions>()?.connect().await?;
    let installation: String =
        sqlx::query_scalar("SELECT config_value FROM saas_system_config WHERE config_key = 'system.installation_id'")
            .fetch_one(&mut world::system(&stack).await?)
            .await?;
    let marker = format!("installation={installation};tenant=moved;schema=0;sum=e3b0c44298fc1c14");
    audit::set_marker(&mut former, "ai_shifu_tenant_moved", &marker).await?;
    ensure!(admin.request("DELETE", "/admin/tenants/moved", None, &[]).await?.status == 202);
    world::idle(&stack).await?;
    ensure!(admin.post("/admin/tenants/moved/purge", json!({})).await?.status == 202);
    admin.wait_for_state("moved", "purged", SOON).await?;
    let certificate = admin.events("moved").await?.pop().context("events")?.data;
    ensure!(certificate["checks"].to_string().contains("the servers eu2, main"), "{certificate}");
    invariants::check(&stack).await
}
