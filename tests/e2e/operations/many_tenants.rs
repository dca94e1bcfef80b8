//! What an operator reads about the whole system costs the same with 10,000 tenants: it is what the newest round or the
//! newest audit stored.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::Admin;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};
use sqlx::{Executor, MySqlConnection};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const TENANTS: u32 = 10_000;
const FINDINGS: usize = 2_500;
/// One second is promised, on a machine that does nothing else; beside other tests an answer may take longer. This
/// tells an answer from the newest round or audit from one that compares or checks, which took 4 s and more.
const BOUND: Duration = Duration::from_secs(3);

/// Copies the rows of the default tenant. The copies have no database, so no worker checks them.
async fn plant(system: &mut MySqlConnection) -> Result<()> {
    let digits = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
                   UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let numbers = format!(
        "SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d AS n
         FROM {digits} a JOIN {digits} b JOIN {digits} c JOIN {digits} e"
    );
    let tenants = format!(
        "INSERT INTO saas_tenants (tenant_id, tenant_name, database_name, status, plan_type)
         SELECT CONCAT('many-', n), 'Many', CONCAT('ai_shifu_tenant_many-', n), 1, 'basic' FROM ({numbers}) numbers"
    );
    let snapshots = format!(
        "INSERT INTO saas_tenant_snapshots
             (tenant_id, created_position, position, version, status, plan_type, server_id, snapshot)
         SELECT CONCAT('many-', n), 1000000 + n, 1, 1, s.status, s.plan_type, s.server_id,
                JSON_SET(s.snapshot, '$.tenant_id', CONCAT('many-', n))
         FROM saas_tenant_snapshots s JOIN ({numbers}) numbers WHERE s.tenant_id = 'default'"
    );
    for insert in [tenants, snapshots] {
        system.execute(insert.as_str()).await?;
    }
    Ok(())
}

/// The middle time of five answers, and the last one.
async fn timed(admin: &Admin, path: &str) -> Result<(Duration, Value)> {
    let (mut times, mut last) = (Vec::new(), Value::Null);
    for _ in 0..5 {
        let began = Instant::now();
        last = admin.get(path).await?;
        times.push(began.elapsed());
        // Health is shared between requests for two seconds.
        tokio::time::sleep(Duration::from_millis(2100)).await;
    }
    times.sort();
    eprintln!("{path} with {TENANTS} tenants: {times:?}");
    ensure!(times[2] < BOUND, "{path} takes {:?}", times[2]);
    Ok((times[2], last))
}

