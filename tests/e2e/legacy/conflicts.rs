//! An ordinary pass of a sync runs while both systems are in use: it never overwrites or deletes what the new system
//! wrote, and a killed pass leaves nothing that looks as if the new system had written it.

use super::writers::start_held;
use super::{Old, REFUSED};
use crate::world::{self, Answer, SOON};
use anyhow::{Result, ensure};
use harness::legacy::schema::Generation;
use harness::stack::Stack;
use harness::wait;
use sqlx::Executor;

const NEW: &str = "ai_shifu_tenant_default";

/// What a sync says that has left a row of this table as it is.
fn named(answer: &Answer, table: &str, key: i64) -> Result<()> {
    let errors = &answer.errors;
    ensure!(errors.contains(table) && errors.contains(&key.to_string()), "{table} {key} is not named: {errors}");
    ensure!(errors.contains("--overwrite"), "the way out is not named: {errors}");
    Ok(())
}

#[tokio::test]
async fn a_pass_leaves_what_the_new_system_wrote() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-conflicts")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 2000).await?;
    old.done(&stack, &["import"]).await?;
    let (mut root, mut source) = (world::root(&stack).await?, old.connect().await?);
    let number = async |query: String| world::number(&mut world::root(&stack).await?, &query).await;

    // The new system changes a row, and the source grows and changes a row of another table.
    let order = number(format!("SELECT CAST(MIN(id) AS SIGNED) FROM {NEW}.order_orders")).await?;
    root.execute(format!("UPDATE {NEW}.order_orders SET status = 777 WHERE id = {order}").as_str()).await?;
    source.execute("UPDATE user_profile SET profile_value = 'changed in the source' ORDER BY id LIMIT 1").await?;
    let answer = old.run(&stack, &["sync"]).await?.expect(REFUSED)?;
    named(&answer, "order_orders", order)?;
    let status = number(format!("SELECT CAST(status AS SIGNED) FROM {NEW}.order_orders WHERE id = {order}")).await?;
    ensure!(status == 777, "the sync overwrote a row of the new system");
    let came = format!("SELECT COUNT(*) FROM {NEW}.user_profile WHERE profile_value = 'changed in the source'");
    ensure!(number(came).await? == 1, "a conflict in one table stopped another one");
    // The last pass of a cut-over does not overwrite the row either.
    let answer = old.run(&stack, &["cutover", "--skip-backup"]).await?.expect(REFUSED)?;
    named(&answer, "order_orders", order)?;
    old.done(&stack, &["sync", "--overwrite"]).await?;
    old.assert_equal(&stack, "after the sync that overwrites").await?;

    // The new system gives the id of a row that the source has given meanwhile.
    let copy = "INSERT INTO order_orders (order_bid, shifu_bid, user_bid, payable_price, paid_price, status, deleted,
                    created_at, updated_at)
                VALUES ('of-the-source', 's', 'u', 1, 1, 502, 0, NOW(), NOW())";
    source.execute(copy).await?;
    let (held, mut sync) = start_held(&stack, &old, &["sync", "--jobs", "1"], "legacy.before_compare")?;
    let begun = "SELECT COUNT(*) FROM saas_legacy_tables WHERE newest_key = (SELECT MAX(n) FROM (
                     SELECT CAST(newest_key AS UNSIGNED) AS n FROM saas_legacy_tables) t)";
    wait::until(SOON, "the pass", async || {
        world::number(&mut world::system(&stack).await.ok()?, begun).await.ok().filter(|n| *n >= 1)
    })
    .await?;
    // The command has passed its first check when it waits at a table.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let insert =
        format!("INSERT INTO {NEW}.order_orders (order_bid, shifu_bid, user_id) VALUES ('of-a-node', 's', 'u')");
    let id = root.execute(insert.as_str()).await?.last_insert_id();
    drop(held);
    let ended = super::ended(&mut sync).await?;
    let of_node = format!("SELECT COUNT(*) FROM {NEW}.order_orders WHERE order_bid = 'of-a-node' AND id = {id}");
    ensure!(number(of_node).await? == 1, "the sync overwrote a row with an id that both systems gave");
    ensure!(ended.code() == Some(REFUSED), "{ended:?}");
    old.done(&stack, &["sync", "--overwrite"]).await?;
    old.assert_equal(&stack, "after the second sync that overwrites").await?;

    // A row that the new system deleted does not come again by itself.
    root.execute(format!("DELETE FROM {NEW}.order_orders WHERE id = {order}").as_str()).await?;
    let answer = old.run(&stack, &["sync"]).await?.expect(REFUSED)?;
    named(&answer, "order_orders", order)?;
    ensure!(number(format!("SELECT COUNT(*) FROM {NEW}.order_orders WHERE id = {order}")).await? == 0);
    Ok(())
}

#[tokio::test]
async fn a_killed_pass_is_no_conflict_for_the_next() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-killed-pass")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 2000).await?;
    let mut source = old.connect().await?;
    source.execute("CREATE TABLE ledger (id INT PRIMARY KEY, bid VARCHAR(20) UNIQUE) CHARSET utf8mb4").await?;
    for first in (1..=25_000).step_by(5000) {
        let rows: Vec<String> = (first..first + 5000).map(|id| format!("({id}, 'b{id}')")).collect();
        source.execute(format!("INSERT INTO ledger VALUES {}", rows.join(",")).as_str()).await?;
    }
    source.execute("CREATE TABLE keyless (what TEXT) CHARSET utf8mb4; INSERT INTO keyless VALUES ('a'), ('b')").await?;
    old.done(&stack, &["import"]).await?;

    for (round, point) in ["legacy.before_repair", "legacy.after_repair", "legacy.before_repair"].iter().enumerate() {
        // Unique values change their rows over the ranges, so rows are removed first and then written.
        let change = format!(
            "UPDATE ledger SET bid = NULL WHERE id IN (1, 20000);
             UPDATE ledger SET bid = 'x{round}' WHERE id = 1; UPDATE ledger SET bid = 'b1' WHERE id = 20000;
             UPDATE ledger SET bid = 'b20000' WHERE id = 1; DELETE FROM ledger WHERE id = 1{round};
             INSERT INTO ledger VALUES ({round} + 30000, 'new{round}');
             UPDATE keyless SET what = CONCAT(what, '{round}');
             UPDATE order_orders SET status = {round} ORDER BY id LIMIT 3"
        );
        source.execute(sqlx::raw_sql(&change)).await?;
        let mut env = old.env();
        env.push(("FAILPOINTS".to_owned(), format!("{point}=kill")));
        for _ in 0..2 {
            super::run(&stack, &["sync", "--jobs", "2"], &env).await?.killed()?;
            source.execute("UPDATE order_orders SET status = status + 1 ORDER BY id LIMIT 3").await?;
            source.execute("UPDATE ledger SET bid = CONCAT(bid, '.') WHERE id IN (2, 15000)").await?;
            source.execute("UPDATE keyless SET what = CONCAT(what, '.')").await?;
        }
        old.done(&stack, &["sync"]).await?;
        old.assert_equal(&stack, &format!("after kills at {point}")).await?;
    }
    Ok(())
}
