//! The move from the old single database (AI-Shifu on one MySQL) to a system database and a default tenant, and back.
//!
//! | file | what it is |
//! |---|---|
//! | [`mapping`] | which table goes where: the one list that everything reads |
//! | [`routes`], [`schema`], [`design`] | what both sides have, whether it fits, and the ways that follow |
//! | [`source`], [`destination`], [`prepare`], [`state`] | the two sides, and how far the move has come |
//! | [`direction`], [`work`] | tables on their way to the new system or back, several at once |
//! | [`plan`], [`import`], [`verify`], [`sync`], [`rollback`], [`cutover`] | the commands |
//!
//! **Guarantees.** The source is only read, but for `rollback`. Every value stays what it was: rows travel as the text of the
//! server, into columns that are at least as wide, in sessions that neither cut nor convert. What is odd is reported with
//! the rows and moved as it is; what cannot be moved is refused before anything is touched. Every command may be killed and
//! run again.

mod backup;
mod checks;
mod cutover;
mod design;
mod destination;
mod direction;
mod error;
mod generation;
mod import;
mod mapping;
mod members;
mod plan;
mod prepare;
mod rollback;
mod routes;
mod source;
mod state;
mod sync;
mod verify;
mod work;

pub use error::LegacyError;

use crate::exit;
use clap::{Args, Subcommand};
use destination::Destination;
use import::Wishes;
use kernel::domain::DomainName;
use kernel::process::config::Settings;
use kernel::process::telemetry::{Exposed, names};
use mapping::Place;
use members::AdminsBecome;
use routes::Unmapped;
use serde::Serialize;
use source::Source;
use std::fmt::Display;
use std::net::SocketAddr;
use std::process::ExitCode;

/// Move the old AI-Shifu database in, and back.
///
/// The source is the setting LEGACY_DB_URL (mysql://user:password@host:port/database), never an argument: others on the machine
/// could read it. The destination is that of the services: SYSTEM_DB_URL and TENANT_DB_ADMIN_URL.
///
/// Rights on the source: SELECT on its tables, and LOCK TABLES, by which several connections read the same moment (without it
/// one connection reads, and `sync --final` is not possible). `rollback` also needs INSERT and DELETE, and the backup of `cutover`
/// SHOW VIEW if there are views.
#[derive(Args)]
#[command(after_help = "The usual order:
  provisioner legacy plan                 # reads only; says what is odd
  provisioner legacy import               # can be killed and run again
  provisioner legacy verify
  provisioner legacy sync                 # as often as you like, while the old system works
  provisioner legacy cutover              # all of it, with a backup before and a switch at the end
  provisioner legacy rollback --dry-run   # the way back

Exit codes:
  0  done; verify: equal
  1  failed on the way (the reason is on standard error); run the same command again, it goes on where it was
  2  wrong usage
  3  refused: source, destination or settings are not what is needed; nothing was touched
  4  looked and found something wrong: plan (the move is impossible), verify (not equal), cutover and rollback (not verified)")]
