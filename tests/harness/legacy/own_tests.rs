//! What the tests of the migrator rely on: databases of one seed are equal, and a checksum misses no change.

use anyhow::Result;
use sqlx::Connection;

use super::schema::{Generation, connect, create};
use super::{checksum, fill, oddities};
use crate::leftovers;
use crate::servers::Server;
use crate::servers::mariadb::{MariaDb, Options};

const ROWS: u64 = 3000;

async fn server(name: &str) -> Result<MariaDb> {
    MariaDb::start(&leftovers::fresh_dir(name)?, &Options { small_buffer_pool: true, ..Options::default() }).await
}

#[tokio::test]
async fn one_seed_makes_one_legacy_database_with_every_oddity() -> Result<()> {
    let mut server = server("legacy-seed").await?;
    let root = server.url();
    for (database, generation, seed) in [
        ("one", Generation::September2025, 7),
        ("same", Generation::September2025, 7),
        ("other", Generation::September2025, 8),
        ("newer", Generation::November2025, 7),
    ] {
        create(&root, database, generation).await?;
        fill::fill(&root, database, seed, ROWS).await?;
        oddities::plant(&root, database, seed).await?;
    }
    let one = checksum::of_database(&root, "one").await?;
    assert_eq!(one.len(), 37);
    assert!(one.values().all(|sum| sum.rows > 0), "an empty table: {one:?}");
    assert!(one.values().map(|sum| sum.rows).sum::<u64>() >= ROWS);
    let same = checksum::of_database(&root, "same").await?;
    assert_eq!(checksum::differences(&one, &same), [""; 0]);
    let other = checksum::of_database(&root, "other").await?;
    // Only the revision is equal.
    assert_eq!(checksum::differences(&one, &other).len(), 36);
    assert_eq!(checksum::of_database(&root, "newer").await?.len(), 39);

    let mut connection = connect(&root, "newer").await?;
    let longest = "SELECT CAST(MAX(LENGTH(struct)) AS SIGNED) FROM shifu_log_draft_structs";
    let longest: i64 = sqlx::query_scalar(longest).fetch_one(&mut connection).await?;
    assert_eq!(longest, oddities::LARGE_STRUCT as i64);
    connection.close().await?;
    server.stop().await
}

#[tokio::test]
async fn a_checksum_sees_what_a_collation_does_not() -> Result<()> {
    let mut server = server("legacy-sum").await?;
    let root = server.url();
    create(&root, "one", Generation::September2025).await?;
    fill::fill(&root, "one", 7, ROWS).await?;
    let before = checksum::of_database(&root, "one").await?;
    let mut connection = connect(&root, "one").await?;
    for (table, set) in [
        ("user_info", "username = CONCAT(username, ' ')"),
        ("user_token", "user_id = UPPER(user_id)"),
        ("order_orders", "order_bid = user_bid, user_bid = order_bid, updated_at = updated_at"),
        ("learn_progress_records", "created_at = created_at + INTERVAL 1 SECOND"),
        ("active", "active_price = active_price + 0.01"),
        ("user_feedback", "feedback = CONCAT(feedback, '\\0')"),
    ] {
        let change = format!("UPDATE {table} SET {set} ORDER BY id LIMIT 1");
        sqlx::raw_sql(&change).execute(&mut connection).await?;
    }
    sqlx::raw_sql("INSERT INTO resource SELECT 77777, resource_id, name, type, oss_bucket, oss_name, url, status, is_deleted, created_by, updated_by, created_at, updated_at FROM resource LIMIT 1").execute(&mut connection).await?;
    let found = checksum::differences(&before, &checksum::of_database(&root, "one").await?);
    let expected =
        ["active", "learn_progress_records", "order_orders", "resource", "user_feedback", "user_info", "user_token"];
    let tables: Vec<&str> = found.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(tables, expected);
    connection.close().await?;
    server.stop().await
}
