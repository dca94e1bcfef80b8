//! The schedules as an operator sees them.

use super::{Run, SCHEDULES, ScheduleSettings, runs};
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Serialize;
use sqlx::MySqlPool;
use utoipa::ToSchema;

/// Every schedule, and the process that leads.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedules)]
pub struct Report {
    /// The process that leads; null while none does.
    pub leader: Option<Leader>,
    /// All schedules.
    pub schedules: Vec<Due>,
}

/// The process that leads the schedules.
#[derive(Serialize, ToSchema)]
pub struct Leader {
    pub owner: String,
    /// End of its lease, unless it renews it.
    pub until: DateTime<Utc>,
}

/// A schedule with its last and next run.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedule)]
pub struct Due {
    pub name: &'static str,
    /// What it does, in words.
    pub about: &'static str,
    /// Cron, in UTC; null: it runs only on request.
    pub expression: Option<String>,
    /// When it runs next, unless a run is requested before.
    pub next_run: Option<DateTime<Utc>>,
    /// Its newest run.
    pub last_run: Option<Run>,
}

/// All schedules with their last and next runs, and the process that leads.
pub async fn report(pool: &MySqlPool, settings: &ScheduleSettings) -> Result<Report, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let (now, owner, until): (NaiveDateTime, String, NaiveDateTime) =
        sqlx::query_as("SELECT UTC_TIMESTAMP(6), owner, lease_until FROM saas_leases WHERE name = 'scheduler'")
            .fetch_one(&mut *connection)
            .await?;
    let mut schedules = Vec::new();
    for schedule in &SCHEDULES {
        let last = runs::newest(&mut connection, schedule.name).await?;
        let expression = settings.expression(schedule);
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
