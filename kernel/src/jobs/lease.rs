//! Renewing the lease of a claimed job, and recording its outcome.

use super::JobKind;
use crate::database;
use crate::domain::TenantId;
use sqlx::{MySqlConnection, MySqlExecutor, MySqlPool};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Longest error stored in a job's row.
const ERROR_CHARS: usize = 1000;

/// Why a worker could not record something.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The lease ran out and another worker has the job, or the job has ended. The former holder must stop.
    #[error("another worker has the job now, or it has ended")]
    Lost,
    /// The system database failed.
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
}

impl JobError {
    /// Whether the system database has refused something for a reason that does not pass by itself: a right that is
    /// missing, a row that cannot be read. While the database cannot be reached, the worker's lease decides.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Database(error) if !is_transient(error))
    }

    /// The reason for the operator, without the database's own words.
    pub fn reason(&self) -> String {
        let Self::Database(error) = self else { return self.to_string() };
        match database::number(error) {
            Some(1044 | 1045 | 1142 | 1143 | 1227) => "the account on the system database lacks a right".into(),
            Some(number) => format!("the system database refused a statement (error {number})"),
            None if is_transient(error) => "the system database cannot be reached".into(),
            None => "a row of the system database cannot be read".into(),
        }
    }
}

/// The right to work on one job, for a while.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The job.
    pub operation_id: Uuid,
    /// For which tenant; `None`: for the server.
    pub tenant_id: Option<TenantId>,
    /// What to do.
    pub kind: JobKind,
    /// Which claim of the job this is.
    pub epoch: u32,
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// Its steps are being undone.
    pub undoing: bool,
    /// Why it is being undone.
    pub error: Option<String>,
    /// No further attempt after this one.
    pub last_attempt: bool,
    /// The trace of the request for the job.
    pub traceparent: Option<String>,
    /// When the claim was asked for: the lease ends `duration` after it, on this process's own clock.
    pub claimed_at: Instant,
    /// How long it lasts without renewal.
    pub duration: Duration,
}

/// Where a step is.
#[derive(Clone, Copy, Debug)]
pub struct StepRecord {
    /// Its place among the job's steps.
    pub ordinal: u16,
    pub name: &'static str,
    /// `running`, `succeeded`, `failed` or `undone`.
    pub status: &'static str,
    /// When its newest attempt began.
    pub started: Instant,
    /// When that ended, if it has.
    pub finished: Option<Instant>,
}

impl Lease {
    /// Keeps the job for another `duration`; returns when that was asked for.
    pub async fn renew(&self, pool: &MySqlPool) -> Result<Instant, JobError> {
        let asked = Instant::now();
        let result = sqlx::query(
            "UPDATE saas_operations SET lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND
             WHERE operation_id = ? AND epoch = ? AND status = 'running'",
        )
        .bind(self.duration.as_micros() as u64)
        .bind(self.operation_id.to_string())
        .bind(self.epoch)
        .execute(pool)
        .await?;
        held(result.rows_affected())?;
        Ok(asked)
    }

