//! `verify`: shows that both sides are equal, or where they differ. Changes nothing.
//!
//! The servers count rows and compute checksums ([`crate::tables::transfer`]), the source in one snapshot. The command
//! also checks that every user is a member of the default tenant and every member a user, and it counts on both sides
//! the references that lead nowhere.

use super::destination::Destination;
use super::direction::{Direction, transfer_of};
use super::mapping::{self, TargetDatabase};
use super::members::{self, Completeness};
use super::parallel::{ConnectionSet, in_parallel};
use super::source::{How, Snapshot, Source};
use super::table_plan::{TablePlan, TablePlans};
use super::{LegacyError, checks};
use crate::tables::compare::{Pair, Repair, compare};
use crate::tables::progress::Progress;
use crate::tables::transfer::Range;
use futures::{StreamExt, TryStreamExt};
use kernel::database::sql;
use serde::Serialize;
use sqlx::MySqlConnection;
use std::cell::RefCell;
use std::fmt;

/// What the command found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Both sides are equal and the memberships are complete.
    pub equal: bool,
    pub snapshot: How,
    pub tables: Vec<TableReport>,
    /// Tables and views that were not moved, and why.
    pub left: Vec<(String, String)>,
    pub members: Completeness,
    /// References that lead nowhere on either side.
    pub references: Vec<ReferenceReport>,
    pub seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct TableReport {
    pub table: String,
    #[serde(rename = "place")]
    pub target: TargetDatabase,
    pub source_rows: u64,
    pub destination_rows: u64,
    /// In hexadecimal digits.
    pub source_checksum: String,
    pub destination_checksum: String,
    pub equal: bool,
    /// Rows that the destination lacks.
    pub missing: u64,
    /// Rows that the destination has with other values.
    pub changed: u64,
    /// Rows that only the destination has.
    pub extra: u64,
    /// Keys of the first twenty such rows.
    pub keys: Vec<String>,
}

/// Rows whose reference leads nowhere.
#[derive(Clone, Debug, Serialize)]
pub struct ReferenceReport {
    pub table: String,
    /// The column that refers, by its old name.
    pub column: String,
    /// The table and column that it refers to.
    pub target: String,
    /// Rows in the source.
    pub source: u64,
    /// Rows in the destination.
    pub destination: u64,
}

/// Compares everything, in a snapshot of its own.
pub async fn run(
    source: &Source,
    destination: &Destination,
    plans: &TablePlans,
    jobs: usize,
) -> Result<Report, LegacyError> {
    let snapshot = Snapshot::take(source, &plans.names(), jobs).await?;
    let how = snapshot.how;
    let mut sets = ConnectionSet::all(destination, snapshot.readers).await?;
    compare_all(destination, plans, &mut sets, how, Direction::Forward).await
}

/// Compares everything over existing connections. `direction` says which side is the original.
pub async fn compare_all(
    destination: &Destination,
    plans: &TablePlans,
    sets: &mut [ConnectionSet],
    snapshot: How,
    direction: Direction,
) -> Result<Report, LegacyError> {
    let progress = Progress::new("verifying", plans.tables.iter().map(|plan| plan.rows).sum());
    let tables = RefCell::new(Vec::new());
    let tenant_id = destination.tenant.tenant_id.as_str();
    in_parallel(sets, &plans.tables, async |set, plan| {
        let transfer = transfer_of(plan, direction, tenant_id)?;
        let (from, to) = set.ends(plan, direction);
        let found = compare(&transfer, Range::default(), Pair { from, to }, Repair::No, &progress).await?;
        progress.table();
        let (old, new) = match direction {
            Direction::Forward => (found.from, found.to),
            Direction::Back => (found.to, found.from),
        };
        tables.borrow_mut().push(TableReport {
            table: plan.table.clone(),
            target: plan.target,
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
    let members = members::count(destination).await?;
    let references = match sets.first_mut() {
        Some(set) => references(set, &plans.tables).await?,
        None => Vec::new(),
    };
    Ok(Report {
        equal: tables.iter().all(|table| table.equal) && members.is_complete(),
        snapshot,
        tables,
        left: plans.left.clone(),
        members,
        references,
        seconds: progress.seconds(),
    })
}

async fn references(set: &mut ConnectionSet, tables: &[TablePlan]) -> Result<Vec<ReferenceReport>, LegacyError> {
    let planned = |table: &str| tables.iter().find(|plan| plan.table == table);
    let all = checks::references_by_old_names();
    let rows = all.iter().filter_map(|(table, ..)| planned(table)).map(|plan| plan.rows).sum();
    let progress = Progress::new("looking at references", rows);
    let mut found = Vec::new();
    for (table, column, target, key) in all {
        let Some((mapped, plan)) = mapping::of(table).zip(planned(table)) else { continue };
        let source = match within_database(&mut set.source, table, column, target, key).await {
            Err(error) if checks::is_incomparable(&error) => continue,
            counted => counted?,
        };
        let new_column = mapped.new_name(column);
        let destination = match mapped.target {
            TargetDatabase::System => within_database(&mut set.system, table, new_column, target, key).await?,
            TargetDatabase::Tenant if target == "user_info" => users(set, table, new_column).await?,
            TargetDatabase::Tenant => within_database(&mut set.tenant, table, new_column, target, key).await?,
        };
        progress.add(plan.rows, 0);
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

/// Counts rows of the tenant that name a user who does not exist. Users are in another database, perhaps on another
/// server, so the table is read once and its users are looked up page by page.
async fn users(set: &mut ConnectionSet, table: &str, column: &str) -> Result<u64, LegacyError> {
    const PAGE: usize = 200;
    let (table, column) = (sql::identifier(table)?, sql::identifier(column)?);
    let query =
        format!("SELECT MIN({column}), CAST(COUNT(*) AS UNSIGNED) FROM {table} WHERE {column} <> '' GROUP BY {column}");
    let ConnectionSet { tenant, system, .. } = set;
    let mut pages = sqlx::query_as(&query).persistent(false).fetch(tenant).try_chunks(PAGE);
    let mut orphans = 0;
    while let Some(page) = pages.next().await {
        orphans += unknown(system, &page.map_err(|error| error.1)?).await?;
    }
    Ok(orphans)
}

/// Counts the rows of those users of `page` who do not exist.
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
