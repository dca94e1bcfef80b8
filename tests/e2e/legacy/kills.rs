//! An import that is killed again and again has the same result as one that is not.

use super::{Old, ended, expected_members, members};
use crate::{invariants, world};
use anyhow::{Result, ensure};
use harness::legacy::schema::Generation;
use harness::process::Process;
use harness::wait;
use std::time::Duration;

#[tokio::test]
async fn an_import_killed_three_times_ends_equal() -> Result<()> {
    killed("legacy-kills", 40_000, 3, 100..900).await
}

#[tokio::test]
#[ignore = "long: an import of 400,000 rows that is killed twenty times"]
async fn an_import_killed_twenty_times_ends_equal() -> Result<()> {
    killed("legacy-many-kills", 400_000, 20, 100..1500).await
}

async fn killed(name: &str, rows: u64, kills: usize, after_ms: std::ops::Range<u64>) -> Result<()> {
    let stack = harness::stack::Stack::start(world::without_nodes(name)?).await?;
    let old = Old::filled(&stack, Generation::November2025, rows).await?;
    for kill in 1..=kills {
        let mut import = old.start(&stack, &["import"])?;
        let after = Duration::from_millis(rand::random_range(after_ms.clone()));
        tokio::time::sleep(after).await;
        if kill == kills {
            // On a slow machine too, an attempt has copied the rows that change below.
            let copied = "SELECT COUNT(*) FROM saas_legacy_tables
                          WHERE source_table = 'learn_progress_records' AND (complete OR last_key IS NOT NULL)";
            let mut system = world::system(&stack).await?;
            wait::until_ok(world::SOON, "rows to be copied", async || {
                let copied: i64 = sqlx::query_scalar(copied).fetch_one(&mut system).await?;
                ensure!(copied == 1, "no import is recorded");
                Ok(())
            })
            .await?;
        }
        ensure!(import.is_alive(), "the import ended before kill {kill}, after {after:?}: {}", log(&import));
        import.kill9()?;
        // Rows that an attempt has copied change afterwards. The next attempt reads another snapshot.
        let change = format!("UPDATE learn_progress_records SET block_position = {kill} ORDER BY id LIMIT 10");
        sqlx::raw_sql(&change).execute(&mut old.connect().await?).await?;
        let delete = "DELETE FROM user_verify_code ORDER BY id LIMIT 2";
        sqlx::raw_sql(delete).execute(&mut old.connect().await?).await?;
    }
    let mut import = old.start(&stack, &["import"])?;
    let status = ended(&mut import).await?;
    ensure!(status.success(), "{status}: {}", log(&import));
    old.assert_equal(&stack, &format!("after {kills} kills")).await?;
    assert_eq!(members(&stack).await?, expected_members(&old).await?);
    assert_eq!(old.done(&stack, &["verify"]).await?["equal"], true);
    invariants::check(&stack).await
}

fn log(process: &Process) -> String {
    harness::files::tail(&process.log(), 20)
}
