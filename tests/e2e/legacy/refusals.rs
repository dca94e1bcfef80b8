//! An import that is impossible is refused by name and changes nothing.

use super::{Old, REFUSED, run};
use crate::world;
use crate::world::Answer;
use anyhow::{Context, Result, ensure};
use harness::legacy::checksum::{self, Sums};
use harness::legacy::destination::TENANT_DATABASE;
use harness::legacy::schema::{DATABASE, Generation};
use harness::servers::Server;
use harness::servers::accounts::SYSTEM_DATABASE;
use harness::stack::Stack;
use sqlx::Connection;
use std::collections::BTreeMap;

/// Tables of the system database that an import writes. The services write their own state into other tables all the
/// time.
const WRITTEN: [&str; 13] = [
    "saas_events",
    "saas_legacy_import",
    "saas_legacy_tables",
    "saas_reservations",
    "saas_system_config",
    "saas_tenant_domains",
    "saas_tenant_snapshots",
    "saas_tenant_users",
    "saas_tenants",
    "user_conversion",
    "user_info",
    "user_token",
    "user_verify_code",
];

/// Everything on both sides: the tables, their columns and their rows.
async fn everything(stack: &Stack, old: &Old) -> Result<BTreeMap<String, Sums>> {
    let mut all = BTreeMap::new();
    let mut sums = old.sums().await?;
    for table in old.tables().await? {
        // This entry shows an added or removed column.
        sums.entry(format!("{} has {} columns", table.name, table.columns.len())).or_default();
    }
    all.insert("legacy".to_owned(), sums);
    for database in [SYSTEM_DATABASE, TENANT_DATABASE] {
        let mut sums = checksum::of_database(&stack.urls.root, database).await?;
        let is_moved = |table: &str| match database {
            SYSTEM_DATABASE => WRITTEN.contains(&table),
            // A schedule writes this table.
            _ => table != "tenant_statistics",
        };
        sums.retain(|table, _| is_moved(table));
        for table in checksum::tables(&stack.urls.root, database).await? {
            sums.entry(format!("{} has {} columns", table.name, table.columns.len())).or_default();
        }
        all.insert(database.to_owned(), sums);
    }
    Ok(all)
}

/// Checks that the command was refused, with these words and without a secret.
fn assert_refused(old: &Old, what: &str, answer: Answer, named: &[&str]) -> Result<()> {
    let errors = answer.expect(REFUSED).with_context(|| what.to_owned())?.errors;
    for named in named {
        ensure!(errors.contains(named), "{what}: {named} is not named in: {errors}");
    }
    ensure!(!errors.contains(&old.password), "{what}: the password is in: {errors}");
    Ok(())
}

