//! `provisioner backup`: takes, lists, checks, prints and removes backups.

mod export;
mod list;
mod reseal;
mod verify;

use super::setup::Setup;
use crate::backup::catalogue::{self, Writer};
use crate::backup::{Access, BackupError, Manifest, Retention, Subject, Taker, UNFINISHED_HOURS, prune};
use crate::exit;
use crate::server::Server;
use clap::{Args, Subcommand};
use kernel::database;
use kernel::domain::TenantId;
use kernel::process::config::{Settings, wrong};
use std::process::ExitCode;

/// Take, list, check and remove backups.
///
/// A backup holds one moment of a database in service. It is compressed, sealed under the key ring, and stored in the
/// store that BACKUP_STORE names (file:///directory or s3://bucket/prefix). Only the ring that sealed it can open it:
/// store ENCRYPTION_KEYS in a second place.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  provisioner backup acme                 # of one tenant
  provisioner backup --system             # of the system database
  provisioner backup list --json
  provisioner backup verify               # reads all backups and opens every chunk
  provisioner backup export acme > acme.sql
  provisioner backup prune --dry-run      # shows what retention would remove
  provisioner backup reseal               # seals with the primary key, before an old key retires

Exit codes:
  0  done
  1  failed on the way (the reason is on standard error); run it again
  2  wrong usage
  3  refused: a setting, the tenant or the backup is not what is needed; nothing was changed
  4  found something wrong: a backup that is damaged or does not open"
)]
pub struct BackupOptions {
    /// The tenant to back up.
    #[arg(required_unless_present = "system", conflicts_with = "system")]
    tenant_id: Option<TenantId>,
    /// Back up the system database.
    #[arg(long)]
    system: bool,
    /// Print the result as JSON, on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Show what is in the store. Data without a manifest is an unfinished backup.
    List {
        /// Only backups of this tenant.
        tenant_id: Option<TenantId>,
    },
    /// Read whole backups and open every chunk: all backups, those of a tenant, or those of the system database.
    Verify {
        /// Only backups of this tenant.
        tenant_id: Option<TenantId>,
        /// Only backups of the system database.
        #[arg(long, conflicts_with = "tenant_id")]
        system: bool,
    },
    /// Print the newest backup as SQL, for any client of the server, such as `mariadb --binary-mode --comments`.
    /// Without these options that client changes texts. The output holds the data in the clear.
    Export {
        /// The tenant.
        #[arg(required_unless_present = "system", conflicts_with = "system")]
        tenant_id: Option<TenantId>,
        /// The system database.
        #[arg(long)]
        system: bool,
    },
    /// Seal the keys of all backups with the primary key of the ring.
    Reseal,
    /// Remove unfinished files, and backups that are older than BACKUP_KEEP_DAYS, except the newest BACKUP_KEEP_LAST of
    /// each tenant.
    Prune {
        /// Show what would be removed, and remove nothing.
        #[arg(long)]
        dry_run: bool,
        /// Remove unfinished files that are older than so many hours. No process may still be writing them.
        #[arg(long, default_value_t = UNFINISHED_HOURS)]
        unfinished_hours: u32,
    },
}

/// Runs the command; returns the exit code of the process.
pub async fn run(settings: &Settings, options: BackupOptions) -> ExitCode {
    exit::of(command(settings, options).await, BackupError::exit_code)
}

async fn command(settings: &Settings, options: BackupOptions) -> Result<ExitCode, BackupError> {
    let json = options.json;
    let setup = Setup::read(settings)?;
    setup.check_owner(access(options.command.as_ref())).await?;
    match options.command {
        None => {
            let manifest = take(settings, &setup, options.tenant_id).await?;
            let mut connection = setup.store.pool().acquire().await?;
            catalogue::add(&mut connection, &manifest, setup.keys.primary_id()).await?;
            drop(connection);
            setup.keys.report_count(setup.store.pool()).await?;
            exit::print(&manifest, json, || list::line(&manifest));
            for what in &manifest.left_out {
                eprintln!("warning: not in the backup: {what}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::List { tenant_id }) => list::run(&setup, tenant_id.map(Subject::Tenant).as_ref(), json).await,
        Some(Command::Verify { tenant_id, system }) => {
            let of = tenant_id.map(Subject::Tenant).or(system.then_some(Subject::System));
            verify::run(&setup, of.as_ref(), json).await
        }
        Some(Command::Export { tenant_id, .. }) => {
            export::run(&setup, &tenant_id.map_or(Subject::System, Subject::Tenant)).await
        }
        Some(Command::Reseal) => reseal::run(&setup).await,
        Some(Command::Prune { dry_run, unfinished_hours }) => {
            let retention = Retention::from_settings(settings)?;
            let pruned =
                prune(&setup.backups, &setup.store, Writer::Command, retention, unfinished_hours, dry_run).await?;
            exit::print(&pruned, json, || {
                let all = pruned.backups.iter().chain(&pruned.unfinished);
                let done = if dry_run { "would be removed" } else { "removed" };
                let mut lines: Vec<String> = all.map(|what| format!("{what} {done}")).collect();
                lines.push(format!("{} backups, {} unfinished files", pruned.backups.len(), pruned.unfinished.len()));
                lines.join("\n")
            });
            for what in &pruned.failed {
                eprintln!("not removed: {what}");
            }
            Ok(if pruned.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
        }
    }
}

/// What the command does with the store. A new backup is taken if no subcommand is given.
fn access(command: Option<&Command>) -> Access {
    match command {
        Some(Command::List { .. } | Command::Verify { .. } | Command::Export { .. }) => Access::Read,
        Some(Command::Prune { dry_run: true, .. }) => Access::Read,
        None | Some(Command::Reseal | Command::Prune { .. }) => Access::Write,
    }
}

async fn take(settings: &Settings, setup: &Setup, of: Option<TenantId>) -> Result<Manifest, BackupError> {
    let installation = setup.installation().await?;
    let taker = Taker { backups: &setup.backups, keys: &setup.keys, store: &setup.store, installation: &installation };
    let Some(tenant_id) = of else {
        let options = database::options(&setup.system_url).map_err(|error| wrong("SYSTEM_DB_URL", error))?;
        return taker.system(&options).await;
    };
    let tenant = setup.store.tenant(&tenant_id).await?;
    let tenant = tenant.ok_or_else(|| BackupError::Refused(format!("there is no tenant {tenant_id}")))?;
    taker.tenant(&Server::named(settings, &tenant.database.server)?, &tenant).await
}
