//! `plan`: what would be moved where, what is odd about it, and how long it may take. It reads the source only.

use super::checks::{self, Problem};
use super::source::Source;
use super::table_plan::{Change, TablePlans, Unmapped, resolve};
use super::{LegacyError, design, mapping::TargetDatabase};
use kernel::database::sql;
use serde::Serialize;
use std::fmt;

/// Rows and bytes a second that a small machine (2 cores, one disk) moves. The slower of the two counts.
const RATE: (f64, f64) = (40_000.0, 12e6);

/// What the command found.
#[derive(Debug, Serialize)]
pub struct Plan {
    pub source: String,
    pub generation: &'static str,
    pub unmapped: Unmapped,
    pub tables: Vec<PlannedTable>,
    /// Tables and views that are not moved, and why.
    pub left: Vec<(String, String)>,
    /// The changes that the tenant's database needs.
    pub changes: Vec<Change>,
    pub problems: Vec<Problem>,
    /// What makes the move impossible.
    pub refusals: Vec<String>,
    pub rows: u64,
    /// Bytes of data and indexes, as the server estimates.
    pub bytes: u64,
    pub estimated_seconds: u64,
}

/// A table of the plan.
#[derive(Debug, Serialize)]
pub struct PlannedTable {
    pub table: String,
    #[serde(rename = "place")]
    pub target: TargetDatabase,
    /// Name of the database that it goes to.
    pub destination: String,
    /// Whether the new schema has it.
    pub mapped: bool,
    /// Columns with another name there: old name, new name.
    pub renamed: Vec<(String, String)>,
    /// Rows, counted.
    pub rows: u64,
    /// Bytes of data and indexes, as the server estimates.
    pub bytes: u64,
}

/// Makes the plan. The first `named` rows of each problem are named.
pub async fn make(source: &Source, unmapped: Unmapped, named: u32) -> Result<Plan, LegacyError> {
    let mut connection = source.connect().await?;
    let tables = source.tables(&mut connection).await?;
    let TablePlans { generation, tables: mut planned, left, mut changes, nulls, mut refusals } =
        resolve(&tables, &design::tables(TargetDatabase::System), &design::tables(TargetDatabase::Tenant), unmapped)
            .map_err(LegacyError::Refused)?;
    let denied = checks::refusals(&mut connection, &planned, &nulls, &mut changes).await?;
    let readable = denied.iter().all(|refusal| !refusal.contains("may not read"));
    refusals.extend(denied);
    let mut problems = Vec::new();
    if readable {
        for table in &mut planned {
            let count = format!("SELECT CAST(COUNT(*) AS UNSIGNED) FROM {}", sql::identifier(&table.table)?);
            table.rows = sqlx::query_scalar(&count).persistent(false).fetch_one(&mut connection).await?;
        }
        problems = checks::problems(&mut connection, &source.database, &planned, named).await?;
    }
    let (rows, bytes) = (planned.iter().map(|table| table.rows).sum(), planned.iter().map(|table| table.bytes).sum());
    let planned = planned.iter().map(|table| PlannedTable {
        table: table.table.clone(),
        target: table.target,
        destination: match table.target {
            TargetDatabase::System => "ai_shifu_system".into(),
            TargetDatabase::Tenant => "ai_shifu_tenant_default".into(),
        },
        mapped: table.mapped.is_some(),
        renamed: table
            .columns
            .iter()
            .filter(|column| column.from != column.to)
            .map(|column| (column.from.clone(), column.to.clone()))
            .collect(),
        rows: table.rows,
        bytes: table.bytes,
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

/// Refuses a source whose schema cannot be moved, before a destination is created for it.
pub async fn check(source: &Source, unmapped: Unmapped) -> Result<(), LegacyError> {
    let mut connection = source.connect().await?;
    let tables = source.tables(&mut connection).await?;
    let plans =
        resolve(&tables, &design::tables(TargetDatabase::System), &design::tables(TargetDatabase::Tenant), unmapped)
            .map_err(LegacyError::Refused)?;
    match plans.refusals.as_slice() {
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
                Change::Relax { table, column } => {
                    writeln!(f, "the tenant's {table}.{column} may be NULL from then on")?;
                }
                Change::Widen { target: TargetDatabase::Tenant, table, column, column_type } => {
                    writeln!(f, "the tenant's {table}.{column} becomes {column_type}")?;
                }
                Change::Widen { target: TargetDatabase::System, table, column, column_type } => {
                    writeln!(
                        f,
                        "{table}.{column} of the system database becomes {column_type}: for that, SYSTEM_DB_URL must \
                         name the account that migrates"
                    )?;
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
