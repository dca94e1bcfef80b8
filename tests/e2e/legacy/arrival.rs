//! An import brings every row once and unchanged, and nodes serve the old users.

use super::{Old, expected_members, members};
use crate::{invariants, world};
use anyhow::Result;
use harness::legacy::checksum;
use harness::legacy::schema::Generation;
use harness::wait;
use sqlx::Connection;

/// The least number of rows of a real installation.
const ROWS: u64 = 100_000;

#[tokio::test]
async fn an_import_is_equal_and_old_users_are_served() -> Result<()> {
    let stack = world::start("legacy-arrival").await?;
    let old = Old::filled(&stack, Generation::September2025, ROWS).await?;
    let before = old.sums().await?;
    let rows: u64 = before.values().map(|sum| sum.rows).sum();
    assert!(rows >= ROWS, "{rows} rows");

    // The rows up to this id were deleted. Their ids are not given again.
    const NEXT: u64 = 30_000_000_000;
    let gap = format!("ALTER TABLE promo_coupons AUTO_INCREMENT = {NEXT}");
    sqlx::raw_sql(&gap).execute(&mut old.connect().await?).await?;

    let plan = old.done(&stack, &["plan", "--ids", "3"]).await?;
    assert_eq!(plan["rows"], rows);
    assert_eq!(plan["tables"].as_array().map(Vec::len), Some(37), "every table has a destination");
    let problem = |kind: &str, table: &str, column: &str| {
        let all = plan["problems"].as_array().into_iter().flatten();
        let same = |problem: &&serde_json::Value| {
            problem["kind"] == kind && problem["table"] == table && problem["column"] == column
        };
        all.clone().find(same).map_or(0, |problem| problem["rows"].as_u64().unwrap_or(0))
    };
    // Three ids are empty, and the collation takes the blank one for empty.
    assert_eq!(problem("empty_user_id", "user_info", "user_id"), 4);
    assert!(problem("duplicate_user_id", "user_info", "user_id") >= 3, "{}", plan["problems"]);
    for (table, column) in [("order_orders", "user_bid"), ("learn_progress_records", "user_bid")] {
        assert!(problem("orphan", table, column) >= 1, "{table}.{column}: {}", plan["problems"]);
    }
    for (table, column) in [("order_pingxx_orders", "paid_at"), ("user_info", "created")] {
        assert_eq!(problem("zero_date", table, column), 1, "{table}.{column}: {}", plan["problems"]);
    }
    // The server takes a date without a day for a zero date too.
    assert!((1..=2).contains(&problem("zero_date", "user_info", "user_birth")), "{}", plan["problems"]);

    let named = plan["problems"].as_array().into_iter().flatten().find(|problem| problem["kind"] == "empty_user_id");
    assert_eq!(named.and_then(|problem| problem["ids"].as_array()).map(Vec::len), Some(3), "as many as were asked for");

    let done = old.done(&stack, &["import"]).await?;
    assert_eq!((&done["already_imported"], &done["rows"]), (&false.into(), &rows.into()), "{done}");
    assert_eq!(checksum::differences(&before, &old.sums().await?), [""; 0], "the source is only read");
    old.assert_equal(&stack, "after an import").await?;
    assert_eq!(members(&stack).await?, expected_members(&old).await?);

    let again = old.done(&stack, &["import"]).await?;
    assert_eq!(again["already_imported"], true, "{again}");
    old.assert_equal(&stack, "after a second import").await?;
    assert_eq!(members(&stack).await?, expected_members(&old).await?);
    let report = old.done(&stack, &["verify"]).await?;
    assert_eq!(report["equal"], true, "{report}");

    let mut root = world::root(&stack).await?;
    let mut insert = root.begin().await?;
    let coupon =
        "INSERT INTO ai_shifu_tenant_default.promo_coupons (coupon_bid, code, filter) VALUES ('next', 'NEXT', '{}')";
    let inserted = sqlx::raw_sql(coupon).execute(&mut *insert).await?.last_insert_id();
    assert_eq!(inserted, NEXT, "the id that the old system would have given");
    insert.rollback().await?;

    // A node knows the members by their events and finds the old orders in the new database.
    let mut legacy = old.connect().await?;
    let some = "SELECT user_bid FROM order_orders JOIN user_info ON user_info.user_id = user_bid WHERE deleted = 0
                GROUP BY user_bid HAVING COUNT(*) BETWEEN 2 AND 50 AND COUNT(*) = COUNT(DISTINCT order_orders.id)
                ORDER BY user_bid LIMIT 1";
    let user_id: String = sqlx::query_scalar(some).fetch_one(&mut legacy).await?;
    let bids = "SELECT order_bid FROM order_orders WHERE user_bid = ? AND deleted = 0";
    let bids: Vec<(String,)> = sqlx::query_as(bids).bind(&user_id).fetch_all(&mut legacy).await?;
    let token = stack.admin().create_token(&user_id, None).await?;
    let bearer = format!("Bearer {token}");
    let headers = [("X-Tenant-ID", "default"), ("Authorization", bearer.as_str())];
    let reply = wait::until_ok(world::SOON, "the old user to be served", async || {
        let reply = stack.tenant_api(0).request("GET", "/api/orders?limit=100", &headers).await?;
        anyhow::ensure!(reply.status == 200, "{}", reply.text);
        Ok(reply)
    })
    .await?;
    let mut expected: Vec<String> = bids.into_iter().map(|(bid,)| bid).collect();
    let mut served = world::order_bids(&reply);
    expected.sort();
    served.sort();
    assert_eq!(served, expected);
    invariants::check(&stack).await
}

#[tokio::test]
async fn the_newer_generation_is_imported_with_its_additions() -> Result<()> {
    let stack = harness::stack::Stack::start(world::without_nodes("legacy-newer")?).await?;
    let old = Old::filled(&stack, Generation::November2025, 5000).await?;
    let done = old.done(&stack, &["import"]).await?;
    assert_eq!((&done["generation"], &done["tables"]), (&"2025-11".into(), &39.into()), "{done}");
    old.assert_equal(&stack, "after an import").await?;
    assert_eq!(old.done(&stack, &["verify"]).await?["equal"], true);
    // A tenant with additions to its schema and one without them satisfy the invariants.
    invariants::check(&stack).await
}

#[tokio::test]
async fn unmapped_tables_can_be_left_out_and_are_named() -> Result<()> {
    let stack = harness::stack::Stack::start(world::without_nodes("legacy-left")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 2000).await?;
    let done = old.done(&stack, &["import", "--unmapped", "leave"]).await?;
    assert_eq!(done["left"].as_array().map(Vec::len), Some(14), "{done}");
    let there = "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.TABLES
                 WHERE TABLE_SCHEMA = 'ai_shifu_tenant_default' AND TABLE_NAME = 'user_profile'";
    assert_eq!(world::number(&mut world::root(&stack).await?, there).await?, 0);
    let tables: Vec<_> = old.tables().await?.into_iter().filter(|table| is_mapped(&done, &table.name)).collect();
    assert_eq!(tables.len(), 23);
    let new = checksum::of_new(&stack.urls.root, &tables).await?;
    let mut expected = old.sums().await?;
    expected.retain(|table, _| is_mapped(&done, table));
    assert_eq!(checksum::differences(&expected, &new), [""; 0]);
    Ok(())
}

fn is_mapped(done: &serde_json::Value, table: &str) -> bool {
    let left = done["left"].as_array().into_iter().flatten();
    !left.clone().any(|left| left[0] == table)
}
