//! A node that is far behind the events catches up, however many there are.

use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::wait;
use serde_json::json;
use sqlx::Executor;

/// More than two pages. The event that the test waits for is on the last one, so the node must have read them all, each
/// within its limit of time.
const EVENTS: u32 = 12_000;

#[tokio::test]
async fn a_node_that_is_far_behind_catches_up() -> Result<()> {
    let mut stack = world::start("far-behind").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    world::served(&stack.tenant_api(0), "acme.example.com", &token).await?;
    world::idle(&stack).await?;
    stack.data_planes[0].pause()?;
    let mut system = world::system(&stack).await?;
    let digits = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
                   UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let plant = format!(
        "START TRANSACTION;
         INSERT INTO saas_events (position, tenant_id, version, event_id, event_type, occurred_at, actor, data, hash)
         SELECT h.position + n, CONCAT('ghost-', n % 7), n, UUID(), 'tenant.teleported', UTC_TIMESTAMP(6), 'test',
                '{{}}', h.hash
         FROM saas_heads h JOIN (SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS n
             FROM {digits} a JOIN {digits} b JOIN {digits} c JOIN {digits} e JOIN {digits} f) numbers
         WHERE h.name = 'events' AND n <= {EVENTS};
         UPDATE saas_heads SET position = position + {EVENTS} WHERE name = 'events';
         COMMIT"
    );
    system.execute(plant.as_str()).await?;
    let suspended = admin.post("/admin/tenants/acme/suspend", json!({"reason": "unpaid"})).await?;
    ensure!(suspended.status == 200, "{}", suspended.text);
    stack.data_planes[0].resume()?;
    let api = stack.tenant_api(0);
    wait::until_ok(SOON, "the node to catch up", async || {
        let reply = api.get("acme.example.com", &token, "/api/orders").await?;
        ensure!((reply.status, reply.error()) == (403, "tenant_suspended"), "{}", reply.text);
        Ok(())
    })
    .await
}