pub struct Options {
    #[command(subcommand)]
    command: Command,
    /// Print the result as JSON, on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// Answer GET /metrics here (such as 127.0.0.1:9101) while the command runs, and once more after its end (it waits a minute for
    /// that at most).
    #[arg(long, global = true, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

#[derive(Subcommand)]
enum Command {
    /// Say what would be moved where, what is odd about it, and how long it may take. Reads the source only.
    Plan {
        #[command(flatten)]
        tables: TableOptions,
        /// Of each problem, name so many rows at most, the first ones.
        #[arg(long, value_name = "N", default_value_t = checks::NAMED)]
        ids: u32,
    },
    /// Bring everything over, from one moment of the source. Goes on where a killed import was; a second run changes nothing.
    Import {
        #[command(flatten)]
        import: ImportOptions,
    },
    /// Compare both sides: rows and checksums of every table, members, references. Changes nothing.
    Verify {
        #[command(flatten)]
        speed: SpeedOptions,
    },
    /// Bring over what changed in the source since. Compares every row, so deletions arrive too.
    Sync {
        /// Lock the source against writing for a last pass; unlocked when the command ends. Stop the old application first.
        #[arg(long)]
        r#final: bool,
        /// Passes at most: they end when one finds nothing more.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        passes: u32,
        #[command(flatten)]
        speed: SpeedOptions,
    },
    /// Take rows back into the old database: what was written, changed and removed in the new system since the cut-over.
    ///
    /// The default tenant is put into maintenance first. Rows of users who belong to other tenants only stay. Refused when
    /// the old database was written to since the cut-over, as those rows would be lost: --overwrite accepts that.
    Rollback {
        /// Show what would go back, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// What is rolled back.
        #[arg(long, value_enum, default_value_t)]
        component: rollback::Component,
        /// Also where the old database was written to since the cut-over.
        #[arg(long)]
        overwrite: bool,
        #[command(flatten)]
        speed: SpeedOptions,
    },
    /// Backup, plan, import, sync, verify, switch and health check as one command; stops with the way back when one fails.
    Cutover {
        #[command(flatten)]
        import: ImportOptions,
        /// Where the dump of the source goes (made by mariadb-dump or mysqldump).
        #[arg(long, default_value = "legacy-backup", conflicts_with = "skip_backup")]
        backup_dir: std::path::PathBuf,
        /// There is a backup already.
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
    /// Tables in work at once, each with a connection to the source and three to the destination.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,
}

#[derive(Args)]
struct ImportOptions {
    #[command(flatten)]
    tables: TableOptions,
    #[command(flatten)]
    speed: SpeedOptions,
    /// A domain of the old installation, which the default tenant gets; may be given several times.
    #[arg(long = "domain")]
    domains: Vec<DomainName>,
    /// Role in the default tenant of users whom the old system called administrators.
    #[arg(long, value_enum, default_value_t)]
    admins: AdminsBecome,
}

impl ImportOptions {
    fn wishes(self) -> Wishes {
        Wishes {
            unmapped: self.tables.unmapped,
            admins: self.admins,
            domains: self.domains,
            jobs: self.speed.jobs.into(),
        }
    }
}

/// Runs a command and says how it ended.
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
    let code = command(settings, options).await.unwrap_or_else(|error| {
        metrics::counter!(names::IMPORT_FAILURES, "reason" => error.reason()).increment(1);
        exit::failed(&error, error.exit_code())
    });
    if let Some(exposed) = exposed {
        exposed.end().await;
    }
    code
}

async fn command(settings: &Settings, options: Options) -> Result<ExitCode, LegacyError> {
    let json = options.json;
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
    Ok(match options.command {
        Command::Plan { .. } => unreachable!("answered above"),
        Command::Import { import } => {
            print(&import::run(&source, &destination, &import.wishes()).await?, json);
            ExitCode::SUCCESS
        }
        Command::Verify { speed } => {
            let (_, routing) = begun(&source, &destination).await?;
            let report = verify::run(&source, &destination, &routing, speed.jobs.into()).await?;
            print(&report, json);
            exit::checked(report.equal)
        }
        Command::Sync { r#final, passes, speed } => {
            let (import, routing) = begun(&source, &destination).await?;
            let synced =
                sync::run(&source, &destination, &import, &routing, r#final, passes, speed.jobs.into()).await?;
            print(&synced, json);
            ExitCode::SUCCESS
        }
        Command::Rollback { dry_run, component, overwrite, speed } => {
            let wishes = rollback::Wishes { dry_run, component, overwrite, jobs: speed.jobs.into() };
            let done = rollback::run(&source, &destination, &wishes).await?;
            print(&done, json);
            exit::checked(done.is_well())
        }
        Command::Cutover { import, backup_dir, skip_backup } => {
            let backup = (!skip_backup).then_some(backup_dir);
            let done = cutover::run(&source, &destination, &import.wishes(), backup.as_deref()).await?;
            print(&done, json);
            exit::checked(done.is_well())
        }
    })
}

/// Where the move stands, and the ways of its tables; refused before an import.
async fn begun(source: &Source, destination: &Destination) -> Result<(state::Import, routes::Routing), LegacyError> {
    let before = state::read(&mut destination.connect(Place::System).await?).await?;
    let Some(before) = before else {
        return Err(LegacyError::Refused("nothing was imported yet: run `provisioner legacy import`".into()));
    };
    let routing = import::routing(source, destination, before.unmapped, Some(&before)).await?;
    Ok((before, routing))
}

fn print(result: &(impl Serialize + Display), json: bool) {
    exit::print(result, json, || result.to_string());
}
