//! A backup store belongs to one installation, two requests for the same restore are one, and old backups that cannot
//! be removed do not repeat the backup of the system database.

use super::{REFUSED, back_up, files, options, run};
use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::stack::{Role, Stack};
use harness::wait;
use serde_json::json;

#[tokio::test]
async fn a_backup_store_belongs_to_one_installation() -> Result<()> {
    let options = options("backup-owner")?;
    let url = format!("file://{}/backups", options.dir.display());
    let mut stack = Stack::start(options.with_env("control-plane", "BACKUP_STORE", &url)).await?;
    let admin = stack.admin();
    let mut system = world::system(&stack).await?;
    admin.create_active_tenant("acme", None, SOON).await?;
    let first = back_up(&stack, "acme").await?;

    // Two commands that restore the same backup share one operation. The tenant is in maintenance, so that neither of
    // them appends an event that the other would meet.
    let maintenance = json!({"enabled": true});
    ensure!(admin.post("/admin/tenants/acme/maintenance", maintenance).await?.status < 300);
    world::idle(&stack).await?;
    stack.provisioners[0].stop().await?;
    let args = ["restore", "acme", "--json"];
    let (one, other) = tokio::join!(run(&stack, &args, &[]), run(&stack, &args, &[]));
    let operations = [one?.expect(0)?, other?.expect(0)?].map(|done| done.json["operation_id"].clone());
    ensure!(operations[0] == operations[1], "{operations:?}");
    let count = "SELECT COUNT(*) FROM saas_operations WHERE kind = 'restore'";
    ensure!(world::number(&mut system, count).await? == 1);
    stack.provisioners[0].start_again(&[])?;
    stack.provisioners[0].wait_ready().await?;

    // An old backup that cannot be removed: the system is backed up once, and the other old backup is removed.
    let mut old = Vec::new();
    for age in [30, 20] {
        let id = back_up(&stack, "acme").await?;
        sqlx::query("UPDATE saas_backups SET taken_at = UTC_TIMESTAMP(6) - INTERVAL ? DAY WHERE backup_id = ?")
            .bind(age)
            .bind(&id)
            .execute(&mut system)
            .await?;
        old.push(id);
    }
    let points = format!("prune.remove.{}=error", old[0]);
    let retention = [("BACKUP_KEEP_DAYS", Some("1")), ("BACKUP_KEEP_LAST", Some("1"))];
    stack.provisioners[0].restart(&[("FAILPOINTS", Some(points.as_str())), retention[0], retention[1]]).await?;
    stack.run(Role::ControlPlane, &["schedule", "run", "backup"], &Vec::new()).await?;
    let prune = wait::until_ok(SOON, "the backups to be removed but one", async || {
        let prune: (String, u32, Option<String>) = sqlx::query_as(
            "SELECT operation_id, attempts, error FROM saas_operations WHERE kind = 'prune' ORDER BY created_at LIMIT 1",
        )
        .fetch_one(&mut system)
        .await?;
        ensure!(prune.1 >= 2 && prune.2.as_deref().unwrap_or_default().contains(&old[0]), "{prune:?}");
        Ok(prune.0)
    })
    .await?;
    let [data, manifest] = files(&stack, "acme", &old[1]);
    ensure!(!data.exists() && !manifest.exists(), "an old backup is held up by another one");
    let systems = "SELECT COUNT(*) FROM saas_backups WHERE tenant_id = ''";
    ensure!(world::number(&mut system, systems).await? == 1, "the system database was backed up again");
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    admin.wait_for_operation(&prune, SOON).await?;
    ensure!(!files(&stack, "acme", &old[0])[0].exists() && files(&stack, "acme", &first)[0].exists());
    invariants::check(&stack).await?;

    // Another installation is refused the store, and the error names both.
    let id = "SELECT config_value FROM saas_system_config WHERE config_key = 'system.installation_id'";
    let own: String = sqlx::query_scalar(id).fetch_one(&mut system).await?;
    let rename = "UPDATE saas_system_config SET config_value = ? WHERE config_key = 'system.installation_id'";
    sqlx::query(rename).bind("another-installation").execute(&mut system).await?;
    for args in [["backup", "list"].as_slice(), &["backup", "prune"], &["restore", "acme"], &["backup", "acme"]] {
        let refused = run(&stack, args, &[]).await?.expect(REFUSED)?;
        let names = refused.errors.contains(&own) && refused.errors.contains("another-installation");
        ensure!(names && refused.errors.contains("BACKUP_STORE"), "{args:?}: {}", refused.errors);
    }
    stack.provisioners[0].stop().await?;
    stack.provisioners[0].start_again(&[])?;
    let ended = wait::until(SOON, "the provisioner to refuse the store", async || {
        (!stack.provisioners[0].is_alive()).then_some(())
    });
    ended.await.context("a provisioner of another installation started with the store")?;
    // A store from before it named its installation belongs to that of its backups.
    std::fs::remove_file(stack.dir().join("backups/installation"))?;
    run(&stack, &["backup", "list"], &[]).await?.expect(REFUSED)?;
    sqlx::query(rename).bind(&own).execute(&mut system).await?;
    run(&stack, &["backup", "list"], &[]).await?.expect(0)?;
    Ok(())
}
