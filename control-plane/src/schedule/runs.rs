//! The runs of schedules, as rows.

use super::{Expression, RoleLease, RunError, SCHEDULES, Schedule};
use crate::commands::{Refusal, Write};
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::store::{Store, UnitOfWork};
use serde::Serialize;
use sqlx::{FromRow, MySqlConnection, MySqlPool};
use std::collections::HashMap;
use utoipa::ToSchema;
use uuid::Uuid;

/// Longest error that is stored.
const ERROR_CHARS: usize = 1000;

/// One run of a schedule.
#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
pub struct Run {
    pub run_id: String,
    /// The name of its schedule.
    pub schedule: String,
    /// The slot, or when it was requested.
    #[serde(serialize_with = "utc")]
    #[schema(value_type = DateTime<Utc>)]
    pub slot: NaiveDateTime,
    /// `clock`, or the actor that requested it.
    pub requested_by: String,
    /// `pending`, `running`, `succeeded`, `failed`.
    pub status: String,
    /// The process that does or did it.
    pub owner: Option<String>,
    /// How many leaders have taken it up.
    pub attempts: u32,
    /// How many things it requested or removed.
    pub items: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    #[serde(serialize_with = "utc_if_any")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub started_at: Option<NaiveDateTime>,
    /// When it ended.
    #[serde(serialize_with = "utc_if_any")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub ended_at: Option<NaiveDateTime>,
}

fn utc<S: serde::Serializer>(time: &NaiveDateTime, to: S) -> Result<S::Ok, S::Error> {
    time.and_utc().serialize(to)
}

fn utc_if_any<S: serde::Serializer>(time: &Option<NaiveDateTime>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.and_utc()).serialize(to)
}

/// The columns of [`Run`] with a condition after them.
macro_rules! select_run {
    ($condition:literal) => {
        concat!(
            "SELECT run_id, schedule, slot, requested_by, status, owner, attempts, items, error, started_at, ended_at
             FROM saas_schedule_runs ",
            $condition
        )
    };
}

/// Inserts the rows of the schedules: slots count from the first time on.
pub async fn register(pool: &MySqlPool) -> Result<(), sqlx::Error> {
    for schedule in &SCHEDULES {
        sqlx::query(
            "INSERT INTO saas_schedules (name, last_slot) VALUES (?, UTC_TIMESTAMP(6))
             ON DUPLICATE KEY UPDATE name = saas_schedules.name",
        )
        .bind(schedule.name)
        .execute(pool)
        .await?;
    }
    Ok(())
}

/// What the clock needs to know, read by one statement.
pub struct Slots {
    /// The newest slot of each schedule that has had its run.
    last: HashMap<String, DateTime<Utc>>,
    /// The time by the clock of the database.
    now: DateTime<Utc>,
    /// Whether a run waits or was left unfinished.
    pub has_open_run: bool,
}

/// Reads the slots of all schedules.
pub async fn slots(pool: &MySqlPool) -> Result<Slots, sqlx::Error> {
    let rows: Vec<(String, NaiveDateTime, NaiveDateTime, bool)> = sqlx::query_as(
        "SELECT name, last_slot, UTC_TIMESTAMP(6),
                EXISTS (SELECT 1 FROM saas_schedule_runs WHERE status IN ('pending', 'running')) FROM saas_schedules",
    )
    .fetch_all(pool)
    .await?;
    let (now, has_open_run) = rows.first().map_or((NaiveDateTime::MIN, false), |row| (row.2, row.3));
    let last = rows.into_iter().map(|(name, last, ..)| (name, last.and_utc())).collect();
    Ok(Slots { last, now: now.and_utc(), has_open_run })
}

impl Slots {
    /// The newest slot of the schedule that has come, unless it has had its run.
    pub fn due(&self, schedule: &Schedule, expression: &Expression) -> Option<DateTime<Utc>> {
        expression.due(*self.last.get(schedule.name)?, self.now)
    }
}

