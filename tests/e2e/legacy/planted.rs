//! `verify` finds one different byte in each table. `sync` leaves it, because the new system may have written it, and
//! repairs it when it may overwrite.

use super::{FOUND, Old, REFUSED};
use crate::world;
use anyhow::{Context, Result};
use harness::legacy::checksum;
use harness::legacy::columns::{Column, Kind};
use harness::legacy::destination;
use harness::legacy::schema::Generation;
use std::collections::BTreeMap;

#[tokio::test]
async fn a_byte_that_differs_in_each_table_is_found_by_verify() -> Result<()> {
    let stack = harness::stack::Stack::start(world::without_nodes("legacy-planted")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 3000).await?;
    old.done(&stack, &["import"]).await?;
    assert_eq!(old.done(&stack, &["verify"]).await?["equal"], true);

    let mut root = world::root(&stack).await?;
    let tables = old.tables().await?;
    for table in &tables {
        let is_text = |column: &&Column| matches!(column.kind, Kind::Varchar(_) | Kind::Text(_)) && !column.unique;
        let text = table.columns.iter().find(is_text).or(table.columns.first());
        let column = destination::column(&table.name, &text.context("a table without columns")?.name);
        // Columns that update themselves with every change keep their value if the statement sets it.
        let times = table.columns.iter().filter(|column| matches!(column.kind, Kind::DateTime | Kind::Timestamp));
        let unchanged_times: String = times.map(|time| format!(", `{0}` = `{0}`", time.name)).collect();
        let change = format!(
            "UPDATE `{}`.`{}` SET `{column}` = CONCAT('~', SUBSTRING(`{column}`, 2)){unchanged_times} WHERE `{column}` <> '' LIMIT 1",
            destination::database(&table.name),
            table.name
        );
        let changed = sqlx::raw_sql(&change).execute(&mut root).await.with_context(|| change.clone())?;
        assert_eq!(changed.rows_affected(), 1, "{change}");
    }
    let different = checksum::differences(&old.sums().await?, &old.sums_in_new(&stack).await?);
    assert_eq!(different.len(), tables.len(), "{different:?}");

    let report = old.run(&stack, &["verify"]).await?.expect(FOUND)?.json;
    let found: BTreeMap<&str, u64> = report["tables"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|table| table["equal"] == false)
        .filter_map(|table| Some((table["table"].as_str()?, table["changed"].as_u64()?)))
        .collect();
    let expected: BTreeMap<&str, u64> = tables.iter().map(|table| (table.name.as_str(), 1)).collect();
    assert_eq!(found, expected);
    assert_eq!(report["equal"], false);

    let refused = old.run(&stack, &["sync"]).await?.expect(REFUSED)?;
    let unnamed: Vec<_> = tables.iter().filter(|table| !refused.errors.contains(&table.name)).collect();
    anyhow::ensure!(unnamed.is_empty(), "{unnamed:?} are not named: {}", refused.errors);
    let report = old.run(&stack, &["verify"]).await?.expect(FOUND)?.json;
    assert_eq!(report["equal"], false, "the sync overwrote what may be of the new system");
    old.done(&stack, &["sync", "--overwrite"]).await?;
    old.assert_equal(&stack, "after the sync that brings them back").await?;
    assert_eq!(old.done(&stack, &["verify"]).await?["equal"], true);
    Ok(())
}
