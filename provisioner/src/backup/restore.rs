//! `provisioner restore`: asks for the job that restores, and works on it.
//!
//! The job is the provisioners' as any other, so the command may be killed at any moment: a running provisioner goes on with it, and so does
//! the same command when it is given again.

use super::choice::choose;
use super::command::{Setting, server, servers, tell, unknown_server};
use super::elsewhere;
use super::error::{BackupError, FAILED};
use super::manifest::Kept;
use super::prune::Retention;
use super::store::Subject;
use super::system;
use super::wish::Wish;
use crate::sagas::Tools;
use crate::worker::Worker;
use chrono::{DateTime, Utc};
use clap::Args;
use kernel::domain::{Command, Tenant, TenantId, TenantState};
use kernel::error::chain;
use kernel::jobs::{self, JobKind, Lane, NewJob};
use kernel::process::config::Settings;
use kernel::store::Plan;
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

pub(super) const ACTOR: &str = "restore";

/// Between two looks at the job.
const LOOK: Duration = Duration::from_millis(200);

/// Put a backup in the place of a tenant's data, make a tenant out of one, or bring a lost system database back.
///
/// In place: a tenant in service is put into maintenance for it. The backup is loaded beside the data in use, every table is compared with
/// what was backed up, and then the tables change places at once. What is in the database now is gone afterwards: take a
/// backup of it before, if it may be wanted. Members, domains and the configuration stay what the events say. Views, routines, triggers and
/// events come back too, and are the restoring account's from then on (their definer).
///
/// On another server (--server without --as): for a tenant whose own server is lost. What stands there is given up; whatever
/// operation of the tenant was stuck there is ended as failed.
#[derive(Args)]
#[command(after_help = "Examples:
  provisioner restore acme                              # the newest backup, in place
  provisioner restore acme --at 2026-11-01T00:00:00Z    # as it was then, or shortly before
  provisioner restore acme --as acme-copy               # as a new tenant, without members and domains
  provisioner restore acme --as acme-copy --members     # and whoever is a member of acme now becomes one of it
  provisioner restore acme --as acme-copy --server eu2  # on another database server
  provisioner restore acme --server eu2                 # its server is lost: acme itself, on another one
  provisioner restore --all-of main --server eu2        # the same for all tenants of a lost server
  provisioner restore --system                          # into an empty system database

Exit codes:
  0  done
  1  failed (the reason is on standard error); the data in use is what it was. After a kill, run it again: it goes on
  2  wrong usage
  3  refused: a setting, the tenant or the backup is not what is needed; nothing was touched
  4  the backup does not open; nothing was touched")]
pub struct RestoreOptions {
    /// Whose backup.
    #[arg(required_unless_present_any = ["system", "all_of"], conflicts_with_all = ["system", "all_of"])]
    tenant_id: Option<TenantId>,
    /// The system database, which must be empty. SYSTEM_DB_URL is the account that migrates.
    #[arg(long, conflicts_with_all = ["new_id", "server", "name"])]
    system: bool,
    /// All tenants of this database server, which is lost: on the one that --server names. No tenant is placed on it any more.
    #[arg(long, value_name = "LOST", requires = "server", conflicts_with_all = ["system", "new_id"])]
    all_of: Option<String>,
    /// Make this new tenant out of it.
    #[arg(long = "as", value_name = "NEW_ID")]
    new_id: Option<TenantId>,
    /// The newest data up to this time (RFC 3339); without it, the newest.
    #[arg(long, value_name = "TIME")]
    at: Option<DateTime<Utc>>,
    /// On which database server; without it, where the tenant is, or was when the backup was taken.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Go on although the server that is given up answers and has the tenant's database: it is left there, locked.
    #[arg(long, requires = "server", conflicts_with = "new_id")]
    abandon: bool,
    /// Give the new tenant the members of the other one, with their roles. Domains belong to one tenant, and stay where they are.
    #[arg(long, requires = "new_id")]
    members: bool,
    /// Name of the new tenant, for people; without it, the name of the other one.
    #[arg(long, requires = "new_id")]
    name: Option<String>,
    /// Print the result as JSON, on standard output.
    #[arg(long)]
    json: bool,
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

/// Runs the command and says how it ended.
pub async fn run(settings: &Settings, options: RestoreOptions) -> ExitCode {
    match command(settings, options).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("provisioner: {}", chain(&error));
            error.exit_code()
        }
    }
}

