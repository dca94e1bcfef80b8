//! Collections: all tenants of a database server, counted for a range of days.
//!
//! **Guarantees.** A collection is a job of the kind `collect`, and its id is the job's. The row in `saas_collections`
//! says what was requested and how far the job is; lease, attempts and errors are the job's. Whatever a worker records
//! here is recorded only while it holds the job's lease.
//!
//! **Design note.** Programs before migration 22 had no such jobs: their workers claim rows of the status `pending` or
//! `running` under a lease in the row itself. The status of a row that has a job is [`IS_JOB`] until it ends, so an
//! older worker leaves it alone. A row that an older control plane has inserted gets its job by [`adopt`], which takes
//! the row over as an older worker would: a worker that still has it keeps it, and one that had it before can record
//! nothing more.

use super::Figures;
use crate::jobs::{self, JobError, JobKind, Lease, NewJob};
use crate::store::Store;
use chrono::NaiveDate;
use sqlx::{MySqlConnection, MySqlExecutor, MySqlPool, QueryBuilder};
use std::time::Duration;
use uuid::Uuid;

/// Status of a row whose job says how far it is.
pub const IS_JOB: &str = "job";
/// A collection waits for its server for as long as that takes: ten years.
const PATIENCE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Most rows of older programs that are adopted at once.
const ADOPTED: u32 = 100;

/// What is requested of one database server.
#[derive(Clone, Debug)]
pub struct NewCollection<'a> {
    /// The request, which is for all servers.
    pub request_id: &'a str,
    pub server: &'a str,
    /// First day; `None`: for each tenant the first that was not counted after its end.
    pub from: Option<NaiveDate>,
    /// Last day.
    pub to: NaiveDate,
    /// The actor.
    pub requested_by: &'a str,
}

impl NewCollection<'_> {
    /// Enqueues the collection, unless the request has one of this server already.
    pub async fn enqueue(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let existing: Option<(String,)> = sqlx::query_as(
            "SELECT collection_id FROM saas_collections WHERE request_id = ? AND server_id = ? FOR UPDATE",
        )
        .bind(self.request_id)
        .bind(self.server)
        .fetch_optional(&mut *connection)
        .await?;
        if existing.is_some() {
            return Ok(());
        }
        let job = NewJob::for_server(JobKind::Collect, self.server, PATIENCE);
        let collection_id = jobs::enqueue(&mut *connection, &[job]).await?[0];
        sqlx::query(
            "INSERT INTO saas_collections (collection_id, request_id, server_id, from_day, to_day, requested_by, status,
                    next_attempt_at, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
        )
        .bind(collection_id.to_string())
        .bind(self.request_id)
        .bind(self.server)
        .bind(self.from)
        .bind(self.to)
        .bind(self.requested_by)
        .bind(IS_JOB)
        .execute(connection)
        .await
        .map(drop)
    }

    /// Has a collection that waits, and that counts whatever is missing, count up to the last day of this one as well.
    /// Returns whether there is one.
    pub async fn extend_waiting(&self, connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
        let extended = sqlx::query(
            "UPDATE saas_collections c JOIN saas_operations o ON o.operation_id = c.collection_id SET c.to_day = ?
             WHERE c.server_id = ? AND c.status = ? AND c.from_day IS NULL
               AND o.status IN ('pending', 'running') AND o.lease_until IS NULL",
        )
        .bind(self.to)
        .bind(self.server)
        .bind(IS_JOB)
        .execute(connection)
        .await?;
        Ok(extended.rows_affected() > 0)
    }
}

/// Gives the collections of `server` their jobs that a control plane from before migration 22 has inserted; see the
/// module.
pub async fn adopt(pool: &MySqlPool, server: &str) -> Result<usize, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT collection_id FROM saas_collections
         WHERE server_id = ? AND status IN ('pending', 'running')
           AND (lease_until IS NULL OR lease_until <= UTC_TIMESTAMP(6))
         ORDER BY next_attempt_at LIMIT ? FOR UPDATE SKIP LOCKED",
    )
    .bind(server)
    .bind(ADOPTED)
    .fetch_all(&mut *tx)
    .await?;
    for (collection_id,) in &rows {
        let id: Uuid = collection_id
            .parse()
            .map_err(|_| sqlx::Error::Decode(format!("the id of collection {collection_id} is no UUID").into()))?;
        let job = NewJob::for_server(JobKind::Collect, server, PATIENCE).with_id(id);
        jobs::enqueue(&mut tx, &[job]).await?;
        sqlx::query(
            "UPDATE saas_collections SET status = ?, epoch = epoch + 1, owner = NULL, lease_until = NULL
             WHERE collection_id = ?",
        )
        .bind(IS_JOB)
        .bind(collection_id)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(rows.len())
}

/// How far a collection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tenants of the server.
    pub tenants: u32,
    /// Counted.
    pub collected: u32,
    /// Not counted, for a reason of their own.
    pub failed: u32,
}

/// A collection in work, under the lease of its job.
#[derive(Clone, Debug)]
pub struct Collection<'a> {
    /// The right to work on it.
    pub lease: &'a Lease,
    /// First day; `None`: for each tenant the first that was not counted after its end.
    pub from: Option<NaiveDate>,
    /// Last day.
    pub to: NaiveDate,
}

impl<'a> Collection<'a> {
    /// What the job under `lease` is to collect.
    pub async fn of(pool: &MySqlPool, lease: &'a Lease) -> Result<Option<Self>, sqlx::Error> {
        let row: Option<(Option<NaiveDate>, NaiveDate)> =
            sqlx::query_as("SELECT from_day, to_day FROM saas_collections WHERE collection_id = ? AND status = ?")
                .bind(lease.operation_id.to_string())
                .bind(IS_JOB)
                .fetch_optional(pool)
                .await?;
        Ok(row.map(|(from, to)| Self { lease, from, to }))
    }

