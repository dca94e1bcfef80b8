//! Nodes and other clients that write while rows go from one system to the other: nothing of theirs is lost, and a
//! command that has lost its locks does not switch.

use super::{Old, REFUSED, WRITING};
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::legacy::checksum;
use harness::legacy::schema::Generation;
use harness::process::Process;
use harness::stack::{Role, Stack};
use harness::wait;
use sqlx::{ConnectOptions, Executor};

/// Starts `provisioner legacy ARGS`, which waits at `point`. Returns the file that holds it there.
pub(super) fn start_held(
    stack: &Stack,
    old: &Old,
    args: &[&str],
    point: &str,
) -> Result<(tempfile::NamedTempFile, Process)> {
    let (held, points) = world::held_at(point)?;
    let mut env = old.env();
    env.push(("FAILPOINTS".to_owned(), points));
    let args = [&["legacy"], args].concat();
    Ok((held, Process::start(stack.command(Role::Provisioner, "legacy-held", &args, &env)?)?))
}

const NEW_ORDER: &str =
    "INSERT INTO ai_shifu_tenant_default.order_orders (order_bid, shifu_bid, user_id) VALUES ('of-a-node', 's', 'u')";
const IS_THERE: &str = "SELECT COUNT(*) FROM ai_shifu_tenant_default.order_orders WHERE order_bid = 'of-a-node'";

#[tokio::test]
async fn nothing_that_a_node_writes_during_a_pass_is_lost() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-writers")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 2000).await?;
    old.allow(WRITING).await?;
    old.done(&stack, &["import"]).await?;
    let mut root = world::root(&stack).await?;

    // A node writes while a pass of a sync runs: the row stays, and the sync says so.
    let (held, mut sync) = start_held(&stack, &old, &["sync"], "legacy.before_compare")?;
    let begun = "SELECT COUNT(*) FROM saas_legacy_tables WHERE complete = 1 AND source_table = 'order_orders'";
    wait::until(SOON, "the pass", async || {
        world::number(&mut world::system(&stack).await.ok()?, begun).await.ok().filter(|n| *n == 1)
    })
    .await?;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    root.execute(NEW_ORDER).await?;
    drop(held);
    let ended = super::ended(&mut sync).await?;
    ensure!(world::number(&mut root, IS_THERE).await? == 1, "the sync deleted a row of the new system");
    ensure!(ended.code() == Some(REFUSED), "{ended:?}");
    root.execute("DELETE FROM ai_shifu_tenant_default.order_orders WHERE order_bid = 'of-a-node'").await?;

    // During the last pass of a cut-over no node can log in. When the lock of the source is lost, nothing is switched.
    let mut node = world::login(&stack, "default").await?.connect().await?;
    let (held, mut cutover) = start_held(&stack, &old, &["cutover", "--skip-backup"], "legacy.before_switch")?;
    let mut source = old.connect().await?;
    let holders = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'mover'";
    wait::until_ok(SOON, "the last pass", async || {
        let login = world::login(&stack, "default").await?.connect().await;
        ensure!(login.is_err() && world::number(&mut source, holders).await? > 0, "it has not begun");
        Ok(())
    })
    .await?;
    ensure!(node.execute(NEW_ORDER).await.is_err(), "a node could write during the last pass");
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    let sessions: Vec<(i64,)> =
        sqlx::query_as("SELECT CAST(ID AS SIGNED) FROM information_schema.PROCESSLIST WHERE USER = 'mover'")
            .fetch_all(&mut source)
            .await?;
    for (session,) in sessions {
        source.execute(format!("KILL {session}").as_str()).await?;
    }
    source.execute("UPDATE user_info SET mobile = '12' WHERE id = 1").await?;
    drop(held);
    let ended = super::ended(&mut cutover).await?;
    ensure!(ended.code() == Some(1), "{ended:?}");
    let stage: String =
        sqlx::query_scalar("SELECT state FROM saas_legacy_import").fetch_one(&mut world::system(&stack).await?).await?;
    ensure!(stage == "imported", "the command switched without its lock: {stage}");
    ensure!(stack.admin().tenant("default").await?.state == "active", "the maintenance did not end");
    world::login(&stack, "default").await?.connect().await.context("the account is still locked")?;

    // While rows go back no node can write, also if the tenant was in maintenance already.
    old.done(&stack, &["cutover", "--skip-backup"]).await?;
    let mut node = world::login(&stack, "default").await?.connect().await?;
    stack.admin().post("/admin/tenants/default/maintenance", serde_json::json!({"enabled": true})).await?;
    let (held, mut rollback) = start_held(&stack, &old, &["rollback"], "legacy.rollback_shut")?;
    wait::until_ok(SOON, "the rollback", async || {
        ensure!(node.execute("SELECT 1").await.is_err(), "it has not begun");
        Ok(())
    })
    .await?;
    ensure!(world::login(&stack, "default").await?.connect().await.is_err(), "a node can log in during a rollback");
    drop(held);
    let ended = super::ended(&mut rollback).await?;
    ensure!(ended.success(), "{ended:?}");
    old.assert_equal(&stack, "after the rollback").await
}

