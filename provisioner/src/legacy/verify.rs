//! `verify`: shows that both sides are equal, or where they are not. Changes nothing.
//!
//! Rows and checksums are computed by the servers (see [`crate::tables::transfer`]), the source's in one snapshot. Beside them: every user is a
//! member of the default tenant, no member is without a user, and references that lead nowhere are as many as in the
//! source.

use super::destination::Destination;
use super::direction::{Direction, transfer_of};
use super::mapping::{self, Place};
use super::members::{self, Completeness};
use super::routes::{Route, Routing};
use super::source::{How, Snapshot, Source};
use super::work::{Worker, in_parallel};
use super::{LegacyError, checks};
use crate::tables::compare::{Pair, compare};
use crate::tables::progress::Progress;
use crate::tables::transfer::Range;
use futures::{StreamExt, TryStreamExt};
use kernel::database::sql;
use serde::Serialize;
use sqlx::MySqlConnection;
use std::cell::RefCell;
use std::fmt;

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Both sides are equal and members are complete.
    pub equal: bool,
    /// How the source's snapshot was taken.
    pub snapshot: How,
    /// Every table.
    pub tables: Vec<TableReport>,
    /// Tables and views that were not moved, and why.
    pub left: Vec<(String, String)>,
    /// Members of the default tenant.
    pub members: Completeness,
    /// References that lead nowhere, on both sides; those that are everywhere intact are left out.
    pub references: Vec<ReferenceReport>,
    /// Seconds it took.
    pub seconds: f64,
}

/// A table of the report.
#[derive(Clone, Debug, Serialize)]
pub struct TableReport {
    /// Its name.
    pub table: String,
    /// The place it went to.
    pub place: Place,
    /// Rows of the source.
    pub source_rows: u64,
    /// Rows of the destination.
    pub destination_rows: u64,
    /// Checksum of the source, in hexadecimal digits.
    pub source_checksum: String,
    /// Checksum of the destination.
    pub destination_checksum: String,
    /// Whether both are the same.
    pub equal: bool,
    /// Rows that the destination lacks.
    pub missing: u64,
    /// Rows that are there otherwise.
    pub changed: u64,
    /// Rows that are there in addition.
    pub extra: u64,
    /// Keys of such rows, the first twenty.
    pub keys: Vec<String>,
}

/// References that lead nowhere.
#[derive(Clone, Debug, Serialize)]
pub struct ReferenceReport {
    /// The table with the reference.
    pub table: String,
    /// Its column, by its old name.
    pub column: String,
    /// What it should lead to.
    pub target: String,
    /// In the source.
    pub source: u64,
    /// In the destination.
    pub destination: u64,
}

/// Looks at everything, in one snapshot taken for it.
pub async fn run(
    source: &Source,
    destination: &Destination,
    routing: &Routing,
    jobs: usize,
) -> Result<Report, LegacyError> {
    let snapshot = Snapshot::take(source, &routing.tables(), jobs).await?;
    let how = snapshot.how;
    let mut workers = Worker::all(destination, snapshot.readers).await?;
    look(destination, routing, &mut workers, how, Direction::Forward).await
}

/// The same over connections that there are already. `direction` says which side is the original.
pub async fn look(
    destination: &Destination,
    routing: &Routing,
    workers: &mut [Worker],
    snapshot: How,
    direction: Direction,
) -> Result<Report, LegacyError> {
    let progress = Progress::new("verifying", routing.routes.iter().map(|route| route.rows).sum());
    let tables = RefCell::new(Vec::new());
    let tenant_id = destination.tenant.tenant_id.as_str();
    in_parallel(workers, &routing.routes, async |worker, route| {
        let transfer = transfer_of(route, direction, tenant_id)?;
        let (from, to) = worker.ends(route, direction);
        let found = compare(&transfer, Range::default(), Pair { from, to }, false, &progress).await?;
        progress.table();
        let (old, new) = match direction {
            Direction::Forward => (found.from, found.to),
            Direction::Back => (found.to, found.from),
        };
        tables.borrow_mut().push(TableReport {
            table: route.table.clone(),
            place: route.place,
            source_rows: old.rows,
            destination_rows: new.rows,
            source_checksum: format!("{:x}", old.checksum),
            destination_checksum: format!("{:x}", new.checksum),
            equal: old == new,
            missing: found.changes.missing,
            changed: found.changes.changed,
            extra: found.changes.extra,
            keys: found.changes.keys,
        });
        Ok(())
    })
    .await?;
    progress.finish();
    let mut tables = tables.into_inner();
    tables.sort_by(|one, other| one.table.cmp(&other.table));
    let members = members::look(destination).await?;
    let references = match workers.first_mut() {
        Some(worker) => references(worker, &routing.routes).await?,
        None => Vec::new(),
    };
    Ok(Report {
        equal: tables.iter().all(|table| table.equal) && members.is_complete(),
        snapshot,
        tables,
        left: routing.left.clone(),
        members,
        references,
        seconds: progress.seconds(),
    })
}