/// Inserts a run for a slot that has come, unless it has one.
pub async fn give_slot_its_run(
    store: &Store,
    lease: &RoleLease,
    schedule: &Schedule,
    slot: DateTime<Utc>,
) -> Result<(), RunError> {
    let mut tx = store.pool().begin().await?;
    lease.hold(&mut tx).await?;
    let moved = sqlx::query("UPDATE saas_schedules SET last_slot = ? WHERE name = ? AND last_slot < ?")
        .bind(slot.naive_utc())
        .bind(schedule.name)
        .bind(slot.naive_utc())
        .execute(&mut *tx)
        .await?;
    if moved.rows_affected() == 1 {
        insert(&mut tx, schedule.name, Some(slot), "clock").await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn insert(
    connection: &mut MySqlConnection,
    schedule: &str,
    slot: Option<DateTime<Utc>>,
    requested_by: &str,
) -> Result<String, sqlx::Error> {
    let run_id = Uuid::now_v7().to_string();
    sqlx::query(
        "INSERT INTO saas_schedule_runs (run_id, schedule, slot, requested_by, status, created_at)
         VALUES (?, ?, COALESCE(?, UTC_TIMESTAMP(6)), ?, 'pending', UTC_TIMESTAMP(6))",
    )
    .bind(&run_id)
    .bind(schedule)
    .bind(slot.map(|slot| slot.naive_utc()))
    .bind(requested_by)
    .execute(connection)
    .await?;
    Ok(run_id)
}

/// Takes up the oldest run that has not ended. The leader does one at a time, so a run that is `running` was left by
/// the leader before, or by this one when the database failed.
pub async fn claim(store: &Store, lease: &RoleLease) -> Result<Option<Run>, RunError> {
    let mut tx = store.pool().begin().await?;
    lease.hold(&mut tx).await?;
    let open: Option<(String,)> = sqlx::query_as(
        "SELECT run_id FROM saas_schedule_runs WHERE status IN ('pending', 'running') ORDER BY created_at LIMIT 1",
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some((run_id,)) = open else { return Ok(None) };
    sqlx::query(
        "UPDATE saas_schedule_runs SET status = 'running', owner = ?, epoch = ?, attempts = attempts + 1,
                started_at = COALESCE(started_at, UTC_TIMESTAMP(6)) WHERE run_id = ?",
    )
    .bind(lease.owner())
    .bind(lease.epoch())
    .bind(&run_id)
    .execute(&mut *tx)
    .await?;
    let run = find(&mut tx, &run_id).await?;
    tx.commit().await?;
    Ok(run)
}

/// Records how a run ended.
pub async fn end(store: &Store, lease: &RoleLease, run: &Run, ended: &Result<u64, String>) -> Result<(), RunError> {
    let error: Option<String> = ended.as_ref().err().map(|error| error.chars().take(ERROR_CHARS).collect());
    let recorded = sqlx::query(
        "UPDATE saas_schedule_runs SET status = IF(? IS NULL, 'succeeded', 'failed'), error = ?, items = ?,
                ended_at = UTC_TIMESTAMP(6) WHERE run_id = ? AND epoch = ? AND status = 'running'",
    )
    .bind(&error)
    .bind(&error)
    .bind(ended.as_ref().ok())
    .bind(&run.run_id)
    .bind(lease.epoch())
    .execute(store.pool())
    .await?;
    if recorded.rows_affected() == 0 { Err(RunError::Lost) } else { Ok(()) }
}

/// The run of this id.
pub async fn find(connection: &mut MySqlConnection, run_id: &str) -> Result<Option<Run>, sqlx::Error> {
    sqlx::query_as(select_run!("WHERE run_id = ?")).bind(run_id).fetch_optional(connection).await
}

/// The run of this schedule with the newest slot.
pub async fn newest(connection: &mut MySqlConnection, schedule: &str) -> Result<Option<Run>, sqlx::Error> {
    sqlx::query_as(select_run!("WHERE schedule = ? ORDER BY slot DESC LIMIT 1"))
        .bind(schedule)
        .fetch_optional(connection)
        .await
}

/// Requests a run now. Until that run begins, every request is answered with it.
pub struct RequestRun {
    pub schedule: &'static str,
}

impl Write for RequestRun {
    type Done = Option<Run>;

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Option<Run>, Refusal> {
        // The lock of this row makes requests wait for each other.
        sqlx::query("SELECT name FROM saas_schedules WHERE name = ? FOR UPDATE")
            .bind(self.schedule)
            .execute(unit.connection())
            .await?;
        let waiting: Option<Run> = sqlx::query_as(select_run!("WHERE schedule = ? AND status = 'pending' LIMIT 1"))
            .bind(self.schedule)
            .fetch_optional(unit.connection())
            .await?;
        if waiting.is_some() {
            return Ok(waiting);
        }
        let run_id = insert(unit.connection(), self.schedule, None, actor).await?;
        Ok(find(unit.connection(), &run_id).await?)
    }
}
