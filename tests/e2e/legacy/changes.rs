//! What is written during and after an import: to the old system until the cut-over, and to the new one after it.

use super::{Old, REFUSED, WRITING, expected_members, members};
use crate::{invariants, world};
use anyhow::{Context, Result, ensure};
use harness::legacy::schema::Generation;
use harness::legacy::{checksum, ordinary};
use harness::stack::Stack;
use serde_json::Value;
use sqlx::{Connection, Executor, MySqlConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn sync_brings_what_was_written_during_the_import() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-sync")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 20_000).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write_until(old.connect().await?, Arc::clone(&stop)));
    let imported = old.done(&stack, &["import"]).await;
    stop.store(true, Ordering::Relaxed);
    let written = writer.await??;
    imported?;
    assert!(written >= 3, "the import was over after {written} rounds of writing");
    let different = checksum::differences(&old.sums().await?, &old.sums_in_new(&stack).await?);
    assert!(!different.is_empty(), "nothing was written after the import's snapshot");

    let synced = old.done(&stack, &["sync"]).await?;
    let behind = synced["passes"].as_array().and_then(|passes| passes.last()).map(|pass| &pass["rows"]);
    assert_eq!(behind, Some(&0.into()), "the last pass found nothing more: {synced}");
    old.assert_equal(&stack, "after a sync").await?;
    assert_eq!(members(&stack).await?, expected_members(&old).await?);

    // These changes show in no time column: the test changes rows by hand.
    let by_hand = "UPDATE order_orders SET paid_price = paid_price + 1 ORDER BY id LIMIT 3;
                   UPDATE user_profile SET profile_value = CONCAT(profile_value, ' ') ORDER BY id LIMIT 1;
                   UPDATE resource SET id = id + 100000 ORDER BY id DESC LIMIT 1;
                   DELETE FROM learn_generated_blocks ORDER BY id LIMIT 2;
                   UPDATE alembic_version SET version_num = 'other'";
    sqlx::raw_sql(by_hand).execute(&mut old.connect().await?).await?;
    let synced = old.done(&stack, &["sync", "--final"]).await?;
    assert_eq!((&synced["final"], &synced["behind_rows"]), (&true.into(), &0.into()), "{synced}");
    old.assert_equal(&stack, "after the last sync").await?;
    invariants::check(&stack).await
}

