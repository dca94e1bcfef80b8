//! `control-plane rebuild`: compares the rows in use with what the events say, or makes them equal.

use super::{FOUND, system_options};
use clap::Args;
use kernel::process::config::Settings;
use kernel::store::{Rebuilt, rebuild};
use serde_json::json;
use std::process::ExitCode;

/// Rebuild all rows that are folded from events, and compare them with those in use.
///
/// The rows (tenants, their databases, members, domains, pending domains, snapshots, reservations) are built beside
/// those in use and compared byte for byte, while the services run. Without --check, the new rows then replace those
/// that differ, in one transaction.
///
/// It makes and drops tables named ..__rebuild, so SYSTEM_DB_URL must be that of the account that migrates. Names and
/// sealed passwords of the tenants' database users are not in the events: they are not compared and stay as they are.
/// Data nodes do not notice a repair: restart them after one.
///
/// Exit codes: 0 equal, or equal now; 4 different (with --check).
#[derive(Args)]
pub struct Options {
    /// Only compare: change nothing that is in use.
    #[arg(long)]
    check: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(settings: &Settings, options: &Options) -> anyhow::Result<ExitCode> {
    let system = system_options(settings)?;
    let found = rebuild(&system, !options.check).await?;
    let different = found.tables.iter().any(|table| table.differences > 0);
    if options.json {
        let repaired = different && !options.check;
        println!("{}", json!({"position": found.position, "tables": found.tables, "repaired": repaired}));
    } else {
        print(&found);
    }
    if !different {
        return Ok(ExitCode::SUCCESS);
    }
    if options.check {
        return Ok(ExitCode::from(FOUND));
    }
    eprintln!(
        "the tables that differed have the rebuilt rows now; restart the data nodes, which may know the old ones"
    );
    Ok(ExitCode::SUCCESS)
}

fn print(found: &Rebuilt) {
    println!("rebuilt from the events up to position {}", found.position);
    println!("{:<24}  {:>10}  {:>12}", "table", "rows", "differences");
    for table in &found.tables {
        println!("{:<24}  {:>10}  {:>12}", table.table, table.rows, table.differences);
        for (what, names) in [("missing", &table.missing), ("extra", &table.extra), ("changed", &table.changed)] {
            for name in names {
                println!("  {what} {name}");
            }
        }
    }
}
