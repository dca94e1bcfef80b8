//! What a newer version has written stops no process, during an upgrade and after its rollback.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::wait;
use serde_json::Value;
use sqlx::Executor;

const HOST: &str = "acme.example.com";

/// An event and a job of unknown kinds, and a snapshot with an unknown field.
const OF_A_NEWER_VERSION: &str = "START TRANSACTION;
    INSERT INTO saas_events (position, tenant_id, version, event_id, event_type, occurred_at, actor, data, hash)
        SELECT h.position + 1, 'acme', s.version + 1, UUID(), 'tenant.teleported', UTC_TIMESTAMP(6), 'newer', '{\"to\": \"mars\"}', h.hash
        FROM saas_heads h JOIN saas_tenant_snapshots s ON s.tenant_id = 'acme' WHERE h.name = 'events';
    UPDATE saas_heads SET position = position + 1 WHERE name = 'events';
    UPDATE saas_tenant_snapshots SET snapshot = JSON_SET(snapshot, '$.version', version + 1, '$.planet', JSON_OBJECT('name', 'mars')),
        version = version + 1 WHERE tenant_id = 'acme';
    INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, status, next_attempt_at, give_up_at, created_at)
        VALUES (UUID(), '', 'main', 'teleport', 'pending', '2001-01-01', '2999-01-01', '2001-01-01');
    COMMIT";

#[tokio::test]
async fn rows_of_a_newer_version_stop_no_process() -> Result<()> {
    let mut stack = world::start("newer").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    world::idle(&stack).await?;
    let mut system = world::system(&stack).await?;
    system.execute(OF_A_NEWER_VERSION).await?;
    let head =
        world::number(&mut system, "SELECT CAST(position AS SIGNED) FROM saas_heads WHERE name = 'events'").await?;

    // The relay publishes the event, the node passes it, and workers take the jobs they know.
    let cursor = "SELECT CAST(position AS SIGNED) FROM saas_leases WHERE name = 'relay'";
    wait::until(SOON, "the event to be published", async || {
        world::number(&mut system, cursor).await.ok().filter(|cursor| *cursor >= head)
    })
    .await?;
    admin.create_active_tenant("later", Some("later.example.com"), SOON).await?;
    let open = "SELECT COUNT(*) FROM saas_operations WHERE kind = 'teleport' AND status = 'pending' AND attempts = 0";
    assert_eq!(
        world::number(&mut system, open).await?,
        1,
        "a provisioner leaves a job of an unknown kind to newer versions"
    );
    for again in [false, true] {
        if again {
            // The second time, the node loads the whole table instead of following it.
            stack.data_planes[0].restart(&[]).await?;
        }
        let api = stack.tenant_api(0);
        wait::until_ok(SOON, "the node to be past it and to serve", async || {
            let metrics = stack.data_planes[0].metrics().await?;
            let position =
                metrics.lines().find_map(|line| line.strip_prefix("node_position ")).context("node_position")?;
            ensure!(position.parse::<i64>()? > head, "the node is at {position}");
            let reply = api.get(HOST, &token, "/api/orders").await?;
            ensure!(reply.status == 200, "{}", reply.text);
            Ok(())
        })
        .await?;
    }
    let listed: Value = admin.get(&format!("/admin/events?after={}", head - 1)).await?;
    assert_eq!(listed["events"][0]["type"], "tenant.teleported");
    Ok(())
}
