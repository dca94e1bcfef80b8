//! `provisioner restore`: requests the job that restores, and works on it.
//!
//! The command may be killed at any moment. The job is like any other: a running provisioner continues it, and so does
//! the same command when it is run again.

mod as_new;
mod in_place;
mod lost;
mod recover;
mod request;
mod work;

use super::setup::Setup;
use crate::backup::{Access, BackupError, Subject, choose, next_steps, restore_system};
use crate::exit::{self, FAILED};
use chrono::{DateTime, Utc};
use clap::Args;
use kernel::domain::{InvisibleText, LONGEST_NAME, TenantId, TenantState, VisibleText};
use kernel::process::config::Settings;
use lost::LostServers;
use serde::Serialize;
use std::process::ExitCode;
use uuid::Uuid;
use work::{work, worker};

/// The actor of the events that these commands append.
const ACTOR: &str = "restore";

/// Replace a tenant's data with a backup, create a tenant from a backup, or restore a lost system database.
///
/// In place: a tenant in service is put into maintenance. The backup is loaded beside the data in use, every table is
/// compared with the backup, and then the tables change places at once. What is in the database now is gone afterwards:
/// take a backup of it first if you may need it. Members, domains and the configuration stay as the events say. Views,
/// routines, triggers and scheduled events come back too, with the restoring account as their definer.
///
/// On another server (--server without --as): for a tenant whose own server is lost. The data on the lost server is
/// given up, and an operation of the tenant that is stuck there ends as failed.
#[derive(Args)]
#[command(after_help = "Examples:
  provisioner restore acme                              # the newest backup, in place
  provisioner restore acme --at 2026-11-01T00:00:00Z    # as it was then, or shortly before
  provisioner restore acme --as acme-copy               # as a new tenant, without members and domains
  provisioner restore acme --as acme-copy --members     # with the present members of acme
  provisioner restore acme --as acme-copy --server eu2  # on another database server
  provisioner restore acme --server eu2                 # its server is lost: acme itself, on another one
  provisioner restore --all-of main --server eu2        # the same for all tenants of a lost server
  provisioner restore --system                          # into an empty system database

Exit codes:
  0  done
  1  failed (the reason is on standard error); the data in use is unchanged. After a kill, run it again: it continues
  2  wrong usage
  3  refused: a setting, the tenant or the backup is not what is needed; nothing was changed
  4  the backup does not open; nothing was changed")]
pub struct RestoreOptions {
    /// The tenant whose backup is restored.
    #[arg(required_unless_present_any = ["system", "all_of"], conflicts_with_all = ["system", "all_of"])]
    tenant_id: Option<TenantId>,
    /// Restore the system database, which must be empty. SYSTEM_DB_URL must name the account that migrates.
    #[arg(long, conflicts_with_all = ["new_id", "server", "name"])]
    system: bool,
    /// Restore all tenants of this lost database server on the one that --server names. No new tenant is placed on the
    /// lost server.
    #[arg(long, value_name = "LOST", requires = "server", conflicts_with_all = ["system", "new_id"])]
    all_of: Option<String>,
    /// Create this new tenant from the backup.
    #[arg(long = "as", value_name = "NEW_ID", value_parser = TenantId::new)]
    new_id: Option<TenantId>,
    /// Restore the newest data up to this time (RFC 3339). Without it, the newest data.
    #[arg(long, value_name = "TIME")]
    at: Option<DateTime<Utc>>,
    /// The database server. Without it, the one where the tenant is, or was when the backup was taken.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Continue although the lost server answers and has the tenant's database, which stays there, locked.
    #[arg(long, requires = "server", conflicts_with = "new_id")]
    abandon: bool,
    /// Give the new tenant the members of the original one, with their roles. Domains stay with the original tenant.
    #[arg(long, requires = "new_id")]
    members: bool,
    /// Display name of the new tenant. Without it, the name of the original one.
    #[arg(long, requires = "new_id", value_parser = name)]
    name: Option<String>,
    /// Print the result as JSON, on standard output.
    #[arg(long)]
    json: bool,
}

