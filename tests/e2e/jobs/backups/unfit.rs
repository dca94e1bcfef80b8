//! Whose fault it is: a test that fails for the server's sake says nothing of the backup, a purge does not wait for a
//! backup that nothing can take, and a restore continues what a worker of an earlier version has begun.

use super::{back_up, database, killed_at, options, run};
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::stack::{Role, Stack};
use serde_json::json;
use sqlx::Executor;

#[tokio::test]
async fn a_full_server_is_no_fault_and_an_unfit_purge_ends() -> Result<()> {
    let mut options = options("backup-verdict")?;
    let url = format!("file://{}/backups", options.dir.display());
    options =
        options.with_env("control-plane", "BACKUP_STORE", &url).with_env("provisioner", "BACKUP_BEFORE_PURGE", "true");
    let stack = Stack::start(options.with_env("control-plane", "RESTORE_TESTS_AT_ONCE", "1")).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", None, SOON).await?;
    let (mut root, mut system) = (world::root(&stack).await?, world::system(&stack).await?);
    let acme = database("acme");
    let rows: Vec<String> = (1..=3000).map(|id| format!("({id}, 'x')")).collect();
    let fill = format!(
        "CREATE TABLE {acme}.heap (id INT PRIMARY KEY, filler CHAR(200)) ENGINE=MEMORY;
         INSERT INTO {acme}.heap VALUES {}",
        rows.join(",")
    );
    root.execute(sqlx::raw_sql(&fill)).await?;
    back_up(&stack, "acme").await?;
    back_up(&stack, "default").await?;

    // The server has no room for the table.
    let limit = world::number(&mut root, "SELECT CAST(@@GLOBAL.max_heap_table_size AS SIGNED)").await?;
    root.execute("SET GLOBAL max_heap_table_size = 16384").await?;
    stack.run(Role::ControlPlane, &["schedule", "run", "restore-test"], &Vec::new()).await?;
    world::idle(&stack).await?;
    let failed = "SELECT COUNT(*) FROM saas_operations WHERE kind = 'restore_test' AND status = 'failed'";
    ensure!(world::number(&mut system, failed).await? == 1, "the test did not fail");
    let verdicts = "SELECT COUNT(*) FROM saas_backups WHERE tested_at IS NOT NULL OR test_error IS NOT NULL";
    ensure!(world::number(&mut system, verdicts).await? == 0, "a full server was recorded as a fault of the backup");
    // One test at a time: the next one is of the other tenant, and then it is acme's turn again.
    for tenant in ["default", "acme"] {
        stack.run(Role::ControlPlane, &["schedule", "run", "restore-test"], &Vec::new()).await?;
        world::idle(&stack).await?;
        let good = format!(
            "SELECT COUNT(*) FROM saas_backups
             WHERE tenant_id = '{tenant}' AND tested_at IS NOT NULL AND test_error IS NULL"
        );
        ensure!(world::number(&mut system, &good).await? == 1, "the backup of {tenant} was not tested");
        root.execute(format!("SET GLOBAL max_heap_table_size = {limit}").as_str()).await?;
    }

    // A database that cannot be backed up.
    root.execute(format!("CREATE TABLE {acme}._former_objects (id INT)").as_str()).await?;
    ensure!(admin.request("DELETE", "/admin/tenants/acme", None, &[]).await?.status == 202);
    world::idle(&stack).await?;
    let purge = async || -> Result<serde_json::Value> {
        let purge = admin.post("/admin/tenants/acme/purge", json!({})).await?;
        ensure!(purge.status == 202, "{}", purge.text);
        world::idle(&stack).await?;
        admin.get(&format!("/admin/operations/{}", purge.operation_id()?)).await
    };
    let ended = purge().await?;
    ensure!(ended["status"] == "failed", "{ended}");
    for words in ["_former_objects", "BACKUP_BEFORE_PURGE=false", "Nothing was purged"] {
        ensure!(ended["error"].to_string().contains(words), "{words} is missing: {ended}");
    }
    ensure!(admin.tenant("acme").await?.state == "deleted");
    ensure!(world::number(&mut root, &format!("SELECT COUNT(*) FROM {acme}.heap")).await? == 3000);
    root.execute(format!("DROP TABLE {acme}._former_objects").as_str()).await?;
    let ended = purge().await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    admin.wait_for_state("acme", "purged", SOON).await.map(drop)
}

#[tokio::test]
async fn a_restore_continues_over_an_upgrade() -> Result<()> {
    let mut stack = Stack::start(options("backup-upgrade")?).await?;
    stack.admin().create_active_tenant("acme", None, SOON).await?;
    // The commands below do the work.
    stack.provisioners[0].stop().await?;
    let (mut root, acme) = (world::root(&stack).await?, database("acme"));
    back_up(&stack, "acme").await?;
    root.execute(format!("CREATE VIEW {acme}.former AS SELECT 1 AS one").as_str()).await?;

    // A worker of an earlier version has stored and dropped the objects in use, and was killed.
    killed_at(&stack, &["restore", "acme"], "restore.before_rename").await?;
    let earlier = format!("RENAME TABLE {acme}__before._former_objects TO {acme}__before._objects");
    root.execute(earlier.as_str()).await?;
    // A worker of this version cannot finish the restore, and undoes it.
    run(&stack, &["restore", "acme"], &[("FAILPOINTS", "restore.swap_database=error")]).await?.expect(1)?;
    ensure!(world::number(&mut root, &format!("SELECT one FROM {acme}.former")).await? == 1, "the view is lost");
    let left = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME IN ('_objects', '_former_objects')";
    ensure!(world::number(&mut root, left).await? == 0, "a table of the restore is left");
    run(&stack, &["restore", "acme"], &[]).await?.expect(0)?;
    Ok(())
}
