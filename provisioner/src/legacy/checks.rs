//! What is odd about the source's rows. The migrator checks this before it moves anything, names the rows and says what
//! it will do about them.

use super::LegacyError;
use super::error::is_denied;
use super::mapping::{MAPPED, REFERENCES};
use super::members::FIT;
use super::table_plan::{Change, NullColumn, TablePlan};
use crate::tables::TableError;
use kernel::database::{self, sql};
use serde::Serialize;
use sqlx::{Executor, MySqlConnection, Row};

/// How many rows are named for each problem unless the operator sets another number.
pub const NAMED: u32 = 20;

/// Something odd about the source's rows, for the operator.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    pub kind: Kind,
    pub table: String,
    pub column: String,
    pub rows: u64,
    /// Primary keys of the first of them.
    pub ids: Vec<String>,
    /// What the migrator does about it.
    pub action: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `user_info.user_id` is empty.
    EmptyUserId,
    /// `user_info.user_id` has a form that no member's id may have.
    UnfitUserId,
    /// Another row of `user_info` has an id that the database holds equal.
    DuplicateUserId,
    /// A row names a row that does not exist.
    Orphan,
    /// A date of zeros, or one without a month or a day.
    ZeroDate,
    /// The storage engine of the table has no snapshots.
    NoSnapshot,
    /// The primary key is no whole number, so the rows cannot be cut into chunks.
    NoKey,
    /// Triggers, routines and events.
    Code,
}

