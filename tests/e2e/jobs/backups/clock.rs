//! The schedules back up every tenant, load and compare backups, and remove old ones. A purge takes a last backup.

use super::{back_up, files, options, run};
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::servers::mysql;
use harness::stack::Role;
use harness::stack::Stack;
use serde_json::json;
use sqlx::Executor;
use std::fs;

#[tokio::test]
async fn schedules_take_test_and_prune_backups() -> Result<()> {
    let mut options = options("backup-clock")?;
    let url = format!("file://{}/backups", options.dir.display());
    options =
        options.with_env("control-plane", "BACKUP_STORE", &url).with_env("provisioner", "BACKUP_BEFORE_PURGE", "true");
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    for tenant in ["acme", "beta"] {
        admin.create_active_tenant(tenant, None, SOON).await?;
    }
    // A load of this table will fail, where the server can be told to refuse it.
    let refuses = mysql::selected().is_none();
    let mut root = world::root(&stack).await?;
    root.execute("CREATE TABLE ai_shifu_tenant_default.keyless (id INT)").await?;
    let control = async |args: &[&str]| stack.run(Role::ControlPlane, args, &Vec::new()).await;
    let asked = control(&["schedule", "run", "backup"]).await?;
    ensure!(asked.contains("\"items\":4"), "three tenants and the system database: {asked}");
    world::idle(&stack).await?;
    let listed = run(&stack, &["backup", "list", "--json"], &[]).await?.expect(0)?;
    let whole = |json: &serde_json::Value| {
        json.as_array().map_or(0, |all| all.iter().filter(|one| one["state"] == "whole").count())
    };
    ensure!(whole(&listed.json) == 4, "{}", listed.json);
    let mut system = world::system(&stack).await?;
    ensure!(world::number(&mut system, "SELECT COUNT(*) FROM saas_backups").await? == 4);

    // The schedule loads and compares the newest backup of every tenant. One of them is damaged.
    let beta = listed.json.as_array().and_then(|all| all.iter().find(|one| one["tenant_id"] == "beta")).cloned();
    let beta = beta.and_then(|one| one["backup_id"].as_str().map(str::to_owned)).unwrap_or_default();
    let [data, _] = files(&stack, "beta", &beta);
    let mut bytes = fs::read(&data)?;
    bytes[100] ^= 1;
    fs::write(&data, &bytes)?;
    if refuses {
        root.execute("SET GLOBAL innodb_force_primary_key = 1").await?;
    }
    control(&["schedule", "run", "restore-test"]).await?;
    world::idle(&stack).await?;
    if refuses {
        // A restore gives up at once, and the tenant is in service again.
        let failed = run(&stack, &["restore", "default"], &[]).await?.expect(1)?;
        ensure!(failed.errors.contains("keyless") && failed.errors.contains("1173"), "{}", failed.errors);
        ensure!(admin.tenant("default").await?.state == "active", "the tenant stays in maintenance");
        root.execute("SET GLOBAL innodb_force_primary_key = 0").await?;
        let (error,): (String,) = sqlx::query_as("SELECT test_error FROM saas_backups WHERE tenant_id = 'default'")
            .fetch_one(&mut system)
            .await?;
        ensure!(error.contains("keyless") && error.contains("1173"), "{error}");
    }
    let tested =
        "SELECT COUNT(*) FROM saas_backups WHERE tested_at IS NOT NULL AND test_error IS NULL AND tenant_id <> ''";
    ensure!(world::number(&mut system, tested).await? == if refuses { 1 } else { 2 });
    let (error,): (String,) =
        sqlx::query_as("SELECT test_error FROM saas_backups WHERE tenant_id = 'beta'").fetch_one(&mut system).await?;
    ensure!(error.contains(&beta), "{error}");
    let health: serde_json::Value = admin.get("/admin/health").await?;
    ensure!(health["overall_status"] == "degraded", "the health reports a backup that cannot be restored: {health}");
    let left: Vec<(String,)> = sqlx::query_as(
        "SELECT CONVERT(SCHEMA_NAME USING utf8mb4) FROM information_schema.SCHEMATA
         WHERE SCHEMA_NAME LIKE '%\\_\\_test'",
    )
    .fetch_all(&mut world::root(&stack).await?)
    .await?;
    ensure!(left.is_empty(), "{left:?}");

    // Retention. The name of the manifest alone shows its age.
    for _ in 0..3 {
        back_up(&stack, "acme").await?;
    }
    let [partial, _] = files(&stack, "acme", "20200101T000000Z-00000000");
    fs::write(&partial, "unfinished")?;
    fs::write(partial.with_extension("data#1"), "the command was killed while it wrote the backup")?;
    let env = [("BACKUP_KEEP_DAYS", "1"), ("BACKUP_KEEP_LAST", "1")];
    let args = ["backup", "prune", "--unfinished-hours", "0", "--json"];
    let dry =
        run(&stack, &["backup", "prune", "--unfinished-hours", "0", "--json", "--dry-run"], &env).await?.expect(0)?;
    ensure!(partial.exists() && dry.json["unfinished"].as_array().is_some_and(|all| all.len() == 2), "{}", dry.json);
    let pruned = run(&stack, &args, &env).await?.expect(0)?;
    ensure!(pruned.json["backups"] == json!([]), "no backup is a day old: {}", pruned.json);
    ensure!(!partial.exists() && !partial.with_extension("data#1").exists());

    // A purge takes a last backup, from which the tenant can be made again.
    world::root(&stack).await?.execute("CREATE TABLE ai_shifu_tenant_acme.last_words (id INT)").await?;
    ensure!(admin.request("DELETE", "/admin/tenants/acme", None, &[]).await?.status == 202);
    world::idle(&stack).await?;
    let purge = admin.post("/admin/tenants/acme/purge", json!({})).await?;
    ensure!(purge.status == 202, "{}", purge.text);
    admin.wait_for_state("acme", "purged", SOON).await?;
    run(&stack, &["restore", "acme", "--as", "acme-again"], &[]).await?.expect(0)?;
    let query = "SELECT COUNT(*) FROM `ai_shifu_tenant_acme-again`.last_words";
    ensure!(world::number(&mut world::root(&stack).await?, query).await? == 0);
    Ok(())
}
