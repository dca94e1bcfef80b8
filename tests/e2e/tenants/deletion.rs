//! The end of a tenant: deletion, restoration and purge, after which nothing of it is left.

use crate::invariants;
use crate::jobs::sagas;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::{Admin, Reply, TenantApi};
use harness::kill;
use harness::stack::{Role, Stack, StackOptions};
use harness::wait;
use kernel::jobs::JobKind;
use serde_json::{Value, json};
use sqlx::MySqlConnection;
use std::collections::BTreeSet;
use std::time::Duration;

/// Time in which a node must refuse a deleted tenant.
const REFUSED: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_purged_tenant_leaves_only_its_history() -> Result<()> {
    let stack = Stack::start(StackOptions::for_test("purged")?).await?;
    let admin = stack.admin();
    let (ann, token) = world::user(&admin, "ann", &[]).await?;
    let before = traces(&stack, &["acme"]).await?;

    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    admin.put_member("acme", &ann, "admin").await?;
    world::plant_order(&stack, "acme", &ann, "order-1").await?;
    let api = stack.tenant_api(0);
    answers(&api, &token, SOON, 200).await?;
    // The names of both its database users begin with this.
    let login = world::login(&stack, "acme").await?;
    let users = login.get_username().trim_end_matches(['a', 'b']).to_owned();
    let words = ["acme", users.as_str()];
    wait::until_ok(SOON, "every trace of the tenant to be present", async || {
        // A request writes the key. The event of the new member may remove it again, so the request is repeated.
        ensure!(api.get("acme.example.com", &token, "/api/orders").await?.status == 200);
        let found = traces(&stack, &words).await?;
        for trace in
            ["database ", "user ", "grant ", "rows of saas_tenant_databases", "rows of saas_tenant_users", "key "]
        {
            let new = found.difference(&before).any(|found| found.contains(trace));
            ensure!(new, "the search does not find the planted {trace}");
        }
        Ok(())
    })
    .await?;

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
    let mut system = world::system(&stack).await?;
    let log = "SELECT COUNT(*) FROM saas_access_logs WHERE tenant_id = 'acme'";
    wait::until(SOON, "the node to have written its log of the tenant", async || {
        let before = world::number(&mut system, log).await.ok()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        (before > 0 && world::number(&mut system, log).await.ok()? == before).then_some(())
    })
    .await?;
    purge(&admin, "acme").await?;
    wait::until_ok(REFUSED, "nothing of the tenant to be left", async || {
        let left = traces(&stack, &words).await?;
        ensure!(left == before, "left: {:?}", left.difference(&before));
        Ok(())
    })
    .await?;
    let tenant: Value = admin.get("/admin/tenants/acme").await?;
    assert_eq!((&tenant["state"], &tenant["domains"]), (&json!("purged"), &json!([])));
    let listed: Value = admin.get("/admin/tenants?status=purged").await?;
    assert_eq!(listed["tenants"].as_array().map(Vec::len), Some(1));
    let last = admin.events("acme").await?.pop().context("events stay")?;
    assert_eq!((last.kind.as_str(), &last.data["database"]), ("tenant.purged", &json!("ai_shifu_tenant_acme")));
    assert_eq!(last.data["server"], "main");
    assert!(last.data["checks"].as_array().is_some_and(|checks| checks.len() == 5), "{}", last.data);
    assert!(last.data["checks"].to_string().contains("this was seen on the servers main"), "{}", last.data);

    for (method, path, code) in [("POST", "/restore", "invalid_state"), ("POST", "/purge", "invalid_state")] {
        let reply = admin.request(method, &format!("/admin/tenants/acme{path}"), Some(json!({})), &[]).await?;
        assert_eq!((reply.status, reply.error()), (409, code), "{path}: {}", reply.text);
    }
    let again = json!({"tenant_id": "acme", "tenant_name": "Acme"});
    assert_eq!(admin.post("/admin/tenants", again).await?.error(), "tenant_exists");
    let squatter = json!({"tenant_id": "other", "tenant_name": "Other", "tenant_domain": "acme.example.com"});
    assert_eq!(
        admin.post("/admin/tenants", squatter).await?.error(),
        "domain_taken",
        "the former domain is not free yet"
    );
    answers(&api, &token, SOON, 404).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn an_undeleted_tenant_has_its_former_state() -> Result<()> {
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
    ensure!(world::login(&stack, "acme").await.is_ok());
    purge(&admin, "broken").await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_purge_killed_at_every_step_converges() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("purge-killed")?).await?;
    let admin = stack.admin();
    let before = traces(&stack, &["gone-"]).await?;
    let steps = sagas::steps(&stack, JobKind::Purge, "gone-steps").await?;
    let points = kill::around_all("purge", &steps);
    for number in 0..points.len() {
        admin
            .create_active_tenant(&format!("gone-{number}"), Some(&format!("gone-{number}.example.com")), SOON)
            .await?;
    }
    for number in 0..points.len() {
        ensure!(admin.request("DELETE", &format!("/admin/tenants/gone-{number}"), None, &[]).await?.status == 202);
    }
    world::idle(&stack).await?;
    kill::at_each(
        &mut stack,
        Role::Provisioner,
        &points,
        async |_: &mut Stack, number: usize| {
            let reply = admin.post(&format!("/admin/tenants/gone-{number}/purge"), json!({})).await?;
            ensure!(reply.status == 202, "{}", reply.text);
            Ok(())
        },
        async |_: &mut Stack, number: usize| {
            if !points[number].ends_with("after_commit") {
                let reply = admin.post(&format!("/admin/tenants/gone-{number}/restore"), json!({})).await?;
                ensure!((reply.status, reply.error()) == (409, "operation_in_progress"), "{}", reply.text);
            }
            Ok(())
        },
    )
    .await?;
    world::idle(&stack).await?;
    for (number, point) in points.iter().enumerate() {
        assert_eq!(admin.tenant(&format!("gone-{number}")).await?.state, "purged", "{point}");
    }
    assert_eq!(traces(&stack, &["gone-"]).await?, before);
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
    // The retention that was promised at the deletion holds, whatever the setting is later.
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
    let operation = reply.operation_id()?;
    assert_eq!(reply.header("location"), Some(format!("/admin/operations/{operation}").as_str()));
    let ended = admin.wait_for_operation(operation, SOON).await?;
    let steps: Vec<_> = ended.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["last_backup", "drop_database", "drop_user", "drop_elsewhere", "forget", "verify_absent"]);
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

