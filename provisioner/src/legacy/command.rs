//! The command line `provisioner legacy`: reads the arguments, runs a command and prints its result.

use super::destination::Destination;
use super::import::ImportRequest;
use super::members::AdminsBecome;
use super::source::Source;
use super::sync::{Others, SyncRequest};
use super::table_plan::Unmapped;
use super::{LegacyError, checks, cutover, import, plan, prepare, rollback, shut, status, sync, verify};
use crate::exit;
use clap::{Args, Subcommand};
use kernel::domain::DomainName;
use kernel::process::config::Settings;
use kernel::process::telemetry::{Exposed, names};
use serde::Serialize;
use std::fmt::Display;
use std::net::SocketAddr;
use std::process::ExitCode;

/// Move the old AI-Shifu database in, and back.
///
/// The setting LEGACY_DB_URL (mysql://user:password@host:port/database) names the source. It is no argument, because
/// other users of the machine can read arguments. The destination is that of the services: SYSTEM_DB_URL and
/// TENANT_DB_ADMIN_URL.
///
/// The source's account needs SELECT on its tables. It needs LOCK TABLES so that several connections read the same
/// moment: without it one connection reads, and `sync --final` and `cutover` are not possible. `rollback` also needs
/// INSERT and DELETE. The dump of `cutover` needs SHOW VIEW if there are views.
#[derive(Args)]
#[command(after_help = "The usual order:
  provisioner legacy plan                 # reads the source only; names what is odd
  provisioner legacy import               # can be killed and run again
  provisioner legacy verify
  provisioner legacy sync                 # repeat it while the old system is in use
  provisioner legacy cutover              # all steps, with a backup before and the switch at the end
  provisioner legacy rollback --dry-run   # shows what would go back into the old database
  provisioner legacy status               # says how far the move is, and what to do after a killed command

Exit codes:
  0  done; verify: both sides are equal
  1  failed on the way (the reason is on standard error); run the same command again, it continues
  2  wrong usage
  3  refused: source, destination or settings are not what is needed; nothing was changed. A sync that found rows of
     the new system left those, brought over the others, and names them
  4  found something wrong: plan (the move is impossible), verify (not equal), cutover and rollback (not verified)")]