    /// Its id, which is the job's.
    pub fn id(&self) -> String {
        self.lease.operation_id.to_string()
    }

    /// Shows how far it is.
    pub async fn show(&self, executor: impl MySqlExecutor<'_>, counts: Counts) -> Result<(), JobError> {
        let shown = sqlx::query(
            "UPDATE saas_collections c JOIN saas_operations o ON o.operation_id = c.collection_id
             SET c.tenants = ?, c.collected = ?, c.failed = ?, c.started_at = COALESCE(c.started_at, UTC_TIMESTAMP(6))
             WHERE c.collection_id = ? AND o.epoch = ? AND o.status = 'running'",
        )
        .bind(counts.tenants)
        .bind(counts.collected)
        .bind(counts.failed)
        .bind(self.id())
        .bind(self.lease.epoch)
        .execute(executor)
        .await?;
        held(shown.rows_affected())
    }

    /// Stores what was counted of one tenant, all days in one write.
    pub async fn record(&self, pool: &MySqlPool, tenant_id: &str, days: &[Figures]) -> Result<(), JobError> {
        let mut insert = QueryBuilder::new(
            "INSERT INTO saas_tenant_daily_statistics (stat_date, tenant_id, total_users, active_users, total_orders,
                paid_orders, total_revenue, total_study_records, daily_orders, daily_paid_orders, daily_revenue,
                daily_study_records, collection_id, collected_at)
             SELECT f.d, f.t, f.a, f.b, f.c, f.e, f.g, f.h, f.i, f.j, f.k, f.l, o.operation_id, UTC_TIMESTAMP(6)
             FROM saas_operations o JOIN (",
        );
        for (at, day) in days.iter().enumerate() {
            insert.push(if at == 0 { "SELECT CAST(" } else { " UNION ALL SELECT CAST(" });
            insert.push_bind(day.stat_date).push(" AS DATE) AS d, ");
            insert.push_bind(tenant_id).push(" AS t, ");
            for (name, value) in [
                ("a", day.total_users),
                ("b", day.active_users),
                ("c", day.total_orders),
                ("e", day.paid_orders),
                ("h", day.total_study_records),
                ("i", day.daily_orders),
                ("j", day.daily_paid_orders),
                ("l", day.daily_study_records),
            ] {
                insert.push_bind(value).push(format!(" AS {name}, "));
            }
            insert.push_bind(&day.total_revenue).push(" AS g, ");
            insert.push_bind(&day.daily_revenue).push(" AS k");
        }
        insert.push(") f WHERE o.operation_id = ").push_bind(self.id());
        insert.push(" AND o.epoch = ").push_bind(self.lease.epoch);
        insert.push(
            " AND o.status = 'running' ON DUPLICATE KEY UPDATE total_users = VALUES(total_users),
             active_users = GREATEST(saas_tenant_daily_statistics.active_users, VALUES(active_users)),
             total_orders = VALUES(total_orders), paid_orders = VALUES(paid_orders),
               total_revenue = VALUES(total_revenue),
             total_study_records = VALUES(total_study_records), daily_orders = VALUES(daily_orders),
             daily_paid_orders = VALUES(daily_paid_orders), daily_revenue = VALUES(daily_revenue),
             daily_study_records = VALUES(daily_study_records), collection_id = VALUES(collection_id),
             collected_at = VALUES(collected_at)",
        );
        held(insert.build().execute(pool).await?.rows_affected())
    }

    /// Stores why a tenant could not be counted.
    pub async fn record_failure(&self, pool: &MySqlPool, tenant_id: &str, reason: &str) -> Result<(), JobError> {
        let reason: String = reason.chars().take(300).collect();
        let stored = sqlx::query(
            "INSERT INTO saas_collection_failures (collection_id, tenant_id, reason, failed_at)
             SELECT operation_id, ?, ?, UTC_TIMESTAMP(6) FROM saas_operations
             WHERE operation_id = ? AND epoch = ? AND status = 'running'
             ON DUPLICATE KEY UPDATE reason = VALUES(reason), failed_at = VALUES(failed_at)",
        )
        .bind(tenant_id)
        .bind(reason)
        .bind(self.id())
        .bind(self.lease.epoch)
        .execute(pool)
        .await?;
        held(stored.rows_affected())
    }

    /// Ends the collection and its job in one transaction: the collection as `failed` if a tenant could not be counted,
    /// the job as `succeeded`, because it has done its work.
    pub async fn end(&self, store: &Store, counts: Counts) -> Result<(), JobError> {
        let error = (counts.failed > 0).then(|| format!("{} tenants could not be counted", counts.failed));
        let mut unit = self.lease.begin(store).await?;
        sqlx::query(
            "UPDATE saas_collections SET status = IF(? = 0, 'succeeded', 'failed'), error = ?, attempts = ?,
                    tenants = ?, collected = ?, failed = ?, ended_at = UTC_TIMESTAMP(6)
             WHERE collection_id = ?",
        )
        .bind(counts.failed)
        .bind(error)
        .bind(self.lease.attempts)
        .bind(counts.tenants)
        .bind(counts.collected)
        .bind(counts.failed)
        .bind(self.id())
        .execute(unit.connection())
        .await?;
        unit.finish(&[], None).await?;
        unit.commit().await
    }
}

fn held(rows: u64) -> Result<(), JobError> {
    if rows == 0 { Err(JobError::Lost) } else { Ok(()) }
}