/// A tenant's name in the argument `--name`.
fn name(text: &str) -> Result<String, InvisibleText> {
    VisibleText::within(text, 1..=LONGEST_NAME).map(VisibleText::into_string)
}

#[derive(Serialize)]
struct Done {
    tenant_id: TenantId,
    backup_id: String,
    taken_at: DateTime<Utc>,
    rows: u64,
    tables: usize,
    operation_id: Uuid,
    state: TenantState,
}

/// Runs the command; returns the exit code of the process.
pub async fn run(settings: &Settings, options: RestoreOptions) -> ExitCode {
    exit::of(command(settings, options).await, BackupError::exit_code)
}

async fn command(settings: &Settings, options: RestoreOptions) -> Result<ExitCode, BackupError> {
    let setup = Setup::read(settings)?;
    if !options.system {
        setup.check_owner(Access::Read).await?;
    }
    if let (Some(lost), Some(to)) = (&options.all_of, &options.server) {
        let wanted = recover::Wanted { server: to, at: options.at, abandon: options.abandon };
        return recover::all(settings, &setup, lost, wanted, options.json).await;
    }
    let Some(source) = options.tenant_id.clone() else {
        let stored = choose(&setup.backups, &Subject::System, options.at).await?;
        restore_system(&setup.backups, &setup.keys, &setup.system_url, &stored).await?;
        exit::print(&stored.manifest, options.json, || next_steps(&stored.manifest));
        return Ok(ExitCode::SUCCESS);
    };
    let subject = Subject::Tenant(source.clone());
    let stored = choose(&setup.backups, &subject, options.at).await?;
    // A backup that does not open is refused before anything is changed.
    stored.open(&setup.keys)?;
    let patience = settings.seconds("JOB_PATIENCE")?;
    let (tenant_id, operation_id, server_id) = match (&options.new_id, &options.server) {
        (None, None) => in_place::request(&setup, &source, &subject, &stored, patience).await?,
        (None, Some(server)) => {
            let wanted = recover::Wanted { server, at: options.at, abandon: options.abandon };
            let mut servers = LostServers::new(settings)?;
            let operation_id = recover::request(settings, &setup, &mut servers, &source, &stored, wanted).await?;
            (source.clone(), operation_id, server.clone())
        }
        (Some(new_id), _) => {
            let request = || as_new::request(settings, &setup, new_id, &source, &stored, patience, &options);
            match request().await {
                // Another command has requested the same at the same moment; there was no row to wait for yet.
                Err(BackupError::Command(error)) if error.is_conflict() => request().await?,
                requested => requested?,
            }
        }
    };
    eprintln!("restoring the backup {} of {subject}: operation {operation_id}", stored.manifest.backup_id);
    let ended = work(&setup, &worker(settings, &setup, &server_id).await?, operation_id).await?;
    if let Some(error) = ended {
        eprintln!("provisioner: the restore failed: {error}");
        return Ok(ExitCode::from(FAILED));
    }
    let tenant = setup.store.tenant(&tenant_id).await?;
    let state = tenant.ok_or_else(|| BackupError::Refused(format!("the tenant {tenant_id} has disappeared")))?.state;
    let done = Done {
        tenant_id,
        backup_id: stored.manifest.backup_id.clone(),
        taken_at: stored.manifest.taken_at,
        rows: stored.manifest.rows(),
        tables: stored.manifest.tables.len(),
        operation_id,
        state,
    };
    exit::print(&done, options.json, || {
        let Done { tenant_id, backup_id, rows, tables, state, .. } = &done;
        format!("tenant {tenant_id} has the data of {backup_id}: {tables} tables, {rows} rows, compared; it is {state}")
    });
    Ok(ExitCode::SUCCESS)
}
