//! The backup that a job is about: the row that was stored with the request, and the backup that it names.

use crate::backup::{Access, BackupJob, BackupStore, StoredBackup, Subject};
use crate::sagas::{Context, StepError, Tools};
use kernel::database::migrate::tenant_schema;
use kernel::domain::{RestoredFrom, Tenant};
use kernel::jobs::{JobError, Lease};

/// The row that was stored with the request for the job.
pub async fn request(context: &Context<'_>) -> Result<BackupJob, StepError> {
    let request = BackupJob::read(context.tools.store.pool(), context.lease).await.map_err(JobError::from)?;
    request.ok_or(StepError::Unfit("no row says which backup the job is about"))
}

/// What a job of a server is about.
pub enum AboutServer {
    /// The system database.
    System,
    /// A tenant with a database on this server.
    Tenant(Box<Tenant>),
    /// A tenant that was moved or removed since the request: nothing is to be done.
    Nothing,
}

/// What the job of a server under `lease` is about.
pub async fn of_server(tools: &Tools, lease: &Lease) -> Result<AboutServer, StepError> {
    let request = BackupJob::read(tools.store.pool(), lease).await.map_err(JobError::from)?;
    match request.ok_or(StepError::Unfit("no row says which backup the job is about"))?.subject {
        Subject::System => Ok(AboutServer::System),
        Subject::Tenant(id) => Ok(match tools.store.tenant(&id).await.map_err(JobError::from)? {
            Some(tenant) if tenant.has_database() && tenant.database.server == tools.server.id => {
                AboutServer::Tenant(Box::new(tenant))
            }
            _ => AboutServer::Nothing,
        }),
    }
}

/// The backup store of this process, which belongs to this installation.
pub async fn backups(tools: &Tools) -> Result<&BackupStore, StepError> {
    let backups = tools.backups.as_ref().ok_or(StepError::Unfit("the setting BACKUP_STORE is missing"))?;
    backups.belongs_to(&tools.installation, Access::Write).await?;
    Ok(backups)
}

/// The backup to be restored.
pub async fn stored_backup(tools: &Tools, request: &BackupJob) -> Result<StoredBackup, StepError> {
    let Some(backup_id) = &request.backup_id else {
        return Err(StepError::Unfit("the row of the job names no backup"));
    };
    Ok(StoredBackup::read(backups(tools).await?, &request.subject, backup_id).await?)
}

/// The backup to be restored, if this program can load it into this server.
pub async fn fitting(context: &Context<'_>, request: &BackupJob) -> Result<StoredBackup, StepError> {
    let backup = stored_backup(context.tools, request).await?;
    let (manifest, dialect) = (&backup.manifest, context.session.dialect.to_string());
    if manifest.dialect != dialect {
        return Err(StepError::Permanent(format!(
            "the backup {} is of a {} server and this one is {dialect}: restore it to a server of its kind",
            manifest.backup_id, manifest.dialect
        )));
    }
    if manifest.schema_version > tenant_schema() {
        return Err(StepError::Permanent(format!(
            "the backup {} has schema {}, newer than this program knows",
            manifest.backup_id, manifest.schema_version
        )));
    }
    Ok(backup)
}

/// What the event of the restore says of its backup.
pub async fn restored_from(context: &Context<'_>) -> Result<RestoredFrom, StepError> {
    let manifest = stored_backup(context.tools, &request(context).await?).await?.manifest;
    let source_tenant_id = manifest.tenant_id.as_deref().and_then(|id| id.parse().ok());
    Ok(RestoredFrom {
        backup_id: manifest.backup_id,
        source_tenant_id: source_tenant_id.ok_or(StepError::Unfit("the backup is of no tenant"))?,
        taken_at: manifest.taken_at,
        backup_position: manifest.position,
        schema_version: tenant_schema(),
    })
}

/// The backup whose data has replaced the tenant's, once the job is past its point of no return.
pub async fn restored(tools: &Tools, lease: &Lease) -> Result<Option<RestoredFrom>, JobError> {
    Ok(BackupJob::read(tools.store.pool(), lease).await?.and_then(|request| request.restored))
}

/// Whether the tenant was put into maintenance for the job.
pub async fn ends_maintenance(tools: &Tools, lease: &Lease) -> Result<bool, JobError> {
    Ok(BackupJob::read(tools.store.pool(), lease).await?.is_some_and(|request| request.ends_maintenance))
}
