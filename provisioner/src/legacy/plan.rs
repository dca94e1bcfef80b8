//! `plan`: what would be moved where, what is odd about it, and how long it may take. Reads the source and nothing else.

use super::checks::{self, Problem};
use super::routes::{Change, Routing, Unmapped, resolve};
use super::source::Source;
use super::{LegacyError, design, mapping::Place};
use kernel::database::sql;
use serde::Serialize;
use std::fmt;

/// Rows and bytes a second that a small machine (2 cores, one disk) moves; the slower of both counts.
const RATE: (f64, f64) = (40_000.0, 12e6);

/// The plan.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Where from.
    pub source: String,
    /// Which schema that has.
    pub generation: &'static str,
    /// What happens to unmapped tables.
    pub unmapped: Unmapped,
    /// Every table that is moved.
    pub tables: Vec<PlannedTable>,
    /// Every table and view that is not, and why.
    pub left: Vec<(String, String)>,
    /// What the tenant's database is given for it.
    pub changes: Vec<Change>,
    /// What is odd.
    pub problems: Vec<Problem>,
    /// What makes the move impossible.
    pub refusals: Vec<String>,
    /// Rows of all moved tables.
    pub rows: u64,
    /// Bytes of them, as the server estimates.
    pub bytes: u64,
    /// Seconds the import may take.
    pub estimated_seconds: u64,
}

/// A table of the plan.
#[derive(Debug, Serialize)]
pub struct PlannedTable {
    /// Its name.
    pub table: String,
    /// Where it goes.
    pub place: Place,
    /// The database there.
    pub destination: String,
    /// Whether the new schema has it.
    pub mapped: bool,
    /// Columns that get another name: old, new.
    pub renamed: Vec<(String, String)>,
    /// Rows, counted.
    pub rows: u64,
    /// Bytes of data and indexes, as the server estimates.
    pub bytes: u64,
}

/// Makes it. Of each problem the first `named` rows are named.
pub async fn make(source: &Source, unmapped: Unmapped, named: u32) -> Result<Plan, LegacyError> {
    let mut connection = source.connect().await?;
    let tables = source.tables(&mut connection).await?;
    let Routing { generation, mut routes, left, changes, nulls, mut refusals } =
        resolve(&tables, &design::tables(Place::System), &design::tables(Place::Tenant), unmapped)
            .map_err(LegacyError::Refused)?;
    let denied = checks::refusals(&mut connection, &routes, &nulls).await?;
    let readable = denied.iter().all(|refusal| !refusal.contains("may not read"));
    refusals.extend(denied);
    let mut problems = Vec::new();
    if readable {
        for route in &mut routes {
            let count = format!("SELECT CAST(COUNT(*) AS UNSIGNED) FROM {}", sql::identifier(&route.table)?);
            route.rows = sqlx::query_scalar(&count).persistent(false).fetch_one(&mut connection).await?;
        }
        problems = checks::problems(&mut connection, &source.database, &routes, named).await?;
    }
    let (rows, bytes) = (routes.iter().map(|route| route.rows).sum(), routes.iter().map(|route| route.bytes).sum());
    let planned = routes.iter().map(|route| PlannedTable {
        table: route.table.clone(),
        place: route.place,
        destination: match route.place {
            Place::System => "ai_shifu_system".into(),
            Place::Tenant => "ai_shifu_tenant_default".into(),
        },
        mapped: route.mapped.is_some(),
        renamed: route
            .columns
            .iter()
            .filter(|column| column.from != column.to)
            .map(|column| (column.from.clone(), column.to.clone()))
            .collect(),
        rows: route.rows,
        bytes: route.bytes,
    });
    Ok(Plan {
        source: source.name.clone(),
        generation: generation.as_str(),
        unmapped,
        tables: planned.collect(),
        left,
        changes,
        problems,
        refusals,
        rows,
        bytes,
        estimated_seconds: (rows as f64 / RATE.0).max(bytes as f64 / RATE.1).ceil() as u64,
    })
}

/// Refuses a source that cannot be moved, by its schema alone: before a destination is made for it.
pub async fn check(source: &Source, unmapped: Unmapped) -> Result<(), LegacyError> {
    let mut connection = source.connect().await?;
    let tables = source.tables(&mut connection).await?;
    let routing = resolve(&tables, &design::tables(Place::System), &design::tables(Place::Tenant), unmapped)
        .map_err(LegacyError::Refused)?;
    match routing.refusals.as_slice() {
        [] => Ok(()),
        refusals => Err(LegacyError::Refused(refusals.join("\n"))),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: AI-Shifu schema of {}", self.source, self.generation)?;
        writeln!(f, "{:<32} {:>10} {:>10}  goes to", "table", "rows", "KB")?;
        for table in &self.tables {
            let note = if table.mapped { "" } else { ", as it is" };
            let renamed: Vec<_> = table.renamed.iter().map(|(old, new)| format!(", {old} as {new}")).collect();
            let (name, kilobytes) = (&table.table, table.bytes / 1024);
            let place = &table.destination;
            writeln!(f, "{name:<32} {:>10} {kilobytes:>10}  {place}{note}{}", table.rows, renamed.concat())?;
        }
        for (table, why) in &self.left {
            writeln!(f, "{table:<32} stays: {why}")?;
        }
        for change in &self.changes {
            match change {
                Change::Create { table } => writeln!(f, "the tenant's database gets the table {table}")?,
                Change::Add { table, column, definition } => {
                    writeln!(f, "the tenant's {table} gets the column {column} ({definition})")?;
                }
                Change::Widen { table, column, column_type } => {
                    writeln!(f, "the tenant's {table}.{column} becomes {column_type}")?;
                }
            }
        }
        for Problem { kind, table, column, rows, ids, action } in &self.problems {
            let column = if column.is_empty() { String::new() } else { format!(".{column}") };
            let kind =
                serde_json::to_value(kind).ok().and_then(|kind| kind.as_str().map(|kind| kind.replace('_', " ")));
            write!(f, "{}: {table}{column}", kind.unwrap_or_default())?;
            match (rows, ids.as_slice()) {
                (0, _) => {}
                (rows, []) => write!(f, ", {rows} rows")?,
                (rows, ids) => {
                    let more = if *rows > ids.len() as u64 { ", ..." } else { "" };
                    write!(f, ", {rows} rows (id {}{more})", ids.join(", "))?;
                }
            }
            writeln!(f, ": {action}")?;
        }
        for refusal in &self.refusals {
            writeln!(f, "impossible: {refusal}")?;
        }
        let megabytes = self.bytes as f64 / 1e6;
        write!(f, "{} rows, {megabytes:.0} MB; about {} s on a small machine", self.rows, self.estimated_seconds)
    }
}
