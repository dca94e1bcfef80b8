//! `provisioner restore --server`: recovers tenants of a lost database server on another one.
//!
//! The request is one transaction. From then on nodes refuse the tenant, and an operation that was stuck on the lost
//! server is ended, because no worker can finish or undo it there. The job does the work ([`crate::sagas`]), so the
//! command may be killed at any moment and run again.

use super::ACTOR;
use super::lost::LostServers;
use super::request::{begin, enqueue, is_of};
use super::work::{work, worker};
use crate::backup::{BackupError, BackupJob, StoredBackup, Subject, choose};
use crate::commands::setup::Setup;
use crate::exit::{self, FAILED};
use crate::sagas::forget_rotation;
use crate::server::{Found, Marker, Server, find};
use chrono::{DateTime, Utc};
use kernel::domain::{Command, Position, Tenant, TenantId, TenantState};
use kernel::error::chain;
use kernel::jobs::{self, JobKind, NewJob};
use kernel::process::config::Settings;
use kernel::store::{TenantFilter, UnitOfWork};
use serde::Serialize;
use std::process::ExitCode;
use uuid::Uuid;

/// Tenants of one page.
const PAGE: u32 = 500;

/// The choices of the operator.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The server that the tenants come back on.
    pub server: &'a str,
    /// The newest data up to this time.
    pub at: Option<DateTime<Utc>>,
    /// Continue although the lost server answers and has the tenant's database.
    pub abandon: bool,
}

/// Requests the job, or finds the one that an earlier command has requested.
pub async fn request(
    settings: &Settings,
    setup: &Setup,
    lost: &mut LostServers,
    id: &TenantId,
    stored: &StoredBackup,
    wanted: Wanted<'_>,
) -> Result<Uuid, BackupError> {
    Server::named(settings, wanted.server)?;
    if !wanted.abandon {
        refuse_if_present(lost, setup, id, wanted.server).await?;
    }
    let mut unit = begin(&setup.store, id).await?;
    let tenant = unit.tenant(id).await?.ok_or_else(|| BackupError::Refused(format!("there is no tenant {id}")))?;
    if let Some(operation_id) = end_stuck_operation(&mut unit, &tenant, wanted.server).await? {
        is_of(&mut unit, operation_id, &stored.manifest.backup_id).await?;
        return Ok(operation_id);
    }
    if tenant.database.server == wanted.server {
        return Err(BackupError::Refused(format!("tenant {id} is on {} already: leave --server out", wanted.server)));
    }
    if !tenant.has_database() {
        return Err(BackupError::Refused(format!(
            "tenant {id} is {} and has no database to restore: restore it as a new tenant with --as",
            tenant.state
        )));
    }
    let commands = [Command::CancelMove, Command::StartMove { server: wanted.server.to_owned() }];
    unit.execute_all(id, ACTOR, commands).await?;
    let patience = settings.seconds("JOB_PATIENCE")?;
    let job = NewJob::for_tenant(JobKind::RestoreElsewhere, id, wanted.server, patience);
    let row = BackupJob {
        subject: Subject::Tenant(id.clone()),
        backup_id: Some(stored.manifest.backup_id.clone()),
        ends_maintenance: false,
        members: false,
        restored: None,
    };
    enqueue(unit, job, &row).await
}

/// Ends an operation that is stuck on the lost server. Returns the recovery itself, if an earlier command has requested
/// it.
async fn end_stuck_operation(unit: &mut UnitOfWork, tenant: &Tenant, to: &str) -> Result<Option<Uuid>, BackupError> {
    let (id, lost) = (&tenant.tenant_id, &tenant.database.server);
    let Some(operation_id) = jobs::active_operation(unit.connection(), id).await? else { return Ok(None) };
    let (kind, server): (String, String) =
        sqlx::query_as("SELECT kind, server_id FROM saas_operations WHERE operation_id = ? FOR UPDATE")
            .bind(operation_id.to_string())
            .fetch_one(unit.connection())
            .await?;
    match kind.parse() {
        Ok(JobKind::RestoreElsewhere) if server == to => return Ok(Some(operation_id)),
        // Also a move that has brought the tenant to the server that is lost now.
        Ok(JobKind::Move | JobKind::FinishMove) => {}
        Ok(JobKind::Rotate | JobKind::Restore) if server == *lost => {}
        _ => {
            return Err(BackupError::Refused(format!("another operation of tenant {id} is under way: {operation_id}")));
        }
    }
    let began: Option<(bool,)> =
        sqlx::query_as("SELECT ends_maintenance <> 0 FROM saas_backup_jobs WHERE operation_id = ?")
            .bind(operation_id.to_string())
            .fetch_optional(unit.connection())
            .await?;
    if began.is_some_and(|(began,)| began) && tenant.state == TenantState::Maintenance {
        unit.execute(id, ACTOR, Command::SetMaintenance { enabled: false }).await?;
    }
    forget_rotation(unit.connection(), id).await?;
    let reason = format!("database server {lost} was given up: the tenant is restored on {to}");
    jobs::give_up(unit.connection(), operation_id, &reason).await?;
    Ok(None)
}

