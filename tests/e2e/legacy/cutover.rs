//! The cut-over is one command. It succeeds, or it stops and says that the old system is still in use.

use super::{Old, REFUSED};
use crate::world;
use crate::world::Answer;
use anyhow::{Context, Result, ensure};
use harness::legacy::schema::Generation;
use harness::legacy::{checksum, ordinary};
use harness::stack::Stack;
use harness::wait;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn a_cut_over_backs_up_moves_everything_and_switches() -> Result<()> {
    let stack = world::start("legacy-cutover").await?;
    let old = Old::filled(&stack, Generation::November2025, 5000).await?;
    let backup = stack.dir().join("backup");
    let dir = backup.display().to_string();
    let done = old.done(&stack, &["cutover", "--backup-dir", &dir, "--domain", "learn.example.com"]).await?;
    assert_eq!((&done["switched"], &done["wrong"]), (&true.into(), &serde_json::Value::Null), "{done}");
    old.assert_equal(&stack, "after the cut-over").await?;

    let dumps: Vec<_> = std::fs::read_dir(&backup)?.collect::<std::io::Result<_>>()?;
    ensure!(dumps.len() == 1, "{dumps:?}");
    let dump = std::fs::read(dumps[0].path())?;
    ensure!(String::from_utf8_lossy(&dump).contains("CREATE TABLE `user_info`"), "the dump has the tables");
    assert_eq!(dumps[0].metadata()?.permissions().mode() & 0o077, 0, "no other account may read the dump");

    let token = stack.admin().create_token(&ordinary::user_id(1), None).await?;
    wait::until_ok(world::SOON, "the old domain to be served", async || {
        let reply = stack.tenant_api(0).get("learn.example.com", &token, "/api/orders").await?;
        ensure!(reply.status == 200 && reply.json["tenant_id"] == "default", "{}", reply.text);
        Ok(())
    })
    .await?;
    // After the cut-over, rows go in the other direction only.
    for args in [["sync"], ["cutover"]] {
        old.run(&stack, &args).await?.expect(REFUSED)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_failed_cut_over_leaves_the_old_system_in_use() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-stops")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 2000).await?;
    let before = old.sums().await?;
    let still_old = |answer: &Answer, what: &str| {
        ensure!(answer.errors.contains("old system is still the one in use"), "{what}: {}", answer.errors);
        Ok(())
    };
    let stage = async || -> Result<Option<String>> {
        let query = "SELECT state FROM saas_legacy_import";
        Ok(sqlx::query_scalar(query).fetch_optional(&mut world::system(&stack).await?).await?)
    };

    // Without a backup there is no import.
    let file = stack.dir().join("file");
    std::fs::write(&file, "in the way")?;
    let answer = old.run(&stack, &["cutover", "--backup-dir", &file.display().to_string()]).await?.expect(1)?;
    still_old(&answer, "backup")?;
    assert_eq!(stage().await?, None);

    // A dump that fails at a view that the account may not read leaves no file that looks like a dump.
    let mut connection = old.connect().await?;
    let dir = stack.dir().join("half");
    sqlx::raw_sql("CREATE VIEW old_view AS SELECT id FROM user_info").execute(&mut connection).await?;
    let answer = old.run(&stack, &["cutover", "--backup-dir", &dir.display().to_string()]).await?.expect(1)?;
    still_old(&answer, "a dump that fails")?;
    ensure!(answer.errors.contains("SHOW VIEW"), "{}", answer.errors);
    let left: Vec<_> = std::fs::read_dir(&dir)?.collect::<std::io::Result<_>>()?;
    ensure!(left.is_empty(), "{left:?}");
    assert_eq!(stage().await?, None);
    sqlx::raw_sql("DROP VIEW old_view").execute(&mut connection).await?;

    // The last pass needs the right to lock tables.
    sqlx::raw_sql("REVOKE LOCK TABLES ON `ai\\_shifu`.* FROM mover").execute(&mut connection).await?;
    let answer = old.run(&stack, &["cutover", "--skip-backup"]).await?.expect(1)?;
    still_old(&answer, "lock")?;
    ensure!(answer.errors.contains("LOCK TABLES"), "{}", answer.errors);
    assert_eq!(stage().await?.as_deref(), Some("imported"));
    assert_eq!(checksum::differences(&before, &old.sums().await?), [""; 0], "nothing in the old database was changed");
    let waiting = "UPDATE user_info SET mobile = '2' WHERE id = 1";
    sqlx::raw_sql(waiting)
        .execute(&mut connection)
        .await
        .context("a statement that waited in the old system succeeds")?;
    old.allow("LOCK TABLES").await?;

    // The cut-over does not switch to a tenant that is not served.
    let admin = stack.admin();
    let reply = admin.post("/admin/tenants/default/suspend", json!({"reason": "test"})).await?;
    ensure!(reply.status == 200, "{}", reply.text);
    let answer = old.run(&stack, &["cutover", "--skip-backup"]).await?.expect(REFUSED)?;
    ensure!(answer.errors.contains("suspended"), "{}", answer.errors);
    assert_eq!(stage().await?.as_deref(), Some("imported"));
    let reply = admin.post("/admin/tenants/default/resume", json!({})).await?;
    ensure!(reply.status == 200, "{}", reply.text);
    admin.wait_for_state("default", "active", world::SOON).await?;

    // Without these obstacles, the same command succeeds and has what was written meanwhile.
    old.done(&stack, &["cutover", "--skip-backup"]).await?;
    assert_eq!(stage().await?.as_deref(), Some("cut_over"));
    old.assert_equal(&stack, "the statement that waited is in the old database").await
}