/// What the source has beyond the schema of the new system.
const WIDER: &str = "
    ALTER TABLE order_pingxx_orders MODIFY channel VARCHAR(500) NULL;
    ALTER TABLE promo_coupons MODIFY value DECIMAL(14,4) NOT NULL, MODIFY code VARCHAR(200) NULL;
    ALTER TABLE user_info MODIFY user_avatar TEXT;
    UPDATE promo_coupons SET code = NULL ORDER BY id LIMIT 2;
    CREATE TABLE ledger (id INT PRIMARY KEY, bid VARCHAR(20) UNIQUE, g VARCHAR(20) CHARACTER SET gbk,
        twice INT AS (id * 2) STORED) CHARSET utf8mb4";

#[tokio::test]
async fn null_wider_and_exchanged_values_are_carried() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-wider")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 2000).await?;
    let mut source = old.connect().await?;
    source.execute(sqlx::raw_sql(WIDER)).await?;
    for first in (1..=25_000).step_by(5000) {
        let rows: Vec<String> = (first..first + 5000).map(|id| format!("({id}, 'b{id}', X'A2E3')")).collect();
        let insert = format!("INSERT INTO ledger (id, bid, g) VALUES {}", rows.join(","));
        source.execute(sqlx::raw_sql(&insert)).await?;
    }

    // A foreign key into a table that goes elsewhere is refused when the plan is made.
    source
        .execute(sqlx::raw_sql(
            "CREATE TABLE dependent (id INT PRIMARY KEY, user BIGINT, key_of INT, FOREIGN KEY (key_of) REFERENCES ledger (id),
             FOREIGN KEY (user) REFERENCES user_info (id))",
        ))
        .await?;
    let refused = old.run(&stack, &["plan"]).await?;
    ensure!(refused.code == Some(super::FOUND), "{}", refused.errors);
    let refusals = refused.json["refusals"].to_string();
    ensure!(refusals.contains("dependent") && refusals.contains("user_info"), "{refusals}");
    old.run(&stack, &["import"]).await?.expect(REFUSED)?;
    source.execute(sqlx::raw_sql("DROP TABLE dependent")).await?;

    // The system database is changed by the account that migrates.
    let migrator = stack.urls.system.migrator.clone();
    let mut env = old.env();
    env.push(("SYSTEM_DB_URL".to_owned(), migrator));
    super::run(&stack, &["import"], &env).await?.expect(0)?;
    old.assert_equal(&stack, "after the import").await?;

    // Unique values change their rows, over the ranges in which rows are compared.
    let exchange = "UPDATE ledger SET bid = NULL WHERE id IN (1, 20000);
        UPDATE ledger SET bid = 'b20000' WHERE id = 1; UPDATE ledger SET bid = 'b1' WHERE id = 20000;
        DELETE FROM ledger WHERE id = 24000; UPDATE ledger SET bid = 'b24000' WHERE id = 2";
    source.execute(sqlx::raw_sql(exchange)).await?;
    let synced = old.done(&stack, &["sync"]).await?;
    ensure!(synced["behind_rows"] == 0, "{synced}");
    old.assert_equal(&stack, "after the sync").await?;
    let gbk: i64 = world::number(
        &mut world::root(&stack).await?,
        "SELECT COUNT(*) FROM ai_shifu_tenant_default.ledger WHERE HEX(g) <> 'A2E3' OR twice <> id * 2",
    )
    .await?;
    ensure!(gbk == 0, "{gbk} rows of the carried table were changed");
    ensure!(checksum::differences(&old.sums().await?, &old.sums_in_new(&stack).await?).is_empty());
    Ok(())
}
