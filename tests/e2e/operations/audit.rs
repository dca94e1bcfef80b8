//! An audit finds every kind of drift on real servers and nothing else, and repairs what it can repair safely.

mod planted;

pub use planted::set_marker;

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::Admin;
use harness::kill;
use harness::stack::Role;
use harness::stack::Stack;
use harness::wait;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor, MySqlConnection};
use std::collections::BTreeSet;

/// The kind of each finding, with its tenant, or the thing if it belongs to no tenant.
type Found = BTreeSet<(String, String)>;

#[tokio::test]
async fn a_healthy_fleet_in_every_state_shows_no_drift() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("audit-healthy")?).await?;
    let admin = stack.admin();
    for id in ["t-on", "t-maintained", "t-off", "t-deleted", "t-gone", "t-rotated", "t-rotating"] {
        admin.create_active_tenant(id, Some(&format!("{id}.example.com")), SOON).await?;
    }
    fail_to_create(&mut stack, "t-failed").await?;
    admin.post("/admin/tenants/t-maintained/maintenance", json!({"enabled": true})).await?;
    admin.post("/admin/tenants/t-off/suspend", json!({"reason": "unpaid"})).await?;
    for id in ["t-deleted", "t-gone"] {
        ensure!(admin.request("DELETE", &format!("/admin/tenants/{id}"), None, &[]).await?.status == 202);
    }
    world::idle(&stack).await?;
    ensure!(admin.post("/admin/tenants/t-gone/purge", json!({})).await?.status == 202);
    ensure!(admin.post("/admin/tenants/t-rotated/database/rotate", json!({})).await?.status == 202);
    world::idle(&stack).await?;
    // The rotation stays in the middle.
    stack.provisioners[0].restart(&[("FAILPOINTS", Some("rotate.await_nodes.before=hang"))]).await?;
    ensure!(admin.post("/admin/tenants/t-rotating/database/rotate", json!({})).await?.status == 202);
    let mut system = world::system(&stack).await?;
    let switched = "SELECT COUNT(*) FROM saas_next_credentials WHERE switched_at_position IS NOT NULL";
    wait::until(SOON, "the switch", async || world::number(&mut system, switched).await.ok().filter(|n| *n == 1))
        .await?;

    let (code, report) = command(&stack, &["audit", "--json"]).await?;
    ensure!(code == 0 && report["findings"] == json!([]), "{code}: {report}");
    ensure!(report["tenants_passed_over"] == 1 && report["tenants_compared"] == 8, "{report}");
    stack.provisioners[0].kill9()?;
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    world::idle(&stack).await?;

    // An audit by the schedule, and a drift that only the system database shows.
    let run = admin.post("/admin/schedules/audit/run", json!({})).await?;
    ensure!(run.status == 202, "{}", run.text);
    wait::until_ok(SOON, "the audit of the clock", async || {
        let shown: Value = admin.get("/admin/audit").await?;
        ensure!(shown["audit"]["requested_by"] == "schedule:audit" && shown["audit"]["status"] == "done", "{shown}");
        ensure!(shown["audit"]["repair"] == true && shown["differences_left"] == 0, "{shown}");
        Ok(())
    })
    .await?;
    let drift = "UPDATE saas_tenants SET tenant_name = 'drift', updated_at = updated_at WHERE tenant_id = 't-on'";
    sqlx::query(drift).execute(&mut system).await?;
    for (args, code, left) in
        [(vec!["audit", "--json"], 4, 1), (vec!["audit", "--json", "--repair"], 0, 0), (vec!["audit", "--json"], 0, 0)]
    {
        let (ended, report) = command(&stack, &args).await?;
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        let found = findings.iter().filter(|finding| finding["repaired"] == false).count();
        ensure!(ended == code && found == left, "{args:?}: {ended}: {report}");
    }
    let last = admin.events("t-on").await?.pop().context("events")?;
    ensure!(
        last.kind == "tenant.drift_repaired" && last.data["repairs"][0]["drift"] == "projection_differs",
        "{last:?}"
    );
    stack.provisioners[0].stop().await?;
    let (code, report) = command(&stack, &["audit", "--json", "--wait", "1"]).await?;
    ensure!(
        code == 4 && report["status"] == "running",
        "the audit ended without a check of the server: {code}: {report}"
    );
    stack.provisioners[0].restart(&[]).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn an_audit_killed_at_every_step_repairs_once() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("audit-killed")?).await?;
    let admin = stack.admin();
    let points = kill::around_all("audit", &["look", "repair", "confirm"]);
    let (mut root, mut system) = (world::root(&stack).await?, world::system(&stack).await?);
    for number in 0..points.len() {
        admin.create_active_tenant(&format!("t-{number}"), None, SOON).await?;
    }
    kill::at_each(
        &mut stack,
        Role::Provisioner,
        &points,
        async |stack: &mut Stack, number: usize| {
            let id = format!("t-{number}");
            let user = world::login(stack, &id).await?.get_username().to_owned();
            root.execute(format!("ALTER USER '{user}'@'%' ACCOUNT LOCK").as_str()).await?;
            audit_of(&mut system, &id).await
        },
        kill::later,
    )
    .await?;
    world::idle(&stack).await?;
    for (number, point) in points.iter().enumerate() {
        let id = format!("t-{number}");
        ensure!(world::login(&stack, &id).await?.connect().await.is_ok(), "{point}: the account is still locked");
        let events = admin.events(&id).await?;
        let repairs: Vec<_> = events.iter().filter(|event| event.kind == "tenant.drift_repaired").collect();
        ensure!(repairs.len() == 1, "{point}: {} events of repairs", repairs.len());
    }
    invariants::check(&stack).await
}

