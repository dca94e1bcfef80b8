//! The end of a tenant: deleted, restored, deleted for good, and nothing left of it.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::admin::{Admin, Reply, TenantApi};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};
use sqlx::MySqlConnection;
use std::collections::BTreeSet;
use std::time::Duration;

/// How soon a node refuses a deleted tenant.
const REFUSED: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_tenant_that_is_purged_leaves_only_its_history() -> Result<()> {
    let stack = Stack::start(StackOptions::for_test("purged")?).await?;
    let admin = stack.admin();
    let (ann, token) = world::user(&admin, "ann", &[]).await?;
    let before = traces(&stack).await?;

    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    admin.put_member("acme", &ann, "admin").await?;
    world::plant_order(&stack, "acme", &ann, "order-1").await?;
    let api = stack.tenant_api(0);
    answers(&api, &token, SOON, 200).await?;

    let reply = admin.request("DELETE", "/admin/tenants/acme", Some(json!({"reason": "left us"})), &[]).await?;
    assert_eq!((reply.status, &reply.json["state"]), (202, &json!("deleted")), "{}", reply.text);
    assert!(reply.json["deleted_at"].is_string() && reply.json["purge_after"].is_string(), "{}", reply.text);
    let refused = answers(&api, &token, REFUSED, 404).await?;
    assert_eq!(refused.error(), "tenant_not_found");
    for (method, path) in [("POST", "/resume"), ("DELETE", ""), ("POST", "/retry"), ("POST", "/domains")] {
        let body = if path == "/domains" { json!({"domain": "b.example.com"}) } else { json!({}) };
        let reply = admin.request(method, &format!("/admin/tenants/acme{path}"), Some(body), &[]).await?;
        assert_eq!((reply.status, reply.error()), (409, "invalid_state"), "{method} {path}: {}", reply.text);
    }
    let reply = admin.post("/admin/tenants/acme/restore", json!({})).await?;
    assert_eq!((reply.status, &reply.json["state"]), (202, &json!("active")), "{}", reply.text);
    let served = answers(&api, &token, SOON, 200).await?;
    assert_eq!(world::order_bids(&served), ["order-1"], "the data was kept");
    let reply = admin.post("/admin/tenants/acme/purge", json!({})).await?;
    assert_eq!((reply.status, reply.error()), (409, "invalid_state"), "only what is deleted can be purged");

    ensure!(admin.request("DELETE", "/admin/tenants/acme", None, &[]).await?.status == 202);
    purge(&admin, "acme").await?;
    assert_eq!(traces(&stack).await?, before, "something of the tenant is left");
    let tenant: Value = admin.get("/admin/tenants/acme").await?;
    assert_eq!((&tenant["state"], &tenant["domains"]), (&json!("purged"), &json!([])));
    let listed: Value = admin.get("/admin/tenants?status=purged").await?;
    assert_eq!(listed["tenants"].as_array().map(Vec::len), Some(1));
    let last = admin.events("acme").await?.pop().context("events stay")?;
    assert_eq!((last.kind.as_str(), &last.data["database"]), ("tenant.purged", &json!("ai_shifu_tenant_acme")));
    assert_eq!(last.data["server"], "main");
    assert!(last.data["checks"].as_array().is_some_and(|checks| checks.len() == 4), "{}", last.data);

    for (method, path, code) in [("POST", "/restore", "invalid_state"), ("POST", "/purge", "invalid_state")] {
        let reply = admin.request(method, &format!("/admin/tenants/acme{path}"), Some(json!({})), &[]).await?;
        assert_eq!((reply.status, reply.error()), (409, code), "{path}: {}", reply.text);
    }
    let again = json!({"tenant_id": "acme", "tenant_name": "Acme"});
    assert_eq!(admin.post("/admin/tenants", again).await?.error(), "tenant_exists");
    let squatter = json!({"tenant_id": "other", "tenant_name": "Other", "tenant_domain": "acme.example.com"});
    assert_eq!(admin.post("/admin/tenants", squatter).await?.error(), "domain_taken", "its domain rests");
    answers(&api, &token, SOON, 404).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_suspended_or_failed_tenant_comes_back_as_it_was() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("restored")?).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", None, SOON).await?;
    admin.post("/admin/tenants/acme/suspend", json!({"reason": "unpaid"})).await?;
    stack.provisioners[0].restart(&[("FAILPOINTS", Some("provision.seed_config=error"))]).await?;
    let created = admin.create_tenant("broken", "Broken", None).await?;
    admin.wait_for_end(&created.operation_id, SOON).await?;
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    for (id, state) in [("acme", "suspended"), ("broken", "failed")] {
        ensure!(admin.request("DELETE", &format!("/admin/tenants/{id}"), None, &[]).await?.status == 202);
        let reply = admin.post(&format!("/admin/tenants/{id}/restore"), json!({})).await?;
        assert_eq!((reply.status, &reply.json["state"]), (202, &json!(state)), "{}", reply.text);
        ensure!(reply.json["reason"].is_string() && reply.json.get("deleted_at").is_none(), "{}", reply.text);
    }
    world::idle(&stack).await?;
    ensure!(crate::isolation::login(&stack, "acme").await.is_ok());
    purge(&admin, "broken").await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn purge_killed_at_every_step_converges() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("purge-killed")?).await?;
    let admin = stack.admin();
    let before = traces(&stack).await?;
    let mut points: Vec<String> = ["drop_database", "drop_user", "forget", "verify_absent"]
        .iter()
        .flat_map(|step| ["before", "after"].map(|when| format!("purge.{step}.{when}")))
        .collect();
    points.extend(["purge.recorded", "append.before_commit", "append.after_commit"].map(String::from));
    for number in 0..points.len() {
        admin.create_active_tenant(&format!("t-{number}"), Some(&format!("t-{number}.example.com")), SOON).await?;
    }
    for number in 0..points.len() {
        ensure!(admin.request("DELETE", &format!("/admin/tenants/t-{number}"), None, &[]).await?.status == 202);
    }
    world::idle(&stack).await?;
    for (number, point) in points.iter().enumerate() {
        stack.provisioners[0].restart(&[("FAILPOINTS", Some(&format!("{point}=kill")))]).await?;
        let reply = admin.post(&format!("/admin/tenants/t-{number}/purge"), json!({})).await?;
        assert_eq!(reply.status, 202, "{}", reply.text);
        let provisioner = &mut stack.provisioners[0];
        wait::until(SOON, &format!("a kill at {point}"), async || (!provisioner.is_alive()).then_some(())).await?;
        if !point.ends_with("after_commit") {
            let reply = admin.post(&format!("/admin/tenants/t-{number}/restore"), json!({})).await?;
            assert_eq!((reply.status, reply.error()), (409, "operation_in_progress"), "{}", reply.text);
        }
    }
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    world::idle(&stack).await?;
    for (number, point) in points.iter().enumerate() {
        assert_eq!(admin.tenant(&format!("t-{number}")).await?.state, "purged", "{point}");
    }
    assert_eq!(traces(&stack).await?, before);
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_deleted_tenant_is_purged_when_its_retention_has_passed() -> Result<()> {
    let options = world::without_nodes("retention")?.with_env("control-plane", "TENANT_RETENTION_DAYS", "0").with_env(
        "control-plane",
        "SCHEDULE_TENANT_RETENTION",
        "* * * * * *",
    );
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    for id in ["acme", "kept"] {
        admin.create_active_tenant(id, None, SOON).await?;
    }
    ensure!(admin.request("DELETE", "/admin/tenants/acme", None, &[]).await?.status == 202);
    // What was promised at the deletion holds, whatever the setting is later.
    stack.control_planes[0].restart(&[("TENANT_RETENTION_DAYS", Some("1"))]).await?;
    ensure!(admin.request("DELETE", "/admin/tenants/kept", None, &[]).await?.status == 202);
    stack.control_planes[0].restart(&[]).await?;
    admin.wait_for_state("acme", "purged", SOON).await?;
    assert_eq!(admin.events("acme").await?.pop().context("events")?.actor, "provisioner");
    assert_eq!(admin.tenant("kept").await?.state, "deleted");
    invariants::check(&stack).await
}

