//! What is odd about the source's rows: looked for before anything is moved, named with the rows, and what will be done.

use super::LegacyError;
use super::error::is_denied;
use super::mapping::{MAPPED, REFERENCES};
use super::members::FIT;
use super::routes::Route;
use crate::tables::TableError;
use kernel::database::{self, sql};
use serde::Serialize;
use sqlx::{Executor, MySqlConnection, Row};

/// Rows named for each problem, unless more are asked for.
pub const NAMED: u32 = 20;

/// Something about the source's rows that an operator should know.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// Which kind.
    pub kind: Kind,
    /// In which table.
    pub table: String,
    /// In which column.
    pub column: String,
    /// How many rows.
    pub rows: u64,
    /// Primary keys of the first: twenty, or as many as were asked for.
    pub ids: Vec<String>,
    /// What will be done about it.
    pub action: &'static str,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `user_info.user_id` is empty.
    EmptyUserId,
    /// `user_info.user_id` is none that a member can have.
    UnfitUserId,
    /// Another row of `user_info` has an id that the database holds equal.
    DuplicateUserId,
    /// A row names a row that does not exist.
    Orphan,
    /// A date of zeros, or one without a month or a day.
    ZeroDate,
    /// The storage engine knows no snapshots.
    NoSnapshot,
    /// Rows have no whole number to be cut into chunks by.
    NoKey,
    /// Triggers, routines and events.
    Code,
}

/// What makes a move impossible that the schemas alone do not show. Cheap: an import asks it too.
pub async fn refusals(
    connection: &mut MySqlConnection,
    routes: &[Route],
    nulls: &[(String, String)],
) -> Result<Vec<String>, LegacyError> {
    let mut refusals = Vec::new();
    for route in routes {
        let read = format!("SELECT 1 FROM {} LIMIT 0", sql::identifier(&route.table)?);
        match connection.execute(read.as_str()).await {
            Ok(_) => {}
            Err(error) if is_denied(&error) => {
                refusals.push(format!("the account of LEGACY_DB_URL may not read {}", route.table))
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !refusals.is_empty() {
        return Ok(refusals);
    }
    for (table, column) in nulls {
        let (name, quoted) = (sql::identifier(table)?, sql::identifier(column)?);
        let (rows, ids) = count(connection, &format!("{name} t WHERE t.{quoted} IS NULL"), "t.id", NAMED).await?;
        if rows > 0 {
            refusals.push(format!(
                "{table}.{column} is NULL in {rows} rows (id {}), where the new schema has none",
                ids.join(", ")
            ));
        }
    }
    for route in routes.iter().filter(|route| route.mapped.is_some() && route.table.ends_with("_structs")) {
        // Unique there by a collation that ignores case and trailing blanks, whatever the source's is.
        let name = sql::identifier(&route.table)?;
        let key = "CONVERT(t.struct_bid USING utf8mb4) COLLATE utf8mb4_unicode_ci";
        let from = format!(
            "{name} t JOIN (SELECT {key} AS bid FROM {name} t GROUP BY 1 HAVING COUNT(*) > 1) d ON d.bid = {key}"
        );
        let (rows, ids) = count(connection, &from, "t.id", NAMED).await?;
        if rows > 0 {
            refusals.push(format!("{}.struct_bid is not unique in {rows} rows (id {})", route.table, ids.join(", ")));
        }
    }
    Ok(refusals)
}

/// Everything odd, with the keys of the first `named` rows. Reads every row.
pub async fn problems(
    connection: &mut MySqlConnection,
    database: &str,
    routes: &[Route],
    named: u32,
) -> Result<Vec<Problem>, LegacyError> {
    let mut problems = Vec::new();
    users(connection, named, &mut problems).await?;
    references(connection, named, &mut problems).await?;
    for route in routes {
        zero_dates(connection, route, named, &mut problems).await?;
        let mut of_table = |kind, action| {
            problems.push(Problem {
                kind,
                table: route.table.clone(),
                column: String::new(),
                rows: route.rows,
                ids: vec![],
                action,
            });
        };
        if !route.transactional {
            of_table(Kind::NoSnapshot, "copied as it is at the time; `sync --final` reads it while it is locked");
        }
        if route.key.is_none() && route.rows > 1 {
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
    let equal =
        "user_info u JOIN (SELECT user_id FROM user_info WHERE user_id <> '' GROUP BY user_id HAVING COUNT(*) > 1) d
                 ON d.user_id = u.user_id";
    for (kind, from, action) in [
        (Kind::EmptyUserId, "user_info u WHERE u.user_id = ''".to_owned(), "copied; no membership"),
        (
            Kind::UnfitUserId,
            format!("user_info u WHERE u.user_id <> '' AND NOT ({FIT})"),
            "copied; no membership: an id has 1 to 36 printable ASCII characters",
        ),
        (
            Kind::DuplicateUserId,
            equal.to_owned(),
            "all copied; one membership, under the spelling of the row with the lowest id",
        ),
    ] {
        let (rows, ids) = count(connection, &from, "u.id", named).await?;
        if rows > 0 {
            problems.push(Problem { kind, table: "user_info".into(), column: "user_id".into(), rows, ids, action });
        }
    }
    Ok(())
}

/// Rows that name a row which is not there, by table and column: of the source, or of one place of the destination.
pub fn orphans() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    let users = MAPPED.iter().filter_map(|mapped| Some((mapped.table, mapped.user?, "user_info", "user_id")));
    users.chain(REFERENCES.iter().map(|r| (r.table, r.column, r.target, r.key))).collect()
}

async fn references(
    connection: &mut MySqlConnection,
    named: u32,
    problems: &mut Vec<Problem>,
) -> Result<(), LegacyError> {
    for (table, column, target, key) in orphans() {
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

/// Whether the two columns have collations that the server does not compare: then it is not known what refers to what.
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
    route: &Route,
    named: u32,
    problems: &mut Vec<Problem>,
) -> Result<(), LegacyError> {
    let dates: Vec<_> = route.columns.iter().filter(|column| column.column.is_date()).collect();
    if dates.is_empty() {
        return Ok(());
    }
    let table = sql::identifier(&route.table)?;
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
        let key =
            route.key.as_deref().map(sql::identifier).transpose()?.map_or("NULL".into(), |key| format!("t.{key}"));
        let from = format!("{table} t WHERE {}", is_zero(&format!("t.{}", sql::identifier(&column.from)?)));
        let (rows, ids) = count(connection, &from, &key, named).await?;
        let (table, column, action) = (route.table.clone(), column.from.clone(), "copied as it is");
        problems.push(Problem { kind: Kind::ZeroDate, table, column, rows, ids, action });
    }
    Ok(())
}

fn is_zero(column: &str) -> String {
    format!("(DAYOFMONTH({column}) = 0 OR MONTH({column}) = 0)")
}

/// How many rows a `FROM` has, and the keys of the first.
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
