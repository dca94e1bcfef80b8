//! A restore brings a tenant's data back to the byte, also over kills.

use super::{
    assert_equal, back_up, database, databases, definitions, killed_at, odd_tenant, options, run, spoil, sums,
};
use crate::{invariants, world};
use anyhow::{Result, ensure};
use harness::stack::Stack;
use sqlx::{ConnectOptions, Executor};

#[tokio::test]
async fn a_restore_over_kills_is_equal_to_the_byte() -> Result<()> {
    let mut stack = Stack::start(options("backup-kills")?).await?;
    let before = odd_tenant(&stack, "acme", 4_000).await?;
    let mut root = world::root(&stack).await?;
    let defined = definitions(&mut root, "acme").await?;
    // Without the provisioner, the commands do all the work and meet every point.
    stack.provisioners[0].stop().await?;

    for point in ["backup.chunk", "backup.table", "backup.before_finish", "backup.before_manifest"] {
        killed_at(&stack, &["backup", "acme"], point).await?;
    }
    let listed = run(&stack, &["backup", "list", "acme", "--json"], &[]).await?.expect(0)?;
    let whole = |json: &serde_json::Value| {
        json.as_array().map_or(0, |all| all.iter().filter(|one| one["state"] == "whole").count())
    };
    ensure!(whole(&listed.json) == 0, "an unfinished backup is not listed: {}", listed.json);
    // The backup is complete, and the catalogue does not have it yet.
    killed_at(&stack, &["backup", "acme"], "backup.after_manifest").await?;
    let noted = "SELECT COUNT(*) FROM saas_backups WHERE tenant_id = 'acme'";
    ensure!(world::number(&mut world::system(&stack).await?, noted).await? == 0);
    let listed = run(&stack, &["backup", "list", "acme", "--json"], &[]).await?.expect(0)?;
    ensure!(whole(&listed.json) == 1, "{}", listed.json);
    ensure!(
        world::number(&mut world::system(&stack).await?, noted).await? == 1,
        "the command `backup list` records the backup in the system database"
    );
    back_up(&stack, "acme").await?;

    // The restore notices lost rows before it replaces anything.
    let lossy = run(&stack, &["restore", "acme"], &[("FAILPOINTS", "restore.lost=error")]).await?.expect(1)?;
    ensure!(lossy.errors.contains("the table keyless has 0 rows"), "{}", lossy.errors);
    assert_equal(&before, &sums(&stack.urls.root, "acme").await?, "after a restore that was not equal")?;
    ensure!(stack.admin().tenant("acme").await?.state == "active");

    for point in ["restore.statement", "restore.before_rename", "restore.after_rename", "restore.settled"] {
        spoil(&stack, "acme").await?;
        let spoilt = sums(&stack.urls.root, "acme").await?;
        killed_at(&stack, &["restore", "acme"], point).await?;
        ensure!(
            stack.admin().tenant("acme").await?.state == "maintenance",
            "{point}: a node serves a half restored tenant"
        );
        if matches!(point, "restore.statement" | "restore.before_rename") {
            assert_equal(
                &spoilt,
                &sums(&stack.urls.root, "acme").await?,
                "the restore changed the data in use before the swap",
            )?;
        }
        let restored = run(&stack, &["restore", "acme", "--json"], &[]).await?.expect(0)?;
        ensure!(restored.json["state"] == "active", "{point}: {}", restored.json);
        assert_equal(&before, &sums(&stack.urls.root, "acme").await?, point)?;
    }
    let restored = definitions(&mut root, "acme").await?;
    for (before, after) in defined.iter().zip(&restored) {
        ensure!(before == after, "was:\n{before}\nis:\n{after}");
    }
    ensure!(databases(&mut root, "acme").await? == [database("acme")], "a restore leaves no extra database");
    world::login(&stack, "acme").await?.connect().await?;
    let kinds: Vec<String> = stack.admin().events("acme").await?.into_iter().map(|event| event.kind).collect();
    let tail = ["tenant.maintenance_started", "tenant.database_restored", "tenant.maintenance_ended"];
    ensure!(kinds.ends_with(&tail.map(str::to_owned)), "{kinds:?}");

    // The database and its user are lost, as after the loss of a server. The restore makes both again.
    let username: String = sqlx::query_scalar("SELECT db_username FROM saas_tenant_databases WHERE tenant_id = 'acme'")
        .fetch_one(&mut world::system(&stack).await?)
        .await?;
    let lost = format!("DROP DATABASE `{}`; DROP USER '{username}'@'%'", database("acme"));
    root.execute(sqlx::raw_sql(&lost)).await?;
    run(&stack, &["restore", "acme"], &[]).await?.expect(0)?;
    assert_equal(&before, &sums(&stack.urls.root, "acme").await?, "after its loss")?;
    world::login(&stack, "acme").await?.connect().await?;
    stack.provisioners[0].restart(&[]).await?;
    invariants::check(&stack).await
}