/// Finds every database, user and grant, and every row and key with one of `words`: all that a tenant could leave
/// behind, except for what is meant to stay. It searches every column of every table, so it covers new tables too.
async fn traces(stack: &Stack, words: &[&str]) -> Result<BTreeSet<String>> {
    const QUERIES: [&str; 6] = [
        "SELECT CONVERT(CONCAT('database ', SCHEMA_NAME) USING utf8mb4) FROM information_schema.SCHEMATA",
        "SELECT CONVERT(CONCAT('user ', User, '@', Host) USING utf8mb4) FROM mysql.user",
        "SELECT CONVERT(CONCAT('grant ', User, '@', Host, ' on ', Db) USING utf8mb4) FROM mysql.db",
        "SELECT CONVERT(CONCAT('grant of a table ', User, '@', Host, ' on ', Db, '.', Table_name) USING utf8mb4)
         FROM mysql.tables_priv",
        "SELECT CONVERT(CONCAT('grant of a column ', User, '@', Host, ' on ', Db, '.', Table_name) USING utf8mb4)
         FROM mysql.columns_priv",
        "SELECT CONVERT(CONCAT('grant of a routine ', User, '@', Host, ' on ', Db) USING utf8mb4)
         FROM mysql.procs_priv",
    ];
    // The history, tombstones and reserved domains.
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
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT CONVERT(c.TABLE_NAME USING utf8mb4), CONVERT(c.COLUMN_NAME USING utf8mb4) FROM information_schema.COLUMNS c
         JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME
         WHERE c.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE = 'BASE TABLE'",
    )
    .fetch_all(&mut system)
    .await?;
    ensure!(columns.iter().any(|(table, _)| table == "saas_tenant_databases"), "the search covered no tables");
    for (table, column) in columns.iter().filter(|(table, _)| !STAY.contains(&table.as_str())) {
        for word in words {
            let query =
                format!("SELECT COUNT(*) FROM `{table}` WHERE LOCATE(?, CONVERT(`{column}` USING utf8mb4)) > 0");
            let count: i64 = sqlx::query_scalar(&query).bind(word).fetch_one(&mut system).await?;
            if count > 0 {
                found.insert(format!("{count} rows of {table} name {word} in {column}"));
            }
        }
    }
    let mut redis = redis::Client::open(stack.urls.redis.as_str())?.get_multiplexed_async_connection().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await?;
    found.extend(
        keys.into_iter().filter(|key| words.iter().any(|word| key.contains(*word))).map(|key| format!("key {key}")),
    );
    Ok(found)
}

async fn texts(connection: &mut MySqlConnection, query: &str) -> Result<Vec<String>> {
    // A plain query uses the text protocol, which gives every column as text.
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as(&query.replace("SELECT CONCAT", "SELECT BINARY CONCAT")).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(text,)| String::from_utf8_lossy(&text).into_owned()).collect())
}
