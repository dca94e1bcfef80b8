//! `provisioner restore TENANT --as NEW_ID`: creates a new tenant from the backup.

use super::request::{begin, enqueue, under_way};
use super::{ACTOR, RestoreOptions};
use crate::backup::{BackupError, BackupJob, StoredBackup, Subject};
use crate::commands::setup::Setup;
use crate::server::Server;
use kernel::domain::{Command, Tenant, TenantId};
use kernel::jobs::{JobKind, NewJob};
use kernel::process::config::Settings;
use kernel::store::Plan;
use std::time::Duration;
use uuid::Uuid;

/// Requests the job, or finds the one that an earlier command has requested.
pub async fn request(
    settings: &Settings,
    setup: &Setup,
    new_id: &TenantId,
    source: &TenantId,
    stored: &StoredBackup,
    patience: Duration,
    options: &RestoreOptions,
) -> Result<(TenantId, Uuid, String), BackupError> {
    let mut unit = begin(&setup.store, new_id).await?;
    if let Some(there) = unit.tenant(new_id).await? {
        return match under_way(&mut unit, new_id, JobKind::RestoreNew, &stored.manifest.backup_id).await? {
            Some(operation_id) => Ok((new_id.clone(), operation_id, there.database.server)),
            None => Err(BackupError::Refused(format!("the tenant {new_id} exists: choose another id for the new one"))),
        };
    }
    let original: Option<Tenant> = unit.tenant(source).await?;
    let server_id = options.server.clone().unwrap_or_else(|| stored.manifest.server.clone());
    Server::named(settings, &server_id)?;
    let known: Option<(String,)> = sqlx::query_as("SELECT server_id FROM saas_database_servers WHERE server_id = ?")
        .bind(&server_id)
        .fetch_optional(unit.connection())
        .await?;
    if known.is_none() {
        return Err(BackupError::Refused(format!("no provisioner has registered a database server {server_id}")));
    }
    let plan = original.as_ref().map_or(Plan::DEFAULT, |tenant| tenant.plan_type.as_str());
    let plan_type = if Plan::use_by_tenant(unit.connection(), plan).await? { plan } else { Plan::DEFAULT };
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
    let row = BackupJob {
        subject: Subject::Tenant(source.clone()),
        backup_id: Some(stored.manifest.backup_id.clone()),
        ends_maintenance: false,
        members: options.members,
        restored: None,
    };
    let operation_id = enqueue(unit, job, &row).await?;
    Ok((new_id.clone(), operation_id, server_id))
}
