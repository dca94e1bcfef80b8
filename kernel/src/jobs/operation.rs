//! A job as its owner sees it: the *operation* of the admin API.

use super::JobKind;
use super::kind::kinds_that_block_nothing;
use crate::domain::TenantId;
use crate::process::telemetry::traces;
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Serialize;
use sqlx::{MySql, MySqlConnection, QueryBuilder, Row};
use std::time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

/// A job to be enqueued.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What to do.
    pub kind: JobKind,
    /// For which tenant.
    pub tenant_id: TenantId,
    /// Workers of this database server take it.
    pub server: String,
    /// How long a failing job is tried again before it is undone.
    pub patience: Duration,
}

/// Enqueues a job on `connection`, which is that of the unit of work it belongs to.
pub async fn enqueue(connection: &mut MySqlConnection, job: &NewJob) -> Result<Uuid, sqlx::Error> {
    insert(connection, job.kind, job.tenant_id.as_str(), &job.server, job.patience).await
}

/// Enqueues a job that is for a server and for no tenant.
pub async fn enqueue_for_server(
    connection: &mut MySqlConnection,
    kind: JobKind,
    server: &str,
    patience: Duration,
) -> Result<Uuid, sqlx::Error> {
    insert(connection, kind, "", server, patience).await
}

/// A job of a server about a backup.
#[derive(Clone, Copy, Debug)]
pub struct NewBackupJob<'a> {
    /// [`JobKind::Backup`] or [`JobKind::RestoreTest`].
    pub kind: JobKind,
    /// Which tenant's data; empty: the system database.
    pub subject: &'a str,
    /// Workers of this database server take it.
    pub server: &'a str,
    /// How long a failing job is tried again.
    pub patience: Duration,
}

/// Enqueues a job of a server about a backup.
pub async fn enqueue_backup(connection: &mut MySqlConnection, job: &NewBackupJob<'_>) -> Result<Uuid, sqlx::Error> {
    let operation_id = enqueue_for_server(connection, job.kind, job.server, job.patience).await?;
    sqlx::query("INSERT INTO saas_backup_jobs (operation_id, source_tenant_id) VALUES (?, ?)")
        .bind(operation_id.to_string())
        .bind(job.subject)
        .execute(connection)
        .await?;
    Ok(operation_id)
}

async fn insert(
    connection: &mut MySqlConnection,
    kind: JobKind,
    tenant_id: &str,
    server: &str,
    patience: Duration,
) -> Result<Uuid, sqlx::Error> {
    let operation_id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, status, next_attempt_at, give_up_at, created_at, traceparent)
         VALUES (?, ?, ?, ?, 'pending', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL ? SECOND, UTC_TIMESTAMP(6), ?)",
    )
    .bind(operation_id.to_string())
    .bind(tenant_id)
    .bind(server)
    .bind(kind.as_str())
    .bind(patience.as_secs())
    .bind(traces::current())
    .execute(connection)
    .await?;
    Ok(operation_id)
}

/// Enqueues the jobs that bring tenants (with the servers they are on) to the tenant schema `schema_version`. A worker
/// takes them only if it knows that schema: an older program beside a newer one would find nothing to do.
pub async fn enqueue_migrations(
    connection: &mut MySqlConnection,
    tenants: &[(TenantId, String)],
    schema_version: u32,
    patience: Duration,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let ids: Vec<Uuid> = tenants.iter().map(|_| Uuid::now_v7()).collect();
    if ids.is_empty() {
        return Ok(ids);
    }
    let mut insert = QueryBuilder::<MySql>::new(
        "INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, schema_version, status, next_attempt_at, give_up_at, created_at) ",
    );
    insert.push_values(tenants.iter().zip(&ids), |mut row, ((tenant_id, server), id)| {
        row.push_bind(id.to_string())
            .push_bind(tenant_id.as_str())
            .push_bind(server)
            .push_bind(JobKind::Migrate.as_str())
            .push_bind(schema_version)
            .push("'pending', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL ")
            .push_bind_unseparated(patience.as_secs())
            .push_unseparated(" SECOND, UTC_TIMESTAMP(6)");
    });
    insert.build().execute(connection).await?;
    Ok(ids)
}

/// Jobs enqueued by one statement.
const BATCH: usize = 500;

