//! What opens or closes a tenant waits for no other work.

use crate::operations::audit;
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::stack::Stack;
use harness::wait;
use serde_json::json;
use sqlx::{ConnectOptions, Executor};

/// More than any group of workers of the stack has.
const STUCK: usize = 4;

#[tokio::test]
async fn what_opens_or_closes_a_tenant_waits_for_no_other_work() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("lanes")?).await?;
    let admin = stack.admin();
    let mut system = world::system(&stack).await?;
    admin.create_active_tenant("acme", None, SOON).await?;
    for number in 0..STUCK {
        for kind in ["purged", "audited"] {
            admin.create_active_tenant(&format!("{kind}-{number}"), None, SOON).await?;
        }
        let deleted = admin.request("DELETE", &format!("/admin/tenants/purged-{number}"), None, &[]).await?;
        ensure!(deleted.status == 202, "{}", deleted.text);
    }
    world::idle(&stack).await?;
    let points = "purge.last_backup.before=hang,audit.look.before=hang";
    stack.provisioners[0].restart(&[("FAILPOINTS", Some(points))]).await?;
    for number in 0..STUCK {
        let purge = admin.post(&format!("/admin/tenants/purged-{number}/purge"), json!({})).await?;
        ensure!(purge.status == 202, "{}", purge.text);
        audit::audit_of(&mut system, &format!("audited-{number}")).await?;
    }
    let begun = "SELECT COUNT(DISTINCT kind) FROM saas_operations WHERE status = 'running'";
    wait::until(SOON, "both kinds to hang", async || {
        world::number(&mut system, begun).await.ok().filter(|kinds| *kinds == 2)
    })
    .await?;

    let login = world::login(&stack, "acme").await?;
    for (what, body, may_log_in) in [("suspend", json!({"reason": "unpaid"}), false), ("resume", json!({}), true)] {
        let reply = admin.post(&format!("/admin/tenants/acme/{what}"), body).await?;
        ensure!(reply.status == 200, "{}", reply.text);
        wait::until(SOON, &format!("the server to follow the {what}"), async || {
            (login.connect().await.is_ok() == may_log_in).then_some(())
        })
        .await?;
    }
    admin.create_active_tenant("newcomer", None, SOON).await?;
    let running = "SELECT COUNT(*) FROM saas_operations WHERE status = 'running' AND kind = 'audit'";
    ensure!(world::number(&mut system, running).await? == 1, "bulk work has more than half of the two workers");

    // The survey of an audit waits for no bulk work, of which as much hangs as there are workers.
    // The audits of the tenants are old, so that a request is not answered with one of them.
    system.execute("UPDATE saas_audits SET created_at = created_at - INTERVAL 1 HOUR").await?;
    let asked = admin.post("/admin/audit", json!({"repair": false})).await?;
    ensure!(asked.status == 202, "{}", asked.text);
    let surveyed = "SELECT COUNT(*) FROM saas_operations
                    WHERE kind = 'audit' AND tenant_id = '' AND lane = 'surveys' AND status = 'succeeded'";
    wait::until(SOON, "the server to be surveyed", async || {
        world::number(&mut system, surveyed).await.ok().filter(|surveys| *surveys == 1)
    })
    .await?;

    // The jobs of a changed plan are bulk work; the others were not.
    let plan = json!({"request_concurrency": 4, "request_queue": 4, "max_connections": 7});
    let changed = admin.request("PUT", "/admin/plans/basic", Some(plan), &[]).await?;
    ensure!(changed.status == 200, "{}", changed.text);
    let lanes: Vec<(String, i64)> = sqlx::query_as(
        "SELECT lane, COUNT(*) FROM saas_operations WHERE kind = 'enforce' AND tenant_id = 'acme'
         GROUP BY lane ORDER BY lane",
    )
    .fetch_all(&mut system)
    .await?;
    assert_eq!(lanes, [("access".to_owned(), 2), ("bulk".to_owned(), 1)]);
    Ok(())
}

#[tokio::test]
async fn backups_wait_for_a_worker_that_has_the_store() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("lanes-store")?).await?;
    let admin = stack.admin();
    let mut system = world::system(&stack).await?;
    admin.create_active_tenant("acme", None, SOON).await?;
    world::idle(&stack).await?;
    // As an older control plane enqueues it, in the lane whose workers take jobs of any kind.
    for insert in [
        "INSERT INTO saas_backup_jobs (operation_id, source_tenant_id)
         VALUES ('00000000-0000-7000-8000-000000000001', 'acme')",
        "INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, status, next_attempt_at, give_up_at,
                                      created_at)
         VALUES ('00000000-0000-7000-8000-000000000001', '', 'main', 'backup', 'pending', UTC_TIMESTAMP(6),
                 UTC_TIMESTAMP(6) + INTERVAL 1 HOUR, UTC_TIMESTAMP(6))",
    ] {
        system.execute(insert).await?;
    }
    // The workers of the lane do what comes after it.
    for id in ["beta", "gamma"] {
        admin.create_active_tenant(id, None, SOON).await?;
    }
    let untouched =
        "SELECT COUNT(*) FROM saas_operations WHERE kind = 'backup' AND status = 'pending' AND attempts = 0";
    ensure!(world::number(&mut system, untouched).await? == 1, "a worker without the store took the backup");
    let store = format!("file://{}/backups", stack.dir().display());
    stack.provisioners[0].restart(&[("BACKUP_STORE", Some(&store))]).await?;
    let taken = "SELECT COUNT(*) FROM saas_operations o JOIN saas_backups b ON b.tenant_id = 'acme'
                 WHERE o.kind = 'backup' AND o.status = 'succeeded'";
    wait::until(SOON, "the backup to be taken", async || {
        world::number(&mut system, taken).await.ok().filter(|taken| *taken == 1)
    })
    .await
    .map(drop)
}