#[tokio::test]
async fn health_and_audits_show_what_is_stored_of_10_000_tenants() -> Result<()> {
    let mut options = StackOptions::for_test("many-tenants")?.with_env("provisioner", "HEALTH_EVERY", "1");
    options.data_planes = 0;
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    let mut system = world::system(&stack).await?;
    admin.create_active_tenant("acme", None, SOON).await?;
    let round = wait::until_ok(SOON, "a round of both tenants", async || {
        let health: Value = admin.get("/admin/health").await?;
        ensure!(health["tenant_summary"]["healthy"] == 2, "{}", health["tenant_summary"]);
        Ok(health)
    })
    .await?;
    let age = round["database_servers"][0]["age_seconds"].as_i64().context("an age")?;
    ensure!((0..60).contains(&age) && round["tenant_summary"]["age_seconds"].is_i64(), "{round}");
    plant(&mut system).await?;

    // Without a provisioner nothing is new, and the answer says how old it is instead of waiting for a round.
    stack.provisioners[0].stop().await?;
    let (_, health) = timed(&admin, "/admin/health?limit=1000").await?;
    assert_eq!(health["tenant_databases"].as_array().map(Vec::len), Some(1000));
    ensure!(
        health["next_cursor"].is_string() && health["tenant_summary"]["total"] == 2,
        "{}",
        health["tenant_summary"]
    );
    let page: Value = admin.get("/admin/health?status=healthy").await?;
    ensure!(page["tenant_databases"].as_array().is_some_and(|all| all.len() <= 2), "{page}");

    // An audit found much. Showing it compares nothing.
    let asked = admin.post("/admin/audit", json!({"repair": false})).await?;
    ensure!(asked.status == 202, "{}", asked.text);
    let audit = asked.json["audit_id"].as_str().context("an id")?.to_owned();
    for thousand in 0..FINDINGS.div_ceil(500) {
        let mut insert = sqlx::QueryBuilder::new(
            "INSERT INTO saas_audit_findings
                 (audit_id, server_id, tenant_id, kind, subject, detail, outcome, found_at) ",
        );
        insert.push_values(0..500, |mut row, number| {
            row.push_bind(&audit)
                .push("'main'")
                .push_bind(format!("many-{}", thousand * 500 + number))
                .push("'table_missing', 'orders', 'planted', 'found', UTC_TIMESTAMP(6)");
        });
        insert.build().execute(&mut system).await?;
    }
    system
        .execute("UPDATE saas_operations SET status = 'succeeded', finished_at = UTC_TIMESTAMP(6) WHERE kind = 'audit'")
        .await?;
    let before = world::number(&mut system, "SELECT COUNT(*) FROM saas_audits").await?;
    let (_, shown) = timed(&admin, "/admin/audit").await?;
    ensure!(
        shown["audit"]["status"] == "done" && shown["differences_left"] == FINDINGS,
        "{}",
        shown["audit"]["status"]
    );
    let (mut seen, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page: Value = admin.get(&format!("/admin/audit?limit=999{cursor}")).await?;
        let findings = page["audit"]["findings"].as_array().context("findings")?;
        seen.extend(findings.iter().map(|finding| finding["tenant_id"].as_str().unwrap_or_default().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), FINDINGS, "every finding is on a page");
    assert_eq!(world::number(&mut system, "SELECT COUNT(*) FROM saas_audits").await?, before);
    Ok(())
}

#[tokio::test]
async fn a_hundred_stuck_purges_hold_up_no_other() -> Result<()> {
    let options = world::without_nodes("stuck-purges")?.with_env("control-plane", "TENANT_RETENTION_DAYS", "0");
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    let mut system = world::system(&stack).await?;
    for id in ["first", "last"] {
        admin.create_active_tenant(id, None, SOON).await?;
        ensure!(admin.request("DELETE", &format!("/admin/tenants/{id}"), None, &[]).await?.status == 202);
    }
    world::idle(&stack).await?;
    // A hundred tenants that are due before the last one, each with a purge that does not end.
    system
        .execute(
            "INSERT INTO saas_tenants (tenant_id, tenant_name, database_name, status, plan_type, deleted)
             SELECT CONCAT('stuck-', n), 'Stuck', CONCAT('ai_shifu_tenant_stuck-', n), 0, 'basic', 1 FROM
               (SELECT a.d + 10 * b.d AS n FROM
                 (SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
                  UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) a JOIN
                 (SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
                  UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) b
               ) numbers",
        )
        .await?;
    system
        .execute(
            "INSERT INTO saas_tenant_snapshots
                 (tenant_id, created_position, position, version, status, plan_type, server_id, snapshot)
             SELECT t.tenant_id, 1000000 + t.id, s.position, s.version, s.status, s.plan_type, s.server_id,
                    JSON_SET(s.snapshot, '$.tenant_id', t.tenant_id, '$.purge_after', '2001-01-01T00:00:00Z')
             FROM saas_tenant_snapshots s JOIN saas_tenants t ON t.tenant_name = 'Stuck' WHERE s.tenant_id = 'first'",
        )
        .await?;
    system
        .execute(
            "INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, lane, status, next_attempt_at,
                                          give_up_at, created_at)
             SELECT UUID(), tenant_id, 'main', 'purge', 'long', 'pending', '2999-01-01', '2999-01-01', UTC_TIMESTAMP(6)
             FROM saas_tenants WHERE tenant_name = 'Stuck'",
        )
        .await?;
    let run = admin.post("/admin/schedules/tenant-retention/run", json!({})).await?;
    ensure!(run.status == 202, "{}", run.text);
    for id in ["first", "last"] {
        admin.wait_for_state(id, "purged", SOON).await?;
    }
    // They were in no move's way.
    let in_bulk = "SELECT COUNT(*) FROM saas_operations
                   WHERE kind = 'purge' AND lane = 'bulk' AND tenant_id IN ('first', 'last')";
    assert_eq!(world::number(&mut system, in_bulk).await?, 2);
    Ok(())
}