/// Enqueues many jobs at once.
pub async fn enqueue_all(connection: &mut MySqlConnection, jobs: &[NewJob]) -> Result<(), sqlx::Error> {
    for jobs in jobs.chunks(BATCH) {
        let mut insert = QueryBuilder::<MySql>::new(
            "INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, status, next_attempt_at, give_up_at, created_at) ",
        );
        insert.push_values(jobs, |mut row, job| {
            row.push_bind(Uuid::now_v7().to_string())
                .push_bind(job.tenant_id.as_str())
                .push_bind(&job.server)
                .push_bind(job.kind.as_str())
                .push("'pending', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL ")
                .push_bind_unseparated(job.patience.as_secs())
                .push_unseparated(" SECOND, UTC_TIMESTAMP(6)");
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// A job as the admin API shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Operation {
    /// Its id.
    #[schema(format = "uuid")]
    pub operation_id: String,
    /// For which tenant; empty: for a server.
    pub tenant_id: String,
    /// What it does.
    pub kind: String,
    /// `pending`, `running`, `succeeded`, `failed`.
    pub status: String,
    /// Attempts begun.
    pub attempts: u32,
    /// The last error while it runs; why it failed when it has.
    pub error: Option<String>,
    /// Its steps, as far as it got.
    pub steps: Vec<Step>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// One step of an operation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// `running`, `succeeded`, `failed`, `undone`.
    pub status: String,
    /// Begin of its newest attempt.
    pub started_at: DateTime<Utc>,
    /// End of it.
    pub finished_at: Option<DateTime<Utc>>,
}

/// The operation of this id.
pub async fn find(connection: &mut MySqlConnection, operation_id: Uuid) -> Result<Option<Operation>, sqlx::Error> {
    let Some(row) = sqlx::query(
        "SELECT tenant_id, kind, status, attempts, error, created_at, finished_at FROM saas_operations WHERE operation_id = ?",
    )
    .bind(operation_id.to_string())
    .fetch_optional(&mut *connection)
    .await?
    else {
        return Ok(None);
    };
    let steps = sqlx::query(
        "SELECT name, status, started_at, finished_at FROM saas_operation_steps WHERE operation_id = ? ORDER BY ordinal",
    )
    .bind(operation_id.to_string())
    .fetch_all(connection)
    .await?;
    let steps = steps
        .iter()
        .map(|row| {
            Ok(Step {
                name: row.try_get(0)?,
                status: row.try_get(1)?,
                started_at: row.try_get::<NaiveDateTime, _>(2)?.and_utc(),
                finished_at: row.try_get::<Option<NaiveDateTime>, _>(3)?.map(|time| time.and_utc()),
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(Some(Operation {
        operation_id: operation_id.to_string(),
        tenant_id: row.try_get(0)?,
        kind: row.try_get(1)?,
        status: row.try_get(2)?,
        attempts: row.try_get(3)?,
        error: row.try_get(4)?,
        steps,
        created_at: row.try_get::<NaiveDateTime, _>(5)?.and_utc(),
        finished_at: row.try_get::<Option<NaiveDateTime>, _>(6)?.map(|time| time.and_utc()),
    }))
}

/// The operation that keeps others of the tenant from being requested, if there is one. Jobs of kinds that block
/// nothing do not count.
pub async fn active_operation(
    connection: &mut MySqlConnection,
    tenant: &TenantId,
) -> Result<Option<Uuid>, sqlx::Error> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT operation_id FROM saas_operations
         WHERE tenant_id = ? AND status IN ('pending', 'running') AND NOT FIND_IN_SET(kind, ?) LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(kinds_that_block_nothing())
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(|(id,)| id.parse().ok()))
}

/// Ends a job as failed whose server is given up: nobody can finish or undo it there. Whoever works on it has lost it.
pub async fn give_up(connection: &mut MySqlConnection, operation_id: Uuid, reason: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE saas_operations SET status = 'failed', error = ?, epoch = epoch + 1, owner = NULL, lease_until = NULL,
                finished_at = UTC_TIMESTAMP(6)
         WHERE operation_id = ? AND status IN ('pending', 'running')",
    )
    .bind(reason)
    .bind(operation_id.to_string())
    .execute(connection)
    .await
    .map(drop)
}
