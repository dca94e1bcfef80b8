//! The rows of schedules and of their runs.

use super::{Expression, Lease, Plan, RunError, SCHEDULES, Schedule};
use crate::write::{Answer, Refusal, Write};
use axum::http::StatusCode;
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::store::{Store, UnitOfWork};
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, MySqlConnection, MySqlPool};
use utoipa::ToSchema;
use uuid::Uuid;

/// Longest error kept.
const ERROR_CHARS: usize = 1000;

/// One run of a schedule.
#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
pub struct Run {
    /// Its id.
    pub run_id: String,
    /// Of which schedule.
    pub schedule: String,
    /// The slot, or when it was asked for.
    #[serde(serialize_with = "utc")]
    #[schema(value_type = DateTime<Utc>)]
    pub slot: NaiveDateTime,
    /// `clock`, or who asked for it.
    pub requested_by: String,
    /// `pending`, `running`, `succeeded`, `failed`.
    pub status: String,
    /// Who does it, or did.
    pub owner: Option<String>,
    /// Leaders that took it up.
    pub attempts: u32,
    /// Things asked for or removed.
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

/// Makes the schedules known: slots count from the first time on.
pub async fn register(pool: &MySqlPool) -> Result<(), sqlx::Error> {
    for schedule in &SCHEDULES {
        sqlx::query("INSERT INTO saas_schedules (name, last_slot) VALUES (?, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE name = saas_schedules.name")
            .bind(schedule.name)
            .execute(pool)
            .await?;
    }
    Ok(())
}

/// The newest slot that has come gets its run, unless it has had it.
pub async fn give_due_slot_its_run(
    store: &Store,
    lease: &Lease,
    schedule: &Schedule,
    expression: &Expression,
) -> Result<(), RunError> {
    let (last, now): (NaiveDateTime, NaiveDateTime) =
        sqlx::query_as("SELECT last_slot, UTC_TIMESTAMP(6) FROM saas_schedules WHERE name = ?")
            .bind(schedule.name)
            .fetch_one(store.pool())
            .await?;
    let Some(slot) = expression.due(last.and_utc(), now.and_utc()) else { return Ok(()) };
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

/// Takes up the oldest run that has not ended. The leader does one at a time, so one that is `running` was left by a leader
/// before, or by this one when the database failed.
pub async fn claim(store: &Store, lease: &Lease) -> Result<Option<Run>, RunError> {
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

/// Records what became of a run.
pub async fn end(store: &Store, lease: &Lease, run: &Run, ended: &Result<u64, String>) -> Result<(), RunError> {
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

/// The wish for a run now. One that has not begun yet is the answer to everybody who asks meanwhile.
pub struct RequestRun {
    /// Of which schedule.
    pub schedule: &'static str,
}

impl Write for RequestRun {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        // Lets one wish through at a time.
        sqlx::query("SELECT name FROM saas_schedules WHERE name = ? FOR UPDATE")
            .bind(self.schedule)
            .execute(unit.connection())
            .await?;
        let waiting: Option<Run> = sqlx::query_as(select_run!("WHERE schedule = ? AND status = 'pending' LIMIT 1"))
            .bind(self.schedule)
            .fetch_optional(unit.connection())
            .await?;
        let run = match waiting {
            Some(run) => Some(run),
            None => {
                let run_id = insert(unit.connection(), self.schedule, None, actor).await?;
                find(unit.connection(), &run_id).await?
            }
        };
        Ok(Answer::new(StatusCode::ACCEPTED, json!(run)))
    }
}

/// Every schedule, and who leads.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedules)]
pub struct Report {
    /// The process that leads; null while none does.
    pub leader: Option<Leader>,
    /// All of them.
    pub schedules: Vec<Due>,
}

/// Who leads.
#[derive(Serialize, ToSchema)]
pub struct Leader {
    /// The process.
    pub owner: String,
    /// End of its lease, unless it goes on.
    pub until: DateTime<Utc>,
}

/// What is done by the clock.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedule)]
pub struct Due {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Cron, in UTC; null: only when asked for.
    pub expression: Option<String>,
    /// When, unless it is asked for before.
    pub next_run: Option<DateTime<Utc>>,
    /// The newest.
    pub last_run: Option<Run>,
}

/// All schedules with their last and next runs, and who leads.
pub async fn report(pool: &MySqlPool, plan: &Plan) -> Result<Report, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let (now, owner, until): (NaiveDateTime, String, NaiveDateTime) =
        sqlx::query_as("SELECT UTC_TIMESTAMP(6), owner, lease_until FROM saas_leases WHERE name = 'scheduler'")
            .fetch_one(&mut *connection)
            .await?;
    let mut schedules = Vec::new();
    for schedule in &SCHEDULES {
        let last: Option<Run> = sqlx::query_as(select_run!("WHERE schedule = ? ORDER BY slot DESC LIMIT 1"))
            .bind(schedule.name)
            .fetch_optional(&mut *connection)
            .await?;
        let expression = plan.expression(schedule);
        schedules.push(Due {
            name: schedule.name,
            about: schedule.about,
            expression: expression.map(|expression| expression.text.clone()),
            next_run: expression.and_then(|expression| expression.next(now.and_utc())),
            last_run: last,
        });
    }
    let leader = (until > now).then(|| Leader { owner, until: until.and_utc() });
    Ok(Report { leader, schedules })
}