async fn purge(admin: &Admin, tenant: &str) -> Result<()> {
    let reply = admin.post(&format!("/admin/tenants/{tenant}/purge"), json!({})).await?;
    assert_eq!((reply.status, &reply.json["kind"]), (202, &json!("purge")), "{}", reply.text);
    let operation = reply.json["operation_id"].as_str().context("an operation")?;
    assert_eq!(reply.header("location"), Some(format!("/admin/operations/{operation}").as_str()));
    let ended = admin.wait_for_operation(operation, SOON).await?;
    let steps: Vec<_> = ended.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["drop_database", "drop_user", "forget", "verify_absent"]);
    Ok(())
}

async fn answers(api: &TenantApi, token: &str, limit: Duration, status: u16) -> Result<Reply> {
    wait::until_ok(limit, &format!("the node to answer {status}"), async || {
        let reply = api.get("acme.saas.example", token, "/api/orders").await?;
        ensure!(reply.status == status, "{}", reply.text);
        Ok(reply)
    })
    .await
}

/// Everything a tenant could leave behind on its server and in the system database, but what is meant to stay: events,
/// snapshots and tombstones, reservations, operations.
async fn traces(stack: &Stack) -> Result<BTreeSet<String>> {
    const QUERIES: [&str; 4] = [
        "SELECT CONVERT(CONCAT('database ', SCHEMA_NAME) USING utf8mb4) FROM information_schema.SCHEMATA",
        "SELECT CONVERT(CONCAT('user ', User, '@', Host) USING utf8mb4) FROM mysql.user",
        "SELECT CONVERT(CONCAT('grant ', User, '@', Host, ' on ', Db) USING utf8mb4) FROM mysql.db",
        "SELECT CONVERT(CONCAT('grant of a table ', User, '@', Host, ' on ', Db, '.', Table_name) USING utf8mb4) FROM mysql.tables_priv",
    ];
    const STAY: [&str; 6] = [
        "saas_events",
        "saas_tenant_snapshots",
        "saas_tenants",
        "saas_reservations",
        "saas_operations",
        "saas_operation_steps",
    ];
    let mut root = world::root(stack).await?;
    let mut found = BTreeSet::new();
    for query in QUERIES {
        found.extend(texts(&mut root, query).await?);
    }
    let mut system = world::system(stack).await?;
    let columns: Vec<(String,)> = sqlx::query_as(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4) FROM information_schema.COLUMNS
         WHERE TABLE_SCHEMA = DATABASE() AND COLUMN_NAME = 'tenant_id'",
    )
    .fetch_all(&mut system)
    .await?;
    for (table,) in columns.iter().filter(|(table,)| !STAY.contains(&table.as_str())) {
        let query = format!("SELECT CONCAT('{table} ', tenant_id) FROM {table}");
        found.extend(texts(&mut system, &query).await?);
    }
    Ok(found)
}

async fn texts(connection: &mut MySqlConnection, query: &str) -> Result<Vec<String>> {
    // A plain query: the text protocol gives every column as text.
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as(&query.replace("SELECT CONCAT", "SELECT BINARY CONCAT")).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(text,)| String::from_utf8_lossy(&text).into_owned()).collect())
}