async fn command(settings: &Settings, options: RestoreOptions) -> Result<ExitCode, BackupError> {
    let setting = Setting::read(settings)?;
    if let (Some(lost), Some(to)) = (&options.all_of, &options.server) {
        let wanted = elsewhere::Wanted { server: to, at: options.at, abandon: options.abandon };
        return elsewhere::all(settings, &setting, lost, wanted, options.json).await;
    }
    let Some(source) = options.tenant_id.clone() else {
        let kept = choose(&setting.backups, &Subject::System, options.at).await?;
        system::restore(&setting, &kept).await?;
        tell(&kept.manifest, options.json, || system::next_steps(&kept.manifest));
        return Ok(ExitCode::SUCCESS);
    };
    let subject = Subject::Tenant(source.clone());
    let kept = choose(&setting.backups, &subject, options.at).await?;
    // Before anything is touched: does it open?
    kept.open(&setting.keys)?;
    let patience = settings.seconds("JOB_PATIENCE")?;
    let (tenant_id, operation_id, server_id) = match (&options.new_id, &options.server) {
        (None, None) => in_place(&setting, &source, &subject, &kept, patience).await?,
        (None, Some(server)) => {
            let wanted = elsewhere::Wanted { server, at: options.at, abandon: options.abandon };
            let operation_id = elsewhere::ask(settings, &setting, &source, &kept, wanted).await?;
            (source.clone(), operation_id, server.clone())
        }
        (Some(new_id), _) => as_new(settings, &setting, new_id, &source, &kept, patience, &options).await?,
    };
    eprintln!("restoring the backup {} of {subject}: operation {operation_id}", kept.manifest.backup_id);
    let ended = work(settings, &setting, &server_id, operation_id).await?;
    if let Some(error) = ended {
        eprintln!("provisioner: the restore failed: {error}");
        return Ok(ExitCode::from(FAILED));
    }
    let tenant = setting.store.tenant(&tenant_id).await?;
    let state = tenant.ok_or_else(|| BackupError::Refused("the tenant has vanished".into()))?.state;
    let done = Done {
        tenant_id,
        backup_id: kept.manifest.backup_id.clone(),
        taken_at: kept.manifest.taken_at,
        rows: kept.manifest.rows(),
        tables: kept.manifest.tables.len(),
        operation_id,
        state,
    };
    tell(&done, options.json, || {
        let Done { tenant_id, backup_id, rows, tables, state, .. } = &done;
        format!("tenant {tenant_id} has the data of {backup_id}: {tables} tables, {rows} rows, compared; it is {state}")
    });
    Ok(ExitCode::SUCCESS)
}

/// Asks for the job, or finds the one that was asked for before.
async fn in_place(
    setting: &Setting,
    id: &TenantId,
    subject: &Subject,
    kept: &Kept,
    patience: Duration,
) -> Result<(TenantId, Uuid, String), BackupError> {
    let mut unit = setting.store.begin().await?;
    let tenant = unit.tenant(id).await?;
    let tenant = tenant.ok_or_else(|| BackupError::Refused(format!("there is no tenant {id}")))?;
    let server = tenant.database.server.clone();
    if let Some(operation_id) = under_way(&mut unit, id, JobKind::Restore).await? {
        return Ok((id.clone(), operation_id, server));
    }
    let ends_maintenance = match tenant.state {
        TenantState::Active => true,
        TenantState::Maintenance | TenantState::Suspended | TenantState::Deleted => false,
        state => {
            return Err(BackupError::Refused(format!(
                "tenant {id} is {state} and has no database to restore: restore it as a new tenant with --as"
            )));
        }
    };
    if ends_maintenance {
        unit.execute(id, ACTOR, Command::SetMaintenance { enabled: true }).await?;
    }
    let job = NewJob::for_tenant(JobKind::Restore, id, &server, patience);
    let operation_id = jobs::enqueue(unit.connection(), &[job]).await?[0];
    let wish = Wish {
        subject: subject.clone(),
        backup_id: Some(kept.manifest.backup_id.clone()),
        ends_maintenance,
        members: false,
        restored: None,
    };
    wish.keep(unit.connection(), operation_id).await?;
    unit.commit().await?;
    Ok((id.clone(), operation_id, server))
}