pub struct Options {
    #[command(subcommand)]
    command: Command,
    /// Print the result as JSON, on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// Answer GET /metrics at this address (such as 127.0.0.1:9101) while the command runs, and once more after its
    /// end. The command waits at most a minute for that last request.
    #[arg(long, global = true, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

#[derive(Subcommand)]
enum Command {
    /// Print what would be moved where, what is odd about it, and how long it may take. Reads the source only.
    Plan {
        #[command(flatten)]
        tables: TableOptions,
        /// How many rows to name for each problem.
        #[arg(long, value_name = "N", default_value_t = checks::NAMED)]
        ids: u32,
    },
    /// Bring everything over, from one moment of the source. Continues a killed import; a second run changes nothing.
    Import {
        #[command(flatten)]
        import: ImportOptions,
    },
    /// Compare both sides: rows and checksums of every table, members, references. Changes nothing.
    Verify {
        #[command(flatten)]
        speed: SpeedOptions,
    },
    /// Say how far the move has come, and what to do next. Reads the system database only.
    Status,
    /// Bring over what has changed in the source since. Compares every row, so deletions arrive too.
    ///
    /// Rows that the new system has written since the last pass stay as they are, and the command names them.
    Sync {
        /// Lock the source against writing for a last pass, until the command ends. Stop the old application first.
        #[arg(long)]
        r#final: bool,
        /// Most passes. A pass that finds no change is the last.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        passes: u32,
        /// Overwrite and delete what the new system has written, but for users of other tenants only.
        #[arg(long)]
        overwrite: bool,
        #[command(flatten)]
        speed: SpeedOptions,
    },
    /// Take rows back into the old database: what was written, changed and removed in the new system since the
    /// cut-over.
    ///
    /// The command puts the default tenant into maintenance first. Rows of users who belong to other tenants only stay
    /// here. The command refuses if the old database was written to since the cut-over, because those rows would be
    /// lost: --overwrite accepts that.
    Rollback {
        /// Show what would go back, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// What to roll back.
        #[arg(long, value_enum, default_value_t)]
        component: rollback::Component,
        /// Overwrite what was written to the old database since the cut-over.
        #[arg(long)]
        overwrite: bool,
        #[command(flatten)]
        speed: SpeedOptions,
    },
    /// Plan, back up, import, sync, verify, switch and check the health as one command. Says how to go back when a step
    /// fails.
    Cutover {
        #[command(flatten)]
        import: ImportOptions,
        /// Directory for the dump of the source, which mariadb-dump or mysqldump takes.
        #[arg(long, default_value = "legacy-backup", conflicts_with = "skip_backup")]
        backup_dir: std::path::PathBuf,
        /// Take no dump: there is a backup already.
        #[arg(long)]
        skip_backup: bool,
    },
}

#[derive(Args)]
struct TableOptions {
    /// What becomes of tables that the new schema does not have.
    #[arg(long, value_enum, default_value_t)]
    unmapped: Unmapped,
}

#[derive(Args)]
struct SpeedOptions {
    /// How many tables to work on at once, each with a connection to the source and three to the destination.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,
}

#[derive(Args)]
struct ImportOptions {
    #[command(flatten)]
    tables: TableOptions,
    #[command(flatten)]
    speed: SpeedOptions,
    /// A domain of the old installation, which the default tenant gets. May be given several times.
    #[arg(long = "domain")]
    domains: Vec<DomainName>,
    /// The role in the default tenant of users who were administrators of the old system.
    #[arg(long, value_enum, default_value_t)]
    admins: AdminsBecome,
}

impl ImportOptions {
    fn request(self) -> ImportRequest {
        ImportRequest {
            unmapped: self.tables.unmapped,
            admins: self.admins,
            domains: self.domains,
            jobs: self.speed.jobs.into(),
        }
    }
}

/// Runs a command; returns the exit code of the process.
pub async fn run(settings: &Settings, options: Options) -> ExitCode {
    let exposed = match options.metrics {
        None => None,
        Some(address) => match Exposed::begin("legacy", address).await {
            Ok(exposed) => Some(exposed),
            Err(error) => {
                eprintln!("provisioner: cannot listen on {address}: {error}");
                return ExitCode::from(exit::REFUSED);
            }
        },
    };
    let ended = command(settings, options).await;
    if let Err(error) = &ended {
        metrics::counter!(names::IMPORT_FAILURES, "reason" => error.reason()).increment(1);
    }
    let code = exit::of(ended, LegacyError::exit_code);
    if let Some(exposed) = exposed {
        exposed.end().await;
    }
    code
}

async fn command(settings: &Settings, options: Options) -> Result<ExitCode, LegacyError> {
    let json = options.json;
    if let Command::Status = options.command {
        print(&status::read(settings).await?, json);
        return Ok(ExitCode::SUCCESS);
    }
    let source = Source::from_settings(settings)?;
    if let Command::Plan { tables, ids } = options.command {
        let plan = plan::make(&source, tables.unmapped, ids).await?;
        print(&plan, json);
        return Ok(exit::checked(plan.refusals.is_empty()));
    }
    if let Command::Import { import } | Command::Cutover { import, .. } = &options.command {
        plan::check(&source, import.tables.unmapped).await?;
        prepare::run(settings).await?;
    }
    let destination = Destination::open(settings).await?;
    if !matches!(options.command, Command::Verify { .. } | Command::Rollback { dry_run: true, .. }) {
        shut::take_over(&destination).await?;
    }
    Ok(match options.command {
        Command::Plan { .. } | Command::Status => unreachable!("answered above"),
        Command::Import { import } => {
            print(&import::run(&source, &destination, &import.request()).await?, json);
            ExitCode::SUCCESS
        }
        Command::Verify { speed } => {
            let (_, plans) = import::started(&source, &destination).await?;
            let report = verify::run(&source, &destination, &plans, speed.jobs.into()).await?;
            print(&report, json);
            exit::checked(report.equal)
        }
        Command::Sync { r#final, passes, overwrite, speed } => {
            let (import, plans) = import::started(&source, &destination).await?;
            let others = if overwrite { Others::Overwrite } else { Others::Leave };
            let request = SyncRequest { r#final, passes, others, jobs: speed.jobs.into() };
            let synced = sync::run(&source, &destination, &import, &plans, request).await?;
            print(&synced, json);
            ExitCode::SUCCESS
        }
        Command::Rollback { dry_run, component, overwrite, speed } => {
            let request = rollback::RollbackRequest { dry_run, component, overwrite, jobs: speed.jobs.into() };
            let done = rollback::run(&source, &destination, &request).await?;
            print(&done, json);
            exit::checked(done.is_well())
        }
        Command::Cutover { import, backup_dir, skip_backup } => {
            let backup = (!skip_backup).then_some(backup_dir);
            let done = cutover::run(&source, &destination, &import.request(), backup.as_deref()).await?;
            print(&done, json);
            exit::checked(done.is_well())
        }
    })
}

fn print(result: &(impl Serialize + Display), json: bool) {
    exit::print(result, json, || result.to_string());
}
