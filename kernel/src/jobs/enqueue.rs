//! Enqueueing jobs, one or many, in the transaction of their reason.

use super::{JobKind, Lane};
use crate::domain::TenantId;
use crate::process::telemetry::traces;
use sqlx::{MySql, MySqlConnection, QueryBuilder};
use std::time::Duration;
use uuid::Uuid;

/// Jobs inserted by one statement.
const BATCH: usize = 500;

/// A job to be enqueued.
#[derive(Clone, Debug)]
pub struct NewJob {
    id: Uuid,
    kind: JobKind,
    lane: Lane,
    tenant_id: Option<TenantId>,
    server: String,
    patience: Duration,
    schema_version: Option<u32>,
    backup_of: Option<String>,
}

impl NewJob {
    /// A job for a tenant, which the workers of `server` take. A failing job is tried again for `patience` before it is
    /// undone.
    pub fn for_tenant(kind: JobKind, tenant_id: &TenantId, server: impl Into<String>, patience: Duration) -> Self {
        Self { tenant_id: Some(tenant_id.clone()), ..Self::for_server(kind, server, patience) }
    }

    /// A job for a server and for no tenant. A failing job is tried again for `patience`.
    pub fn for_server(kind: JobKind, server: impl Into<String>, patience: Duration) -> Self {
        let (id, server) = (Uuid::now_v7(), server.into());
        Self { id, kind, lane: kind.lane(), tenant_id: None, server, patience, schema_version: None, backup_of: None }
    }

    /// Gives the job the id that its request was made with.
    #[must_use]
    pub fn with_id(self, id: Uuid) -> Self {
        Self { id, ..self }
    }

    /// Lets the job wait in the lane of bulk work, because it is one of many that were requested at once.
    #[must_use]
    pub fn in_bulk(self) -> Self {
        self.in_lane(Lane::Bulk)
    }

    /// Lets the job wait in another lane than that of its kind.
    #[must_use]
    pub fn in_lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// Leaves the job to workers that know the tenant schema `version`: an older program would find nothing to do.
    #[must_use]
    pub fn needs_schema(self, version: u32) -> Self {
        Self { schema_version: Some(version), ..self }
    }

    /// Says whose backup the job takes or tests: a tenant's, or that of the system database (empty).
    #[must_use]
    pub fn about_backup_of(self, subject: impl Into<String>) -> Self {
        Self { backup_of: Some(subject.into()), ..self }
    }
}

/// Enqueues jobs on `connection`, which is that of the unit of work they belong to. Returns their ids, in the order of
/// `jobs`. Every job carries the trace of the present span.
pub async fn enqueue(connection: &mut MySqlConnection, jobs: &[NewJob]) -> Result<Vec<Uuid>, sqlx::Error> {
    let traceparent = traces::current();
    for jobs in jobs.chunks(BATCH) {
        let mut insert = QueryBuilder::<MySql>::new(
            "INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, lane, schema_version, traceparent,
                                          status, next_attempt_at, give_up_at, created_at) ",
        );
        insert.push_values(jobs, |mut row, job| {
            row.push_bind(job.id.to_string())
                .push_bind(job.tenant_id.as_ref().map_or("", TenantId::as_str))
                .push_bind(&job.server)
                .push_bind(job.kind.as_str())
                .push_bind(job.lane.as_str())
                .push_bind(job.schema_version)
                .push_bind(&traceparent)
                .push("'pending', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL ")
                .push_bind_unseparated(job.patience.as_secs())
                .push_unseparated(" SECOND, UTC_TIMESTAMP(6)");
        });
        insert.build().execute(&mut *connection).await?;
        let backups = jobs.iter().filter_map(|job| Some((job.id, job.backup_of.as_ref()?)));
        let backups: Vec<_> = backups.collect();
        if !backups.is_empty() {
            let mut insert =
                QueryBuilder::<MySql>::new("INSERT INTO saas_backup_jobs (operation_id, source_tenant_id) ");
            insert.push_values(backups, |mut row, (id, subject)| {
                row.push_bind(id.to_string()).push_bind(subject);
            });
            insert.build().execute(&mut *connection).await?;
        }
    }
    Ok(jobs.iter().map(|job| job.id).collect())
}