/// What makes a move impossible and the schemas do not show. It is cheap, so an import checks it too.
pub async fn refusals(
    connection: &mut MySqlConnection,
    tables: &[TablePlan],
    nulls: &[NullColumn],
    changes: &mut Vec<Change>,
) -> Result<Vec<String>, LegacyError> {
    let mut refusals = Vec::new();
    for plan in tables {
        let read = format!("SELECT 1 FROM {} LIMIT 0", sql::identifier(&plan.table)?);
        match connection.execute(read.as_str()).await {
            Ok(_) => {}
            Err(error) if is_denied(&error) => {
                refusals.push(format!("the account of LEGACY_DB_URL may not read {}", plan.table))
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !refusals.is_empty() {
        return Ok(refusals);
    }
    for NullColumn { table, from: column, to, may_be_relaxed } in nulls {
        let (name, quoted) = (sql::identifier(table)?, sql::identifier(column)?);
        let (rows, ids) = count(connection, &format!("{name} t WHERE t.{quoted} IS NULL"), "t.id", NAMED).await?;
        if rows > 0 && *may_be_relaxed {
            changes.push(Change::Relax { table: table.clone(), column: to.clone() });
        } else if rows > 0 {
            refusals.push(format!(
                "{table}.{column} is NULL in {rows} rows (id {}), where the new schema has none",
                ids.join(", ")
            ));
        }
    }
    for plan in tables.iter().filter(|plan| plan.mapped.is_none()) {
        for column in plan.columns.iter().filter(|column| column.column.is_unsayable()) {
            refusals.push(format!(
                "{}.{} lists values, or has a default, of the character set {} that UTF-8 cannot say",
                plan.table,
                column.from,
                column.column.charset.as_deref().unwrap_or_default()
            ));
        }
    }
    unsayable(connection, tables, &mut refusals).await?;
    for plan in tables.iter().filter(|plan| plan.mapped.is_some() && plan.table.ends_with("_structs")) {
        // In the new schema it is unique by a collation that ignores case and trailing blanks, whatever the source's
        // is.
        let name = sql::identifier(&plan.table)?;
        let key = "CONVERT(t.struct_bid USING utf8mb4) COLLATE utf8mb4_unicode_ci";
        let from = format!(
            "{name} t JOIN (SELECT {key} AS bid FROM {name} t GROUP BY 1 HAVING COUNT(*) > 1) d ON d.bid = {key}"
        );
        let (rows, ids) = count(connection, &from, "t.id", NAMED).await?;
        if rows > 0 {
            refusals.push(format!("{}.struct_bid is not unique in {rows} rows (id {})", plan.table, ids.join(", ")));
        }
    }
    Ok(refusals)
}

/// The new tables have text in UTF-8, which cannot say every character of every other character set.
async fn unsayable(
    connection: &mut MySqlConnection,
    tables: &[TablePlan],
    refusals: &mut Vec<String>,
) -> Result<(), LegacyError> {
    for plan in tables.iter().filter(|plan| plan.mapped.is_some()) {
        for column in plan.columns.iter().filter(|column| column.column.is_foreign_text()) {
            let charset = column.column.charset.as_deref().unwrap_or_default();
            let (table, name) = (sql::identifier(&plan.table)?, sql::identifier(&column.from)?);
            let again = format!("CONVERT(CONVERT(t.{name} USING utf8mb4) USING {})", sql::identifier(charset)?);
            let from = format!("{table} t WHERE CAST(t.{name} AS BINARY) <> CAST({again} AS BINARY)");
            let (rows, ids) = count(connection, &from, "t.id", NAMED).await?;
            if rows > 0 {
                refusals.push(format!(
                    "{}.{} has characters of {charset} that UTF-8 cannot say in {rows} rows (id {})",
                    plan.table,
                    column.from,
                    ids.join(", ")
                ));
            }
        }
    }
    Ok(())
}

/// Everything odd about the rows, with the keys of the first `named` rows of each problem. Reads every row.
pub async fn problems(
    connection: &mut MySqlConnection,
    database: &str,
    tables: &[TablePlan],
    named: u32,
) -> Result<Vec<Problem>, LegacyError> {
    let mut problems = Vec::new();
    users(connection, named, &mut problems).await?;
    references(connection, named, &mut problems).await?;
    for plan in tables {
        zero_dates(connection, plan, named, &mut problems).await?;
        let mut of_table = |kind, action| {
            problems.push(Problem {
                kind,
                table: plan.table.clone(),
                column: String::new(),
                rows: plan.rows,
                ids: vec![],
                action,
            });
        };
        if !plan.transactional {
            of_table(Kind::NoSnapshot, "copied as it is at that time; `sync --final` reads it while it is locked");
        }
        if plan.key.is_none() && plan.rows > 1 {
            of_table(Kind::NoKey, "copied in one transaction, from the beginning after each interruption");
        }
    }
    let code = "SELECT 'trigger', TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?
                UNION ALL SELECT 'routine', ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?
                UNION ALL SELECT 'event', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ?";
    let rows = sqlx::query(code).bind(database).bind(database).bind(database).fetch_all(connection).await?;
    for row in &rows {
        problems.push(Problem {
            kind: Kind::Code,
            table: database::text(row, 1)?,
            column: database::text(row, 0)?,
            rows: 0,
            ids: vec![],
            action: "left in the source: the new system runs no code in databases",
        });
    }
    Ok(problems)
}

async fn users(connection: &mut MySqlConnection, named: u32, problems: &mut Vec<Problem>) -> Result<(), LegacyError> {
    let equal = "user_info u JOIN (SELECT CAST(user_id AS BINARY) AS id FROM user_info WHERE user_id <> ''
                                   GROUP BY CAST(user_id AS BINARY) HAVING COUNT(*) > 1) d
                 ON d.id = CAST(u.user_id AS BINARY)";
    for (kind, from, action) in [
        (Kind::EmptyUserId, "user_info u WHERE u.user_id = ''".to_owned(), "copied; no membership"),
        (
            Kind::UnfitUserId,
            format!("user_info u WHERE u.user_id <> '' AND NOT ({FIT})"),
            "copied; no membership: an id has 1 to 36 printable ASCII characters",
        ),
        (Kind::DuplicateUserId, equal.to_owned(), "all copied; one membership"),
    ] {
        let (rows, ids) = count(connection, &from, "u.id", named).await?;
        if rows > 0 {
            problems.push(Problem { kind, table: "user_info".into(), column: "user_id".into(), rows, ids, action });
        }
    }
    Ok(())
}

/// All references by their old names: table, column, the table that it refers to, and that table's column.
pub fn references_by_old_names() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    let users = MAPPED.iter().filter_map(|mapped| Some((mapped.table, mapped.user?, "user_info", "user_id")));
    users.chain(REFERENCES.iter().map(|r| (r.table, r.column, r.target, r.key))).collect()
}

async fn references(
    connection: &mut MySqlConnection,
    named: u32,
    problems: &mut Vec<Problem>,
) -> Result<(), LegacyError> {
    for (table, column, target, key) in references_by_old_names() {
        let (name, quoted, there, key) =
            (sql::identifier(table)?, sql::identifier(column)?, sql::identifier(target)?, sql::identifier(key)?);
        // An empty reference refers to nothing.
        let from = format!(
            "{name} t WHERE t.{quoted} <> '' AND NOT EXISTS (SELECT 1 FROM {there} o WHERE o.{key} = t.{quoted})"
        );
        let (rows, ids) = match count(connection, &from, "t.id", named).await {
            Err(error) if is_incomparable(&error) => continue,
            counted => counted?,
        };
        if rows > 0 {
            let action = "copied as it is";
            problems.push(Problem {
                kind: Kind::Orphan,
                table: table.into(),
                column: column.into(),
                rows,
                ids,
                action,
            });
        }
    }
    Ok(())
}

/// Whether the server cannot compare two columns because of their collations. Then it is unknown what refers to what.
pub fn is_incomparable(error: &LegacyError) -> bool {
    match error {
        LegacyError::Tables(TableError::Database(error) | TableError::At { source: error, .. }) => {
            database::number(error) == Some(1267)
        }
        _ => false,
    }
}

async fn zero_dates(
    connection: &mut MySqlConnection,
    plan: &TablePlan,
    named: u32,
    problems: &mut Vec<Problem>,
) -> Result<(), LegacyError> {
    let dates: Vec<_> = plan.columns.iter().filter(|column| column.column.is_date()).collect();
    if dates.is_empty() {
        return Ok(());
    }
    let table = sql::identifier(&plan.table)?;
    let mut sums = Vec::with_capacity(dates.len());
    for column in &dates {
        sums.push(format!("CAST(COALESCE(SUM({}), 0) AS CHAR)", is_zero(&sql::identifier(&column.from)?.to_string())));
    }
    let query = format!("SELECT {} FROM {table}", sums.join(", "));
    let row = connection.fetch_one(sqlx::raw_sql(&query)).await?;
    for (index, column) in dates.iter().enumerate() {
        if database::text(&row, index)? == "0" {
            continue;
        }
        let key = plan.key.as_deref().map(sql::identifier).transpose()?.map_or("NULL".into(), |key| format!("t.{key}"));
        let from = format!("{table} t WHERE {}", is_zero(&format!("t.{}", sql::identifier(&column.from)?)));
        let (rows, ids) = count(connection, &from, &key, named).await?;
        let (table, column, action) = (plan.table.clone(), column.from.clone(), "copied as it is");
        problems.push(Problem { kind: Kind::ZeroDate, table, column, rows, ids, action });
    }
    Ok(())
}

fn is_zero(column: &str) -> String {
    format!("(DAYOFMONTH({column}) = 0 OR MONTH({column}) = 0)")
}

/// How many rows a `FROM` clause has, and the keys of the first `named` of them.
async fn count(
    connection: &mut MySqlConnection,
    from: &str,
    key: &str,
    named: u32,
) -> Result<(u64, Vec<String>), LegacyError> {
    let query = format!("SELECT CAST(COUNT(*) AS UNSIGNED) FROM {from}");
    let (rows,): (u64,) = sqlx::query_as(&query).persistent(false).fetch_one(&mut *connection).await?;
    if rows == 0 {
        return Ok((0, Vec::new()));
    }
    let query = format!("SELECT CAST({key} AS CHAR) FROM {from} ORDER BY {key} LIMIT {named}");
    let keys = connection.fetch_all(sqlx::raw_sql(&query)).await?;
    let keys = keys.iter().map(|row| row.try_get_unchecked::<Option<String>, _>(0));
    Ok((rows, keys.filter_map(Result::transpose).collect::<Result<_, _>>()?))
}