#[tokio::test]
async fn an_impossible_import_is_named_and_changes_nothing() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-refused")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 2000).await?;
    let mut connection = old.connect().await?;
    world::idle(&stack).await?;
    let before = everything(&stack, &old).await?;

    // The source does not exist, or refuses the account.
    let port = old.server.port().to_string();
    let closed = harness::ports::free()?.to_string();
    let with_url = async |url: String, args: &[&str]| run(&stack, args, &vec![("LEGACY_DB_URL".into(), url)]).await;
    for (what, url) in [
        ("unreachable", old.url().replace(&port, &closed)),
        ("wrong password", old.url().replace(&old.password, "wrong")),
        ("no such database", old.url().replace("/ai_shifu", "/ai_shifu_elsewhere")),
        ("no database named", old.url().replace("/ai_shifu", "/")),
    ] {
        for args in [["plan"], ["import"]] {
            assert_refused(&old, what, with_url(url.clone(), &args).await?, &["LEGACY_DB_URL"])?;
        }
    }
    assert_refused(&old, "no source", run(&stack, &["import"], &Vec::new()).await?, &["LEGACY_DB_URL"])?;

    // Without an import there is nothing to compare or to take back.
    for args in [["verify"], ["sync"], ["rollback"]] {
        assert_refused(&old, args[0], old.run(&stack, &args).await?, &["import"])?;
    }

    // The account has rights on some tables only.
    let partly = format!(
        "CREATE USER partly IDENTIFIED BY '{0}'; GRANT SELECT ON `{DATABASE}`.user_info TO partly;
         GRANT SELECT ON `{DATABASE}`.order_orders TO partly",
        old.password
    );
    sqlx::raw_sql(&partly).execute(&mut connection).await?;
    let url = old.server.account_url("partly", &old.password, DATABASE);
    for args in [["plan"], ["import"]] {
        let answer = with_url(url.clone(), &args).await?;
        assert_refused(&old, "rights on two tables", answer, &["user_token", "promo_coupons"])?;
    }

    // The new schema does not accept these columns.
    for (what, change, back, named) in [
        (
            "unexpected column",
            "ALTER TABLE order_orders ADD surprise INT NOT NULL DEFAULT 7",
            "ALTER TABLE order_orders DROP surprise",
            "order_orders.surprise",
        ),
        (
            "unexpected type",
            "ALTER TABLE promo_coupons MODIFY value DOUBLE NOT NULL",
            "ALTER TABLE promo_coupons MODIFY value DECIMAL(10,2) NOT NULL",
            "promo_coupons.value",
        ),
        (
            "missing column",
            "ALTER TABLE learn_progress_records RENAME COLUMN status TO gone",
            "ALTER TABLE learn_progress_records RENAME COLUMN gone TO status",
            "learn_progress_records",
        ),
        (
            "values of a carried table that UTF-8 cannot say",
            "CREATE TABLE carried (id INT PRIMARY KEY, e ENUM(X'A2E3') CHARACTER SET gbk)",
            "DROP TABLE carried",
            "carried.e",
        ),
    ] {
        sqlx::raw_sql(change).execute(&mut connection).await?;
        let answer = old.run(&stack, &["import"]).await?;
        assert_refused(&old, what, answer, &[named])?;
        sqlx::raw_sql(back).execute(&mut connection).await?;
    }
    assert_same(&before, &everything(&stack, &old).await?)?;

    // The target already has rows of others.
    let mut root = world::root(&stack).await?;
    for (table, insert) in [
        ("order_orders", "INSERT INTO ai_shifu_tenant_default.order_orders (order_bid) VALUES ('mine')"),
        ("user_info", "INSERT INTO ai_shifu_system.user_info (user_id) VALUES ('me')"),
    ] {
        sqlx::raw_sql(insert).execute(&mut root).await?;
        let occupied = everything(&stack, &old).await?;
        assert_refused(&old, "occupied", old.run(&stack, &["import"]).await?, &[table])?;
        assert_same(&occupied, &everything(&stack, &old).await?)?;
        let database = if table == "user_info" { SYSTEM_DATABASE } else { TENANT_DATABASE };
        sqlx::raw_sql(&format!("TRUNCATE {database}.{table}")).execute(&mut root).await?;
    }
    connection.close().await?;
    Ok(())
}

#[tokio::test]
async fn databases_of_unknown_generations_are_refused() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-strangers")?).await?;
    let old = Old::empty(&stack, Generation::TooNew).await?;
    world::idle(&stack).await?;
    let root = old.server.url();
    for (generation, named) in
        [(Generation::TooNew, ["2026", "newer"].as_slice()), (Generation::Stranger, &["AI-Shifu"])]
    {
        harness::legacy::schema::create(&root, DATABASE, generation).await?;
        let before = everything(&stack, &old).await?;
        for args in [["plan"], ["import"]] {
            assert_refused(&old, &format!("{generation:?}"), old.run(&stack, &args).await?, named)?;
        }
        assert_same(&before, &everything(&stack, &old).await?)?;
    }
    // The database of the new system is not the old one.
    let itself = vec![("LEGACY_DB_URL".to_owned(), stack.urls.system.migrator.clone())];
    assert_refused(&old, "itself", run(&stack, &["plan"], &itself).await?, &["new system"])?;
    Ok(())
}

fn assert_same(before: &BTreeMap<String, Sums>, after: &BTreeMap<String, Sums>) -> Result<()> {
    for (database, before) in before {
        let after = &after[database];
        let mut different = checksum::differences(before, after);
        different.extend(checksum::differences(after, before));
        ensure!(different.is_empty(), "{database} was touched: {different:?}");
    }
    Ok(())
}
