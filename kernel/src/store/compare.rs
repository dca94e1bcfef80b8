//! Compares a live table byte for byte with its shadow, and replaces its rows.
//!
//! Values are compared as bytes, because a collation would treat `A` and `a` as equal. Rows are paired by primary key,
//! so a row whose key was changed counts as one missing row and one extra row.

use super::tables::Projection;
use crate::database::sql;
use serde::Serialize;
use sqlx::MySqlConnection;

/// The most rows that are named for each table and kind of difference. The others are only counted.
const NAMED: u32 = 100;

/// How a live table differs from the rows that the log gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub table: &'static str,
    /// The number of rows that the table should have.
    pub rows: u64,
    /// The number of rows that differ, of all kinds.
    pub differences: u64,
    /// The names of the first hundred rows that are missing.
    pub missing: Vec<String>,
    /// The names of the first hundred rows that should not exist.
    pub extra: Vec<String>,
    /// The names of the first hundred rows that have another value in some column.
    pub changed: Vec<String>,
}

/// Compares the live table with its shadow, in the current transaction of `connection`.
pub(super) async fn compare(
    connection: &mut MySqlConnection,
    projection: &Projection,
) -> Result<Difference, sqlx::Error> {
    let (live, shadow) = (projection.live(), projection.shadow());
    let columns = columns(connection, projection).await?;
    let named = |side: &str| columns_of(side, projection.label);
    let on = all(columns.iter().filter(|column| column.is_key), |name| format!("l.{name} = s.{name}"));
    let compared = columns.iter().filter(|column| !projection.unprojected.contains(&column.name.as_str()));
    let same = all(compared, |name| format!("CAST(l.{name} AS BINARY) <=> CAST(s.{name} AS BINARY)"));
    let key = &columns.iter().find(|column| column.is_key).ok_or(sqlx::Error::RowNotFound)?.quoted;

    let (rows,): (u64,) =
        sqlx::query_as(&format!("SELECT CAST(COUNT(*) AS UNSIGNED) FROM {shadow}")).fetch_one(&mut *connection).await?;
    let lacking = format!("FROM {shadow} s LEFT JOIN {live} l ON {on} WHERE l.{key} IS NULL");
    let needless = format!("FROM {live} l LEFT JOIN {shadow} s ON {on} WHERE s.{key} IS NULL");
    let other = format!("FROM {live} l JOIN {shadow} s ON {on} WHERE NOT ({same})");
    let (lacks, missing) = rows_of(connection, &lacking, &named("s")).await?;
    let (has, extra) = rows_of(connection, &needless, &named("l")).await?;
    let (differs, changed) = rows_of(connection, &other, &named("l")).await?;
    Ok(Difference { table: projection.table, rows, differences: lacks + has + differs, missing, extra, changed })
}

/// Replaces the rows of the live table by those of the shadow. Columns that are not projected stay as they are.
pub(super) async fn swap(connection: &mut MySqlConnection, projection: &Projection) -> Result<(), sqlx::Error> {
    let (live, shadow) = (projection.live(), projection.shadow());
    let columns = columns(connection, projection).await?;
    let written: Vec<&Column> = columns.iter().filter(|column| !column.is_generated).collect();
    let list = written.iter().map(|column| column.quoted.as_str()).collect::<Vec<_>>().join(", ");
    if !projection.unprojected.is_empty() {
        // The rows are locked, so that no other transaction changes them between the copy and the swap.
        sqlx::query(&format!("SELECT {list} FROM {live} FOR UPDATE")).execute(&mut *connection).await?;
        let label = all_names(projection.label, |name| format!("l.{name} = s.{name}"));
        // All columns are set, because the server would otherwise set columns with ON UPDATE to the time of this
        // statement.
        let set = written.iter().map(|Column { name, quoted, .. }| {
            let from = if projection.unprojected.contains(&name.as_str()) { "l" } else { "s" };
            format!("s.{quoted} = {from}.{quoted}")
        });
        let set = set.collect::<Vec<_>>().join(", ");
        sqlx::query(&format!("UPDATE {shadow} s JOIN {live} l ON {label} SET {set}")).execute(&mut *connection).await?;
    }
    sqlx::query(&format!("DELETE FROM {live}")).execute(&mut *connection).await?;
    let insert = format!("INSERT INTO {live} ({list}) SELECT {list} FROM {shadow}");
    sqlx::query(&insert).execute(connection).await.map(drop)
}

struct Column {
    name: String,
    quoted: String,
    is_key: bool,
    /// The database computes it from others: it is compared, but not written.
    is_generated: bool,
}

/// The columns of the live table, read from the database, because a migration may have added some.
async fn columns(connection: &mut MySqlConnection, projection: &Projection) -> Result<Vec<Column>, sqlx::Error> {
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT CAST(COLUMN_NAME AS CHAR), CAST(COLUMN_KEY AS CHAR), (EXTRA LIKE '% GENERATED%') <> 0
         FROM information_schema.COLUMNS
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
    )
    .bind(projection.table)
    .fetch_all(connection)
    .await?;
    let column = |(name, key, is_generated): (String, String, bool)| {
        let quoted = sql::identifier(&name).map_err(|error| sqlx::Error::Decode(error.into()))?.to_string();
        Ok(Column { name, quoted, is_key: key == "PRI", is_generated })
    };
    rows.into_iter().map(column).collect()
}

/// The number of rows of a `FROM ... WHERE ...`, and the names of the first ones.
async fn rows_of(connection: &mut MySqlConnection, from: &str, name: &str) -> Result<(u64, Vec<String>), sqlx::Error> {
    let count = format!("SELECT CAST(COUNT(*) AS UNSIGNED) {from}");
    let (count,): (u64,) = sqlx::query_as(&count).fetch_one(&mut *connection).await?;
    if count == 0 {
        return Ok((0, Vec::new()));
    }
    let names: Vec<(String,)> = sqlx::query_as(&format!("SELECT {name} AS name {from} ORDER BY name LIMIT {NAMED}"))
        .fetch_all(connection)
        .await?;
    Ok((count, names.into_iter().map(|(name,)| name).collect()))
}

fn all<'a>(columns: impl Iterator<Item = &'a Column>, condition: impl Fn(&str) -> String) -> String {
    columns.map(|column| condition(&column.quoted)).collect::<Vec<_>>().join(" AND ")
}

fn all_names(names: &[&str], condition: impl Fn(&str) -> String) -> String {
    names.iter().map(|name| condition(name)).collect::<Vec<_>>().join(" AND ")
}

/// The SQL for a row's name (`tenant_id/user_id`) on one side of the pair.
fn columns_of(side: &str, label: &[&str]) -> String {
    let names: Vec<_> = label.iter().map(|name| format!("{side}.{name}")).collect();
    format!("CAST(CONCAT_WS('/', {}) AS CHAR)", names.join(", "))
}