    /// Records where steps are, all in one write. The server's clock gives the times; how long ago is ours.
    pub async fn record(&self, executor: impl MySqlExecutor<'_>, steps: &[StepRecord]) -> Result<(), JobError> {
        if steps.is_empty() {
            return Ok(());
        }
        let rows = vec!["SELECT ? AS ordinal, ? AS name, ? AS status, ? AS started, ? AS finished"; steps.len()];
        let insert = format!(
            "INSERT INTO saas_operation_steps (operation_id, ordinal, name, status, started_at, finished_at)
             SELECT o.operation_id, s.ordinal, s.name, s.status, UTC_TIMESTAMP(6) - INTERVAL s.started MICROSECOND,
                    UTC_TIMESTAMP(6) - INTERVAL s.finished MICROSECOND
             FROM saas_operations o JOIN ({}) s WHERE o.operation_id = ? AND o.epoch = ? AND o.status = 'running'
             ON DUPLICATE KEY UPDATE name = VALUES(name), status = VALUES(status), started_at = VALUES(started_at),
               finished_at = VALUES(finished_at)",
            rows.join(" UNION ALL ")
        );
        let ago = |time: Instant| u64::try_from(time.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut query = sqlx::query(&insert);
        for step in steps {
            query = query.bind(step.ordinal).bind(step.name).bind(step.status);
            query = query.bind(ago(step.started)).bind(step.finished.map(ago));
        }
        let result = query.bind(self.operation_id.to_string()).bind(self.epoch).execute(executor).await?;
        held(result.rows_affected())
    }

    /// Gives the job back: it is due again after `wait`. `undoing` says whether the next attempt undoes the job's steps
    /// or continues with them. A job whose undo has begun is never continued with.
    pub async fn retry_after(
        &self,
        pool: &MySqlPool,
        wait: Duration,
        error: &str,
        undoing: bool,
    ) -> Result<(), JobError> {
        let result = sqlx::query(
            "UPDATE saas_operations SET next_attempt_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND, lease_until = NULL,
                    owner = NULL, error = ?, undoing = (undoing OR ?)
             WHERE operation_id = ? AND epoch = ? AND status = 'running'",
        )
        .bind(wait.as_micros() as u64)
        .bind(cut(error))
        .bind(undoing)
        .bind(self.operation_id.to_string())
        .bind(self.epoch)
        .execute(pool)
        .await?;
        held(result.rows_affected())
    }

    /// Gives the job to the workers of another server, as a job of this kind: the tenant has gone there since it was
    /// asked for.
    pub(crate) async fn hand_over(
        &self,
        connection: &mut MySqlConnection,
        server: &str,
        kind: JobKind,
    ) -> Result<(), JobError> {
        let result = sqlx::query(
            "UPDATE saas_operations SET server_id = ?, kind = ?, next_attempt_at = UTC_TIMESTAMP(6),
               lease_until = NULL, owner = NULL
             WHERE operation_id = ? AND epoch = ? AND status = 'running'",
        )
        .bind(server)
        .bind(kind.as_str())
        .bind(self.operation_id.to_string())
        .bind(self.epoch)
        .execute(connection)
        .await?;
        held(result.rows_affected())
    }

    /// Records that the job has failed and why, before its steps are undone: a worker that takes it over continues to
    /// undo.
    pub async fn begin_undo(&self, pool: &MySqlPool, error: &str) -> Result<(), JobError> {
        let result = sqlx::query(
            "UPDATE saas_operations SET undoing = 1, error = ? WHERE operation_id = ? AND epoch = ?
               AND status = 'running'",
        )
        .bind(cut(error))
        .bind(self.operation_id.to_string())
        .bind(self.epoch)
        .execute(pool)
        .await?;
        // 0 rows also when it was undoing with this very error already; the renewal tells the difference.
        if result.rows_affected() == 0 { self.renew(pool).await.map(drop) } else { Ok(()) }
    }

    /// Makes sure, until the transaction of `connection` ends, that the job is still held. [`super::JobUnit`] calls it
    /// first of all.
    pub(super) async fn hold(&self, connection: &mut MySqlConnection) -> Result<(), JobError> {
        let held_still: Option<(String,)> = sqlx::query_as(
            "SELECT operation_id FROM saas_operations
             WHERE operation_id = ? AND epoch = ? AND status = 'running' FOR UPDATE",
        )
        .bind(self.operation_id.to_string())
        .bind(self.epoch)
        .fetch_optional(connection)
        .await?;
        held_still.map(drop).ok_or(JobError::Lost)
    }

    /// Ends the job, on the connection of the unit of work that appends its outcome.
    pub(crate) async fn finish(&self, connection: &mut MySqlConnection, failed: Option<&str>) -> Result<(), JobError> {
        let result = sqlx::query(
            "UPDATE saas_operations SET status = IF(? IS NULL, 'succeeded', 'failed'), error = ?, owner = NULL,
                    lease_until = NULL, finished_at = UTC_TIMESTAMP(6)
             WHERE operation_id = ? AND epoch = ? AND status = 'running'",
        )
        .bind(failed.map(cut))
        .bind(failed.map(cut))
        .bind(self.operation_id.to_string())
        .bind(self.epoch)
        .execute(connection)
        .await?;
        held(result.rows_affected())
    }
}

fn held(rows: u64) -> Result<(), JobError> {
    if rows == 0 { Err(JobError::Lost) } else { Ok(()) }
}

fn cut(error: &str) -> String {
    error.chars().take(ERROR_CHARS).collect()
}

impl From<JobError> for crate::store::CommandError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Lost => Self::Conflict,
            JobError::Database(error) => Self::Database(error),
        }
    }
}

/// Whether another attempt may succeed.
pub fn is_transient(error: &sqlx::Error) -> bool {
    database::is_unreachable(error) || database::is_contention(error)
}
