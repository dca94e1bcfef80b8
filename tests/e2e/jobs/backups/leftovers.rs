//! A restore test that was killed leaves a copy of a tenant. An audit finds and removes it, and so does a purge.

use super::{back_up, database, databases, options};
use crate::invariants;
use crate::operations::audit;
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::kill;
use harness::stack::{Role, Stack};
use serde_json::json;

#[tokio::test]
async fn the_copy_of_a_killed_restore_test_is_removed() -> Result<()> {
    let options = options("restore-test-killed")?;
    let url = format!("file://{}/backups", options.dir.display());
    // One test in each run, so that the worker is killed in the one that it was asked for.
    let options = options.with_env("control-plane", "RESTORE_TESTS_AT_ONCE", "1");
    let mut stack = Stack::start(options.with_env("control-plane", "BACKUP_STORE", &url)).await?;
    let admin = stack.admin();
    let (mut root, mut system) = (world::root(&stack).await?, world::system(&stack).await?);
    for id in ["acme", "beta"] {
        admin.create_active_tenant(id, None, SOON).await?;
        back_up(&stack, id).await?;
        kill::at(&mut stack, Role::Provisioner, "restore_test.loaded", async |stack: &mut Stack| {
            stack.run(Role::ControlPlane, &["schedule", "run", "restore-test"], &Vec::new()).await
        })
        .await?;
        // The test is given up, so that no other attempt of it drops the copy.
        sqlx::query(
            "UPDATE saas_operations SET status = 'failed', lease_until = NULL, finished_at = UTC_TIMESTAMP(6)
             WHERE kind = 'restore_test' AND status IN ('pending', 'running')",
        )
        .execute(&mut system)
        .await?;
        stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
        let there = databases(&mut root, id).await?;
        ensure!(there == [database(id), format!("{}__test", database(id))], "{there:?}");
        // The next backup to be tested is that of the other tenant.
        sqlx::query("UPDATE saas_backups SET tested_at = UTC_TIMESTAMP(6)").execute(&mut system).await?;
    }
    let copy = |id: &str| ("copy_left".to_owned(), format!("{}__test", database(id)));
    let found = audit::findings(&admin, false).await?;
    ensure!(found.contains(&copy("acme")) && found.contains(&copy("beta")), "{found:?}");

    ensure!(admin.request("DELETE", "/admin/tenants/acme", None, &[]).await?.status == 202);
    world::idle(&stack).await?;
    ensure!(admin.post("/admin/tenants/acme/purge", json!({})).await?.status == 202);
    admin.wait_for_state("acme", "purged", SOON).await?;
    let left = databases(&mut root, "acme").await?;
    ensure!(left.is_empty(), "the copy outlived the purge: {left:?}");

    let found = audit::findings(&admin, true).await?;
    ensure!(!found.contains(&copy("beta")), "{found:?}");
    let left = databases(&mut root, "beta").await?;
    ensure!(left == [database("beta")], "{left:?}");
    invariants::check(&stack).await
}
