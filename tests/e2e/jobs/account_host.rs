//! The setting TENANT_ACCOUNT_HOST changes. Accounts are found under the host that they were made with, and the
//! schedule of the rotations gives every tenant an account at the new one.

use crate::invariants;
use crate::operations::audit;
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::stack::{Role, Stack};
use harness::wait;
use serde_json::json;
use sqlx::{ConnectOptions, MySqlConnection};
use std::collections::BTreeSet;

/// The hosts of all accounts of tenants.
async fn hosts(root: &mut MySqlConnection) -> Result<BTreeSet<(String, String)>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT CONVERT(User USING utf8mb4), CONVERT(Host USING utf8mb4) FROM mysql.user WHERE User LIKE 'ten\\_%'",
    )
    .fetch_all(root)
    .await?;
    Ok(rows.into_iter().collect())
}

#[tokio::test]
async fn accounts_follow_a_changed_account_host() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("account-host")?).await?;
    let admin = stack.admin();
    for id in ["acme", "beta", "gone", "old"] {
        admin.create_active_tenant(id, None, SOON).await?;
    }
    let (mut root, mut system) = (world::root(&stack).await?, world::system(&stack).await?);
    // A tenant from before the hosts were recorded.
    sqlx::query("DELETE FROM saas_server_objects WHERE tenant_id = 'old'").execute(&mut system).await?;
    stack.provisioners[0].restart(&[("TENANT_ACCOUNT_HOST", Some("127.0.0.1"))]).await?;
    wait::until(SOON, "the server to be registered with the setting", async || {
        let changed = "SELECT COUNT(*) FROM saas_database_servers WHERE account_host = '127.0.0.1'";
        world::number(&mut system, changed).await.ok().filter(|count| *count == 1)
    })
    .await?;

    // A suspension holds, and its end too.
    for id in ["beta", "old"] {
        ensure!(admin.post(&format!("/admin/tenants/{id}/suspend"), json!({"reason": "unpaid"})).await?.status == 200);
        world::idle(&stack).await?;
        ensure!(world::login(&stack, id).await?.connect().await.is_err(), "{id} is suspended and logs in");
        ensure!(admin.post(&format!("/admin/tenants/{id}/resume"), json!({})).await?.status == 200);
        world::idle(&stack).await?;
        world::login(&stack, id).await?.connect().await?;
    }
    audit::finds_nothing(&admin).await?;

    // A purge removes the account that is there.
    let gone = world::login(&stack, "gone").await?.get_username().to_owned();
    ensure!(admin.request("DELETE", "/admin/tenants/gone", None, &[]).await?.status == 202);
    world::idle(&stack).await?;
    ensure!(admin.post("/admin/tenants/gone/purge", json!({})).await?.status == 202);
    admin.wait_for_state("gone", "purged", SOON).await?;
    let left = hosts(&mut root).await?;
    ensure!(!left.iter().any(|(user, _)| *user == gone), "the account outlived its tenant: {left:?}");

    // The schedule carries the change out. No former account is left.
    stack.run(Role::ControlPlane, &["schedule", "run", "credential-rotation"], &Vec::new()).await?;
    world::idle(&stack).await?;
    let found = hosts(&mut root).await?;
    ensure!(found.len() == 4 && found.iter().all(|(_, host)| host == "127.0.0.1"), "{found:?}");
    for id in ["acme", "beta", "old", "default"] {
        world::login(&stack, id).await?.connect().await?;
    }
    let rotations = "SELECT COUNT(*) FROM saas_operations WHERE kind = 'rotate'";
    let before = world::number(&mut system, rotations).await?;
    stack.run(Role::ControlPlane, &["schedule", "run", "credential-rotation"], &Vec::new()).await?;
    ensure!(world::number(&mut system, rotations).await? == before, "what was carried out is requested again");
    audit::finds_nothing(&admin).await?;
    invariants::check(&stack).await
}
