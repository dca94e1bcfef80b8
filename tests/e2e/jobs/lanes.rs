//! What opens or closes a tenant waits for no other work.

use crate::operations::audit;
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::stack::Stack;
use harness::wait;
use serde_json::json;
use sqlx::ConnectOptions;

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