async fn as_new(
    settings: &Settings,
    setting: &Setting,
    new_id: &TenantId,
    source: &TenantId,
    kept: &Kept,
    patience: Duration,
    options: &RestoreOptions,
) -> Result<(TenantId, Uuid, String), BackupError> {
    let mut unit = setting.store.begin().await?;
    if let Some(there) = unit.tenant(new_id).await? {
        return match under_way(&mut unit, new_id, JobKind::RestoreNew).await? {
            Some(operation_id) => Ok((new_id.clone(), operation_id, there.database.server)),
            None => Err(BackupError::Refused(format!("the tenant {new_id} exists: choose another id for the new one"))),
        };
    }
    let original: Option<Tenant> = unit.tenant(source).await?;
    let server_id = options.server.clone().unwrap_or_else(|| kept.manifest.server.clone());
    server(settings, &server_id)?;
    let known: Option<(String,)> = sqlx::query_as("SELECT server_id FROM saas_database_servers WHERE server_id = ?")
        .bind(&server_id)
        .fetch_optional(unit.connection())
        .await?;
    if known.is_none() {
        return Err(BackupError::Refused(format!("no provisioner has registered a database server {server_id}")));
    }
    let plan = original.as_ref().map_or("basic", |tenant| tenant.plan_type.as_str());
    let plan_type = if Plan::use_by_tenant(unit.connection(), plan).await? { plan } else { "basic" };
    let name = options.name.clone().or_else(|| original.as_ref().map(|tenant| tenant.tenant_name.clone()));
    let create = Command::Create {
        tenant_name: name.unwrap_or_else(|| new_id.to_string()),
        domain: None,
        plan_type: plan_type.to_owned(),
        server: server_id.clone(),
        max_connections: kernel::store::installation::default_connections(unit.connection()).await?,
    };
    unit.execute(new_id, ACTOR, create).await?;
    let job = NewJob::for_tenant(JobKind::RestoreNew, new_id, &server_id, patience);
    let operation_id = jobs::enqueue(unit.connection(), &[job]).await?[0];
    let wish = Wish {
        subject: Subject::Tenant(source.clone()),
        backup_id: Some(kept.manifest.backup_id.clone()),
        ends_maintenance: false,
        members: options.members,
        restored: None,
    };
    wish.keep(unit.connection(), operation_id).await?;
    unit.commit().await?;
    Ok((new_id.clone(), operation_id, server_id))
}

/// The tenant's restore that was asked for before; another operation is in the way.
async fn under_way(
    unit: &mut kernel::store::UnitOfWork,
    id: &TenantId,
    kind: JobKind,
) -> Result<Option<Uuid>, BackupError> {
    let Some(operation_id) = jobs::active_operation(unit.connection(), id).await? else { return Ok(None) };
    let operation = jobs::find(unit.connection(), operation_id).await?;
    match operation {
        Some(operation) if operation.kind == kind.as_str() => Ok(Some(operation_id)),
        _ => Err(BackupError::Refused(format!("another operation of tenant {id} is in work: {operation_id}"))),
    }
}

/// Works on the job until it has ended, or waits for whoever else does; returns why it failed.
pub(super) async fn work(
    settings: &Settings,
    setting: &Setting,
    server_id: &str,
    operation_id: Uuid,
) -> Result<Option<String>, BackupError> {
    let servers: Arc<[_]> = servers(settings)?.into_iter().map(Arc::new).collect();
    let server = servers.iter().find(|server| server.id == server_id).cloned();
    let server = server.ok_or_else(|| unknown_server(server_id))?;
    let tools = Tools {
        store: setting.store.clone(),
        keys: setting.keys.clone(),
        server,
        servers,
        installation: setting.installation().await?,
        account_host: settings.get("TENANT_ACCOUNT_HOST")?,
        backups: Some(setting.backups.clone()),
        retention: Retention::from_settings(settings)?,
        backup_before_purge: None,
    };
    let worker = Worker {
        tools: Arc::new(tools),
        lane: Lane::Ordinary,
        owner: format!("restore:{}:{}", std::process::id(), Uuid::new_v4()),
        lease: settings.seconds("JOB_LEASE")?,
        doorbell: Arc::new(Notify::new()),
    };
    let pool = setting.store.pool();
    loop {
        let operation = jobs::find(&mut *pool.acquire().await?, operation_id).await?;
        let operation = operation.ok_or_else(|| BackupError::Refused("the operation has vanished".into()))?;
        match operation.status.as_str() {
            "succeeded" => return Ok(None),
            "failed" => return Ok(Some(operation.error.unwrap_or_default())),
            _ => {}
        }
        match jobs::claim_one(pool, server_id, operation_id, &worker.owner, worker.lease).await? {
            Some(lease) => worker.work(lease).await,
            None => tokio::time::sleep(LOOK).await,
        }
        setting.keys.tell_count(pool).await?;
    }
}