/// Writes as an application does: inserts, updates and some deletions. Returns the number of rounds.
async fn write_until(mut connection: MySqlConnection, stop: Arc<AtomicBool>) -> Result<u32> {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        rounds += 1;
        for statement in [
            format!(
                "INSERT INTO order_orders (order_bid, shifu_bid, user_bid, payable_price, paid_price, status, deleted, created_at, updated_at)
                 VALUES ('late-{rounds}', 's', '{}', 1, 1, 502, 0, NOW(), NOW())",
                ordinary::user_id(0)
            ),
            format!(
                "INSERT INTO user_info (user_id, username, name, email, mobile, created, updated, is_admin, is_creator)
                 VALUES ('late-user-{rounds}', '', '', '', '', NOW(), NOW(), 0, 0)"
            ),
            "UPDATE learn_progress_records SET block_position = block_position + 1, updated_at = NOW() ORDER BY id LIMIT 5"
                .to_owned(),
            "DELETE FROM user_verify_code ORDER BY id DESC LIMIT 1".to_owned(),
        ] {
            connection.execute(sqlx::raw_sql(&statement)).await.context(statement.clone())?;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    connection.close().await?;
    Ok(rounds)
}

#[tokio::test]
async fn rollback_brings_back_what_the_new_system_wrote() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-back")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 5000).await?;
    old.allow(WRITING).await?;
    old.done(&stack, &["cutover", "--skip-backup"]).await?;
    old.assert_equal(&stack, "at the cut-over").await?;
    let at_cut_over = old.sums().await?;

    // Changes by the new system, through its API and as a node makes them.
    let admin = stack.admin();
    let (ann, _) = world::user(&admin, "ann", &[("default", "user")]).await?;
    world::plant_order(&stack, "default", &ann, "new-order").await?;
    let mut root = world::root(&stack).await?;
    let by_node = "USE ai_shifu_tenant_default;
        UPDATE order_orders SET status = 599 ORDER BY id LIMIT 3;
        UPDATE user_profile SET profile_value = '改变了 \\0 ' ORDER BY id LIMIT 1;
        DELETE FROM learn_generated_blocks ORDER BY id LIMIT 2;
        INSERT INTO promo_coupons (coupon_bid, code, filter) VALUES ('c-new', 'NEW', '{}');
        INSERT INTO shifu_log_published_structs (struct_bid, shifu_bid, `struct`) VALUES ('b-new', 's', '{}')";
    sqlx::raw_sql(by_node).execute(&mut root).await?;
    let expected = old.sums_in_new(&stack).await?;
    let touched = checksum::differences(&at_cut_over, &expected);
    assert!(touched.len() >= 7, "{touched:?}");
    // The old table does not allow NULL. Rollback writes what the old application would have written.
    let without_times =
        "INSERT INTO ai_shifu_tenant_default.order_pingxx_orders (pingxx_order_bid, created_at, paid_at, extra)
                         VALUES ('p-new', '2026-01-02 03:04:05', NULL, NULL)";
    sqlx::raw_sql(without_times).execute(&mut root).await?;
    // Bob belongs to another tenant only.
    admin.create_active_tenant("other", None, world::SOON).await?;
    let (bob, _) = world::user(&admin, "bob", &[("other", "user")]).await?;

    let would = old.done(&stack, &["rollback", "--dry-run"]).await?;
    assert!(
        would["tables"]["order_orders"]["missing"] == 1 && would["tables"]["order_orders"]["changed"] == 3,
        "{would}"
    );
    assert_eq!(checksum::differences(&at_cut_over, &old.sums().await?), [""; 0], "a dry run changes nothing");
    assert_eq!(stack.admin().tenant("default").await?.state, "active");

    let back = old.done(&stack, &["rollback"]).await?;
    assert_eq!((&back["rows"], &back["single_database"]), (&would["rows"], &true.into()), "{back}");
    let different = checksum::differences(&expected, &old.sums().await?);
    // The two sides cannot be equal in this row.
    ensure!(different.len() == 1 && different[0].starts_with("order_pingxx_orders"), "{different:?}");
    let mut legacy = old.connect().await?;
    let times: (String, String) =
        sqlx::query_as("SELECT CAST(paid_at AS CHAR), extra FROM order_pingxx_orders WHERE pingxx_order_bid = 'p-new'")
            .fetch_one(&mut legacy)
            .await?;
    assert_eq!(times, ("2026-01-02 03:04:05".to_owned(), String::new()));
    let bobs = format!("SELECT CAST(COUNT(*) AS SIGNED) FROM user_info WHERE user_id = '{bob}'");
    assert_eq!(world::number(&mut legacy, &bobs).await?, 0, "another tenant's user");
    let tenant = admin.tenant("default").await?;
    assert_eq!(tenant.state, "maintenance", "a tenant that was rolled back takes no writes");
    legacy.close().await?;
    // The old system is in use again. A later pass meets no conflict, and leaves the user of the other tenant.
    let here = format!("SELECT CAST(COUNT(*) AS SIGNED) FROM user_info WHERE user_id = '{bob}'");
    for command in [&["sync"][..], &["sync", "--overwrite"]] {
        old.done(&stack, command).await?;
        assert_eq!(world::number(&mut world::system(&stack).await?, &here).await?, 1, "{command:?}");
    }
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_rollback_over_what_the_old_system_wrote_is_refused() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-both")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 2000).await?;
    old.done(&stack, &["cutover", "--skip-backup"]).await?;
    // The command checks its rights on the source first.
    let answer = old.run(&stack, &["rollback"]).await?.expect(REFUSED)?;
    assert!(answer.errors.contains("INSERT"), "{}", answer.errors);
    old.allow(WRITING).await?;
    let late = "UPDATE user_info SET mobile = '1' WHERE id = 1";
    sqlx::raw_sql(late).execute(&mut old.connect().await?).await?;
    let before = old.sums().await?;
    let answer = old.run(&stack, &["rollback"]).await?.expect(REFUSED)?;
    assert!(answer.errors.contains("user_info"), "{}", answer.errors);
    assert_eq!(checksum::differences(&before, &old.sums().await?), [""; 0]);
    assert_eq!(stack.admin().tenant("default").await?.state, "active");

    // This component sends requests to one database again and changes no row.
    let routing: Value = old.done(&stack, &["rollback", "--component", "routing"]).await?;
    assert_eq!((&routing["rows"], &routing["single_database"]), (&0.into(), &true.into()), "{routing}");
    assert_eq!(checksum::differences(&before, &old.sums().await?), [""; 0]);

    old.done(&stack, &["rollback", "--overwrite"]).await?;
    old.assert_equal(&stack, "after a rollback with leave to overwrite").await
}