async fn references(worker: &mut Worker, routes: &[Route]) -> Result<Vec<ReferenceReport>, LegacyError> {
    let on_the_way = |table: &str| routes.iter().find(|route| route.table == table);
    let all = checks::orphans();
    let rows = all.iter().filter_map(|(table, ..)| on_the_way(table)).map(|route| route.rows).sum();
    let progress = Progress::new("looking at references", rows);
    let mut found = Vec::new();
    for (table, column, target, key) in all {
        let Some((mapped, route)) = mapping::of(table).zip(on_the_way(table)) else { continue };
        let source = match within_database(&mut worker.source, table, column, target, key).await {
            Err(error) if checks::is_incomparable(&error) => continue,
            counted => counted?,
        };
        let new_column = mapped.new_name(column);
        let destination = match mapped.place {
            Place::System => within_database(&mut worker.system, table, new_column, target, key).await?,
            Place::Tenant if target == "user_info" => users(worker, table, new_column).await?,
            Place::Tenant => within_database(&mut worker.tenant, table, new_column, target, key).await?,
        };
        progress.add(route.rows, 0);
        if source > 0 || destination > 0 {
            let (table, column, target) = (table.into(), column.into(), format!("{target}.{key}"));
            found.push(ReferenceReport { table, column, target, source, destination });
        }
    }
    progress.finish();
    Ok(found)
}

async fn within_database(
    connection: &mut MySqlConnection,
    table: &str,
    column: &str,
    target: &str,
    key: &str,
) -> Result<u64, LegacyError> {
    let (table, column, target, key) =
        (sql::identifier(table)?, sql::identifier(column)?, sql::identifier(target)?, sql::identifier(key)?);
    let query = format!(
        "SELECT CAST(COUNT(*) AS UNSIGNED) FROM {table} t
         WHERE t.{column} <> '' AND NOT EXISTS (SELECT 1 FROM {target} o WHERE o.{key} = t.{column})"
    );
    Ok(sqlx::query_scalar(&query).persistent(false).fetch_one(connection).await?)
}

/// Rows of the tenant that name a user who does not exist: users are in another database, perhaps on another server. The table is
/// read once, whether it has an index on the column or not.
async fn users(worker: &mut Worker, table: &str, column: &str) -> Result<u64, LegacyError> {
    const PAGE: usize = 200;
    let (table, column) = (sql::identifier(table)?, sql::identifier(column)?);
    let query =
        format!("SELECT MIN({column}), CAST(COUNT(*) AS UNSIGNED) FROM {table} WHERE {column} <> '' GROUP BY {column}");
    let Worker { tenant, system, .. } = worker;
    let mut pages = sqlx::query_as(&query).persistent(false).fetch(tenant).try_chunks(PAGE);
    let mut orphans = 0;
    while let Some(page) = pages.next().await {
        orphans += unknown(system, &page.map_err(|error| error.1)?).await?;
    }
    Ok(orphans)
}

/// Rows of the users of `page` who do not exist.
async fn unknown(system: &mut MySqlConnection, page: &[(String, u64)]) -> Result<u64, LegacyError> {
    let marks: Vec<_> = (0..page.len()).map(|index| format!("SELECT {index} AS i, ? AS u")).collect();
    let query = format!(
        "SELECT CAST(p.i AS UNSIGNED) FROM ({}) p WHERE NOT EXISTS (SELECT 1 FROM user_info o WHERE o.user_id = p.u)",
        marks.join(" UNION ALL ")
    );
    let mut query = sqlx::query_scalar::<_, u64>(&query).persistent(false);
    for (user, _) in page {
        query = query.bind(user);
    }
    let unknown = query.fetch_all(system).await?;
    let rows =
        |index: &u64| usize::try_from(*index).ok().and_then(|index| page.get(index)).map_or(0, |(_, rows)| *rows);
    Ok(unknown.iter().map(rows).sum())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<32} {:>10} {:>12}  checksums", "table", "source", "destination")?;
        for table in &self.tables {
            let TableReport { source_rows, destination_rows, missing, changed, extra, .. } = table;
            let equal = if table.equal { "equal" } else { "DIFFERENT" };
            write!(f, "{:<32} {source_rows:>10} {destination_rows:>12}  {equal}", table.table)?;
            if !table.equal {
                let keys =
                    if table.keys.is_empty() { String::new() } else { format!(" (id {})", table.keys.join(", ")) };
                write!(f, ": {missing} missing, {changed} changed, {extra} extra{keys}")?;
            }
            writeln!(f)?;
        }
        for (table, why) in &self.left {
            writeln!(f, "{table:<32} was not moved: {why}")?;
        }
        for ReferenceReport { table, column, target, source, destination } in &self.references {
            writeln!(
                f,
                "{table}.{column} names no {target} in {source} rows of the source, {destination} of the destination"
            )?;
        }
        let Completeness { users, members, without_user } = self.members;
        let complete = if self.members.is_complete() { "complete" } else { "INCOMPLETE" };
        writeln!(f, "members {complete}: {members} of {users} users, {without_user} members without a user")?;
        let equal = if self.equal { "equal" } else { "NOT EQUAL" };
        write!(f, "source and destination are {equal}")
    }
}