/// Requests an audit of one tenant that repairs what is safe, as a survey does. Returns its operation.
pub async fn audit_of(system: &mut MySqlConnection, tenant: &str) -> Result<String> {
    let audit_id = uuid::Uuid::now_v7().to_string();
    sqlx::query(
        "INSERT INTO saas_audits (audit_id, requested_by, repair, created_at) VALUES (?, 'test', 1, UTC_TIMESTAMP(6))",
    )
    .bind(&audit_id)
    .execute(&mut *system)
    .await?;
    let operation = kernel::audit::enqueue(system, &audit_id, "main", Some(&tenant.parse()?)).await?;
    Ok(operation.to_string())
}

async fn fail_to_create(stack: &mut Stack, id: &str) -> Result<()> {
    stack.provisioners[0].restart(&[("FAILPOINTS", Some("provision.seed_config=error"))]).await?;
    let created = stack.admin().create_tenant(id, id, None).await?;
    stack.admin().wait_for_end(&created.operation_id, SOON).await?;
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await
}

struct Audited {
    found: Found,
    repaired: Found,
}

/// Checks that an audit of all tenants has no finding.
pub async fn finds_nothing(admin: &Admin) -> Result<()> {
    audit(admin, false).await?;
    let shown: Value = admin.get("/admin/audit").await?;
    ensure!(shown["differences_left"] == 0, "{shown}");
    Ok(())
}

/// The findings of an audit that it does not repair.
pub async fn findings(admin: &Admin, repair: bool) -> Result<BTreeSet<(String, String)>> {
    Ok(audit(admin, repair).await?.found)
}

/// Requests an audit and waits for its end.
async fn audit(admin: &Admin, repair: bool) -> Result<Audited> {
    let asked = admin.post("/admin/audit", json!({"repair": repair})).await?;
    ensure!(asked.status == 202, "{}", asked.text);
    let ended = wait::until_ok(SOON, "the audit to end", async || {
        let shown: Value = admin.get("/admin/audit").await?;
        ensure!(
            shown["audit"]["audit_id"] == asked.json["audit_id"] && shown["audit"]["status"] != "running",
            "{shown}"
        );
        Ok(shown["audit"].clone())
    })
    .await?;
    ensure!(ended["status"] == "done", "{ended}");
    let of = |repaired: bool| -> Found {
        let findings = ended["findings"].as_array().cloned().unwrap_or_default();
        findings
            .iter()
            .filter(|finding| finding["repaired"] == repaired)
            .map(|finding| {
                let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
                let whose = if text("tenant_id").is_empty() { text("subject") } else { text("tenant_id") };
                (text("kind"), whose)
            })
            .collect()
    };
    Ok(Audited { found: of(false), repaired: of(true) })
}

/// The exit code of a command of the control plane, run with the account that migrates, and the JSON that it printed.
async fn command(stack: &Stack, args: &[&str]) -> Result<(i32, Value)> {
    let migrator = [("SYSTEM_DB_URL", stack.urls.system.migrator.as_str())];
    let answer = world::command(stack, Role::ControlPlane, args, &migrator).await?;
    ensure!(!answer.json.is_null(), "{args:?} printed no JSON: {}", answer.errors);
    Ok((answer.code.unwrap_or(-1), answer.json))
}