/// Refuses if the lost server answers and has the tenant's database: a move loses nothing, and a backup lacks what is
/// newer.
async fn refuse_if_present(
    lost: &mut LostServers,
    setup: &Setup,
    id: &TenantId,
    wanted: &str,
) -> Result<(), BackupError> {
    let Some(tenant) = setup.store.tenant(id).await? else { return Ok(()) };
    let server = &tenant.database.server;
    if server == wanted {
        return Ok(());
    }
    let Some((former, mut connection)) = lost.connect(server).await? else { return Ok(()) };
    let dialect = former.learn_dialect(&mut connection).await?;
    let owner = Marker::new(&setup.installation().await?, id);
    match find(&mut connection, dialect, &tenant.database.name).await? {
        Found::Marked(marker) if marker.is_of(&owner) => Err(BackupError::Refused(format!(
            "the database server {server} answers and has the database of tenant {id}: \
             move it (POST /admin/tenants/{id}/database/move), or restore it in place; \
             --abandon leaves it there, locked"
        ))),
        _ => Ok(()),
    }
}

#[derive(Serialize)]
struct Outcome {
    tenant_id: TenantId,
    backup_id: Option<String>,
    /// The moment of the restored data. What was written later is lost.
    taken_at: Option<DateTime<Utc>>,
    operation_id: Option<Uuid>,
    /// Why the tenant was not recovered. Null if it was.
    error: Option<String>,
}

/// Recovers all tenants of a lost server. A tenant that fails does not hold up the others.
pub async fn all(
    settings: &Settings,
    setup: &Setup,
    lost: &str,
    wanted: Wanted<'_>,
    json: bool,
) -> Result<ExitCode, BackupError> {
    Server::named(settings, wanted.server)?;
    if lost == wanted.server {
        return Err(BackupError::Refused("the lost server and the other one are the same".into()));
    }
    let known: Option<(String,)> = sqlx::query_as("SELECT server_id FROM saas_database_servers WHERE server_id = ?")
        .bind(lost)
        .fetch_optional(setup.store.pool())
        .await?;
    if known.is_none() {
        return Err(BackupError::Refused(format!("there is no database server {lost}")));
    }
    sqlx::query("UPDATE saas_database_servers SET accepts_tenants = 0 WHERE server_id = ?")
        .bind(lost)
        .execute(setup.store.pool())
        .await?;
    let tenants = on(setup, lost).await?;
    // One of each for all tenants: both remember whether the lost server answers.
    let (mut servers, worker) = (LostServers::new(settings)?, worker(settings, setup, wanted.server).await?);
    let mut requests = Vec::new();
    // All jobs are requested before this command works on the first one, so that the workers of the server share them.
    for id in &tenants {
        let subject = Subject::Tenant(id.clone());
        let requesting = async {
            let stored = choose(&setup.backups, &subject, wanted.at).await?;
            stored.open(&setup.keys)?;
            let operation_id = request(settings, setup, &mut servers, id, &stored, wanted).await?;
            Ok::<_, BackupError>((stored, operation_id))
        };
        requests.push(requesting.await);
    }
    let (mut outcomes, count) = (Vec::new(), tenants.len());
    for (number, (tenant_id, request)) in (1..).zip(tenants.into_iter().zip(requests)) {
        let (stored, operation_id, error) = match request {
            Ok((stored, operation_id)) => {
                let ended = work(setup, &worker, operation_id).await;
                (Some(stored), Some(operation_id), ended.unwrap_or_else(|error| Some(chain(&error))))
            }
            Err(error) => (None, None, Some(chain(&error))),
        };
        let manifest = stored.map(|stored| stored.manifest);
        let taken_at = manifest.as_ref().map(|manifest| manifest.taken_at);
        match (&error, taken_at) {
            (None, Some(at)) => {
                eprintln!("{number}/{count}: tenant {tenant_id} is on {}, as of {}", wanted.server, at.to_rfc3339());
            }
            (error, _) => {
                let error = error.as_deref().unwrap_or_default();
                eprintln!("{number}/{count}: tenant {tenant_id} was not recovered: {error}");
            }
        }
        let backup_id = manifest.map(|manifest| manifest.backup_id);
        outcomes.push(Outcome { tenant_id, backup_id, taken_at, operation_id, error });
    }
    let failed = outcomes.iter().filter(|outcome| outcome.error.is_some()).count();
    exit::print(&outcomes, json, || format!("{} tenants are on {}, {failed} are not", count - failed, wanted.server));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The tenants whose data is on this server.
async fn on(setup: &Setup, server: &str) -> Result<Vec<TenantId>, BackupError> {
    let (mut found, mut after) = (Vec::new(), Position(0));
    loop {
        let filter = TenantFilter { after, status: None, state: None, limit: PAGE };
        let page = setup.store.tenants(&filter).await?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = *last;
        let here = page.into_iter().map(|(_, tenant)| tenant);
        let here = here.filter(|tenant| tenant.has_database() && tenant.database.server == server);
        found.extend(here.filter(|tenant| tenant.database.host.is_some()).map(|tenant| tenant.tenant_id));
    }
}
