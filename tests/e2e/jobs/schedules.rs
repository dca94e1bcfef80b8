//! Schedules: there is one leader and at most one run per slot, nothing is done twice, and nothing is skipped.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::Admin;
use harness::kill;
use harness::load::Load;
use harness::stack::Role;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};

const EXPIRED: [&str; 4] = ["t-0", "t-1", "t-2", "t-3"];

#[tokio::test]
async fn the_next_leader_finishes_the_run_of_a_killed_one() -> Result<()> {
    let (mut stack, second) = with_expired_tenants("schedule-killed", "schedule.asked=kill".to_owned()).await?;
    let run = ask_for_purges(&second).await?;
    kill::happened(&mut stack.control_planes[0], "schedule.asked").await?;
    check_done_once(&stack, &second, &run).await?;
    let mut system = world::system(&stack).await?;
    let clock = "FROM saas_schedule_runs WHERE schedule = 'history-retention' AND requested_by = 'clock'";
    wait::until(SOON, "slots of the new leader", async || {
        world::number(&mut system, &format!("SELECT COUNT(*) {clock}")).await.ok().filter(|ran| *ran > 3)
    })
    .await?;
    let doubled = world::number(&mut system, &format!("SELECT COUNT(*) - COUNT(DISTINCT slot) {clock}")).await?;
    let again = world::number(&mut system, &format!("SELECT COUNT(*) {clock} AND attempts > 1")).await?;
    ensure!(doubled == 0 && again == 0, "{doubled} slots ran twice, {again} runs were repeated");
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_paused_leader_does_nothing_once_it_is_replaced() -> Result<()> {
    let (held, points) = world::held_at("schedule.asked")?;
    let (mut stack, second) = with_expired_tenants("schedule-stopped", points).await?;
    let run = ask_for_purges(&second).await?;
    let mut system = world::system(&stack).await?;
    let asked = "SELECT COUNT(*) FROM saas_operations WHERE kind = 'purge'";
    wait::until(SOON, "the first purge", async || world::number(&mut system, asked).await.ok().filter(|n| *n > 0))
        .await?;
    stack.control_planes[0].pause()?;
    check_done_once(&stack, &second, &run).await?;
    let leads = second.get::<Value>("/admin/schedules").await?["leader"]["owner"].clone();
    drop(held);
    stack.control_planes[0].resume()?;
    wait::until(SOON, "the stopped leader to notice that it no longer leads", async || {
        stack.control_planes[0].log_text().contains("another process leads the schedules").then_some(())
    })
    .await?;
    check_done_once(&stack, &second, &run).await?;
    ensure!(
        second.get::<Value>("/admin/schedules").await?["leader"]["owner"] == leads,
        "the first control plane leads again"
    );
    invariants::check(&stack).await
}

#[tokio::test]
async fn missed_slots_run_once_and_retention_removes_old_rows() -> Result<()> {
    let options =
        world::without_nodes("schedule-missed")?.with_env("control-plane", "SCHEDULE_HISTORY_RETENTION", "0 0 * * * *");
    let mut stack = Stack::start(options).await?;
    let mut system = world::system(&stack).await?;
    let bad = vec![("SCHEDULE_HISTORY_RETENTION".to_owned(), "every night".to_owned())];
    let refused = stack.output(Role::ControlPlane, &["serve"], &bad).await?;
    let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && printed.contains("SCHEDULE_HISTORY_RETENTION"), "{printed}");

    stack.control_planes[0].stop().await?;
    sqlx::query("UPDATE saas_schedules SET last_slot = UTC_TIMESTAMP(6) - INTERVAL 5 HOUR")
        .execute(&mut system)
        .await?;
    sqlx::query("DELETE FROM saas_schedule_runs").execute(&mut system).await?;
    let of_clock =
        "SELECT COUNT(*) FROM saas_schedule_runs WHERE schedule = 'history-retention' AND status = 'succeeded'
                    AND slot = DATE_FORMAT(started_at, '%Y-%m-%d %H:00:00')";
    for _ in 0..2 {
        stack.control_planes[0].restart(&[]).await?;
        wait::until(SOON, "the missed slot", async || {
            world::number(&mut system, of_clock).await.ok().filter(|runs| *runs == 1)
        })
        .await?;
    }
    let all = "SELECT COUNT(*) FROM saas_schedule_runs WHERE schedule = 'history-retention'";
    assert_eq!(world::number(&mut system, all).await?, 1, "older slots have no run");

    plant_history(&mut system).await?;
    let report = stack.run(Role::ControlPlane, &["schedule", "run", "history-retention"], &Vec::new()).await?;
    let run: Value = serde_json::from_str(&report)?;
    assert_eq!((&run["items"], &run["requested_by"]), (&json!(3), &json!("command")), "{report}");
    for (table, column, left) in [
        ("saas_idempotency_keys", "idempotency_key", "young"),
        ("saas_operations", "operation_id", "open,young"),
        ("saas_operation_steps", "operation_id", "open,young"),
        ("saas_schedule_runs", "run_id", "open,young"),
    ] {
        let planted = format!(
            "SELECT CONVERT(COALESCE(GROUP_CONCAT({column} ORDER BY {column}), '') USING utf8mb4) FROM {table}
             WHERE {column} IN ('old', 'young', 'open')"
        );
        let found: String = sqlx::query_scalar(&planted).fetch_one(&mut system).await?;
        assert_eq!(found, left, "{table}");
    }
    for table in ["saas_operations", "saas_operation_steps"] {
        sqlx::query(&format!("DELETE FROM {table} WHERE operation_id = 'open'")).execute(&mut system).await?;
    }

    let listed = stack.output(Role::ControlPlane, &["schedule", "list", "--json"], &Vec::new()).await?;
    let listed: Value = serde_json::from_slice(&listed.stdout)?;
    ensure!(listed["leader"]["owner"].is_string() && listed["schedules"][1]["next_run"].is_string(), "{listed}");
    let unknown = stack.output(Role::ControlPlane, &["schedule", "run", "nothing"], &Vec::new()).await?;
    assert_eq!(unknown.status.code(), Some(1));
    let reply = stack.admin().post("/admin/schedules/nothing/run", json!({})).await?;
    assert_eq!((reply.status, reply.error()), (404, "schedule_not_found"));
    invariants::check(&stack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_credentials_past_their_age_are_rotated() -> Result<()> {
    let options = StackOptions::for_test("schedule-rotation")?
        .with_env("control-plane", "ROTATION_MAX_AGE_DAYS", "30")
        .with_env("control-plane", "ROTATIONS_AT_ONCE", "1");
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    let ids = ["oldest", "old", "young"];
    let token = world::fleet(&stack, &ids).await?;
    let mut before = Vec::new();
    for id in ids {
        before.push(world::login(&stack, id).await?.get_username().to_owned());
    }
    let mut system = world::system(&stack).await?;
    // The events get older times for the test. It restores them at the end, so that the hashes of the log hold.
    for (id, days) in [("oldest", 50), ("old", 40), ("young", 20)] {
        let age = "UPDATE saas_events SET occurred_at = occurred_at - INTERVAL ? DAY WHERE tenant_id = ?";
        sqlx::query(age).bind(days).bind(id).execute(&mut system).await?;
    }
    let newest: u64 = sqlx::query_scalar("SELECT MAX(position) FROM saas_events").fetch_one(&mut system).await?;

    let mut load = Load::new();
    for id in ids {
        load.client(world::orders(&stack.tenant_api(0), &token, move |_| id.to_owned()));
    }
    for (round, rotated) in [["oldest"].as_slice(), &["oldest", "old"], &["oldest", "old"]].into_iter().enumerate() {
        stack.run(Role::ControlPlane, &["schedule", "run", "credential-rotation"], &Vec::new()).await?;
        world::idle(&stack).await?;
        for (id, before) in ["oldest", "old", "young"].iter().zip(&before) {
            let changed = world::login(&stack, id).await?.get_username() != before;
            assert_eq!(changed, rotated.contains(id), "{id} after round {round}");
        }
    }
    ensure!(load.end().await?.served > 50, "there was too little load");
    let asked = admin.events("old").await?;
    let asked = asked.iter().find(|event| event.kind.ends_with("rotation_requested")).context("asked for")?;
    assert_eq!(asked.actor, "schedule:credential-rotation");
    for (id, days) in [("oldest", 50), ("old", 40), ("young", 20)] {
        let back =
            "UPDATE saas_events SET occurred_at = occurred_at + INTERVAL ? DAY WHERE tenant_id = ? AND position <= ?";
        sqlx::query(back).bind(days).bind(id).bind(newest).execute(&mut system).await?;
    }
    invariants::check(&stack).await
}

/// Two control planes, of which the first leads and meets `points` after each request, and four tenants to purge.
async fn with_expired_tenants(name: &str, points: String) -> Result<(Stack, Admin)> {
    let mut options = world::without_nodes(name)?
        .with_env("control-plane", "TENANT_RETENTION_DAYS", "0")
        .with_env("control-plane", "SCHEDULE_TENANT_RETENTION", "")
        .with_env("control-plane", "SCHEDULE_HISTORY_RETENTION", "* * * * * *")
        .with_env("control-plane", "FAILPOINTS", points)
        .with_env("control-plane-2", "FAILPOINTS", "");
    options.control_planes = 2;
    let mut stack = Stack::start(options).await?;
    let second = Admin::new(stack.control_planes[1].url(), &stack.admin_token);
    for id in EXPIRED {
        second.create_active_tenant(id, None, SOON).await?;
        ensure!(second.request("DELETE", &format!("/admin/tenants/{id}"), None, &[]).await?.status == 202);
    }
    world::idle(&stack).await?;
    let first = format!("{}:", stack.control_planes[0].process().pid());
    if !leader(&second).await.unwrap_or_default().starts_with(&first) {
        let admin = stack.admin();
        stack.control_planes[1].stop().await?;
        wait::until(SOON, "the first control plane to lead", async || {
            leader(&admin).await.filter(|owner| owner.starts_with(&first))
        })
        .await?;
        stack.control_planes[1].restart(&[]).await?;
    }
    Ok((stack, second))
}

async fn leader(admin: &Admin) -> Option<String> {
    let report: Value = admin.get("/admin/schedules").await.ok()?;
    report["leader"]["owner"].as_str().map(str::to_owned)
}

async fn ask_for_purges(admin: &Admin) -> Result<String> {
    let reply = admin.post("/admin/schedules/tenant-retention/run", json!({})).await?;
    assert_eq!((reply.status, &reply.json["status"]), (202, &json!("pending")), "{}", reply.text);
    Ok(reply.json["run_id"].as_str().context("a run")?.to_owned())
}

/// The second leader has finished the run, and one operation has purged each tenant.
async fn check_done_once(stack: &Stack, admin: &Admin, run: &str) -> Result<()> {
    wait::until_ok(SOON, "the run to end", async || {
        let report: Value = admin.get("/admin/schedules").await?;
        let last = &report["schedules"][0]["last_run"];
        ensure!(last["run_id"] == run && last["status"] == "succeeded" && last["attempts"] == 2, "{last}");
        Ok(())
    })
    .await?;
    world::idle(stack).await?;
    let mut system = world::system(stack).await?;
    for id in EXPIRED {
        assert_eq!(admin.tenant(id).await?.state, "purged", "{id}");
        let purges = format!("SELECT COUNT(*) FROM saas_operations WHERE kind = 'purge' AND tenant_id = '{id}'");
        assert_eq!(world::number(&mut system, &purges).await?, 1, "{id}");
    }
    Ok(())
}

/// Inserts rows of each kind: an old one, a young one, and an old one that has not ended.
async fn plant_history(system: &mut sqlx::MySqlConnection) -> Result<()> {
    for (id, days, status) in [("old", 200, "succeeded"), ("young", 5, "failed"), ("open", 200, "pending")] {
        let ended = (status != "pending").then_some(days);
        if status != "pending" {
            let key = "INSERT INTO saas_idempotency_keys
                     (actor, idempotency_key, request_hash, status_code, response_sealed, created_at)
                       VALUES ('t', ?, REPEAT('x', 32), 200, '', UTC_TIMESTAMP(6) - INTERVAL ? DAY)";
            sqlx::query(key).bind(id).bind(days).execute(&mut *system).await?;
        }
        // The open operation is for no server and due much later, so no worker takes it.
        let operation =
            "INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, status, next_attempt_at,
                     give_up_at, created_at, finished_at)
             VALUES (?, 'nobody', 'none', 'enforce', ?, '2100-01-01', '2100-01-01', UTC_TIMESTAMP(6) - INTERVAL 200 DAY,
                     UTC_TIMESTAMP(6) - INTERVAL ? DAY)";
        sqlx::query(operation).bind(id).bind(status).bind(ended).execute(&mut *system).await?;
        let step = "INSERT INTO saas_operation_steps (operation_id, ordinal, name, status, started_at)
             VALUES (?, 0, 's', 'succeeded', UTC_TIMESTAMP(6))";
        sqlx::query(step).bind(id).execute(&mut *system).await?;
        // The leader would carry out an open run of a schedule that it has.
        let run = "INSERT INTO saas_schedule_runs (run_id, schedule, slot, requested_by, status, created_at, ended_at)
                   VALUES (?, 'history-retention', UTC_TIMESTAMP(6) - INTERVAL ? DAY, 'clock', ?, UTC_TIMESTAMP(6),
                           UTC_TIMESTAMP(6) - INTERVAL ? DAY)";
        let status = if status == "pending" { "on-hold" } else { status };
        sqlx::query(run).bind(id).bind(days).bind(status).bind(ended).execute(&mut *system).await?;
    }
    Ok(())
}
