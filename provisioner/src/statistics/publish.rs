//! The day of the whole system: counted once the tenants are, stored in `saas_daily_statistics`, and in Redis as
//! `daily_stats:{date}` for 7 days.
//!
//! The provisioner never reads what it stores in Redis; without Redis, or after Redis lost everything, no figure
//! changes. While a day is stored, its row is locked, so of several servers that finish together the last one stores
//! what all of them counted.

use chrono::{Days, NaiveDate, NaiveDateTime};
use kernel::jobs::JobError;
use kernel::process::config::ConfigError;
use kernel::process::telemetry::names;
use kernel::statistics::{Collection, Figures};
use kernel::store::Store;
use redis::aio::ConnectionManager;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use sqlx::MySqlConnection;
use std::time::Duration;

/// Days a notice stays up.
const STAYS_DAYS: u64 = 7;
/// Longest wait for Redis.
const TIMEOUT: Duration = Duration::from_millis(1000);

/// Where other programs read the day from: Redis, if there is one.
#[derive(Clone, Default)]
pub struct DailyStatisticsCache(Option<ConnectionManager>);

impl DailyStatisticsCache {
    /// The cache at `REDIS_URL`. Nothing is connected yet.
    pub fn new(url: Option<&SecretString>) -> Result<Self, ConfigError> {
        let Some(url) = url else { return Ok(Self(None)) };
        kernel::database::redis::connection(url, TIMEOUT).map(|redis| Self(Some(redis)))
    }

    async fn store(&self, day: NaiveDate, notice: &Value) {
        let Some(mut redis) = self.0.clone() else { return };
        let mut order = redis::pipe();
        order.set_ex(format!("daily_stats:{day}"), notice.to_string(), STAYS_DAYS * 86_400).ignore();
        let put = tokio::time::timeout(2 * TIMEOUT, order.query_async::<()>(&mut redis)).await;
        let outcome = if matches!(put, Ok(Ok(()))) { "put_up" } else { "failed" };
        if outcome == "failed" {
            tracing::warn!(%day, "the day's statistics were not stored in Redis; nothing depends on it");
        }
        metrics::counter!(names::NOTICEBOARD_WRITES, "outcome" => outcome).increment(1);
    }
}

/// Counts the days of a collection for the whole system, after its tenants were counted.
pub async fn publish(store: &Store, cache: &DailyStatisticsCache, collection: &Collection<'_>) -> Result<(), JobError> {
    let (today,): (NaiveDate,) = sqlx::query_as("SELECT UTC_DATE()").fetch_one(store.pool()).await?;
    // Without a first day given, the newest days are those that changed for all tenants.
    let first = collection.from.unwrap_or(collection.to - Days::new(1));
    for day in first.iter_days().take_while(|day| *day <= collection.to) {
        let mut unit = collection.lease.begin(store).await?;
        count_system(unit.connection(), day).await?;
        if day + Days::new(STAYS_DAYS) > today {
            let notice = notice(unit.connection(), day).await?;
            cache.store(day, &notice).await;
        }
        unit.commit().await?;
    }
    Ok(())
}

/// Counts each table by itself, up to the end of the day as far as its rows say when they came.
async fn count_system(connection: &mut MySqlConnection, day: NaiveDate) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO saas_daily_statistics
             (stat_date, active_tenants, total_users, active_tenant_users, daily_active_users, collected_at)
         SELECT d.day,
             (SELECT COUNT(*) FROM saas_tenants WHERE status = 1 AND deleted = 0
               AND created_at < d.day + INTERVAL 1 DAY),
             (SELECT COUNT(DISTINCT CAST(user_id AS BINARY)) FROM user_info WHERE created < d.day + INTERVAL 1 DAY),
             (SELECT COUNT(DISTINCT user_key) FROM saas_tenant_users
              WHERE status = 1 AND deleted = 0 AND joined_at < d.day + INTERVAL 1 DAY),
             (SELECT COUNT(DISTINCT CAST(NULLIF(user_id, '') AS BINARY)) FROM saas_access_logs
              WHERE created_at >= d.day AND created_at < d.day + INTERVAL 1 DAY),
             UTC_TIMESTAMP(6)
         FROM (SELECT CAST(? AS DATE) AS day) d
         ON DUPLICATE KEY UPDATE active_tenants = VALUES(active_tenants), total_users = VALUES(total_users),
             active_tenant_users = VALUES(active_tenant_users),
             daily_active_users = GREATEST(saas_daily_statistics.daily_active_users, VALUES(daily_active_users)),
             collected_at = VALUES(collected_at)",
    )
    .bind(day)
    .execute(connection)
    .await
    .map(drop)
}

async fn notice(connection: &mut MySqlConnection, day: NaiveDate) -> Result<Value, sqlx::Error> {
    let system: (u64, u64, u64, u64, NaiveDateTime) = sqlx::query_as(
        "SELECT active_tenants, total_users, active_tenant_users, daily_active_users, collected_at
         FROM saas_daily_statistics WHERE stat_date = ?",
    )
    .bind(day)
    .fetch_one(&mut *connection)
    .await?;
    #[derive(sqlx::FromRow)]
    struct OfTenant {
        tenant_id: String,
        #[sqlx(flatten)]
        figures: Figures,
    }
    let tenants: Vec<OfTenant> = sqlx::query_as(
        "SELECT tenant_id, stat_date, total_users, active_users, total_orders, paid_orders,
                CAST(total_revenue AS CHAR) AS total_revenue, total_study_records, daily_orders, daily_paid_orders,
                CAST(daily_revenue AS CHAR) AS daily_revenue, daily_study_records
         FROM saas_tenant_daily_statistics WHERE stat_date = ? ORDER BY tenant_id",
    )
    .bind(day)
    .fetch_all(connection)
    .await?;
    let tenants: Map<String, Value> = tenants.into_iter().map(|of| (of.tenant_id, json!(of.figures))).collect();
    let (active_tenants, total_users, active_tenant_users, daily_active_users, collected_at) = system;
    Ok(json!({
        "date": day,
        "system": {
            "active_tenants": active_tenants,
            "total_users": total_users,
            "active_tenant_users": active_tenant_users,
            "daily_active_users": daily_active_users,
        },
        "tenants": tenants,
        "collected_at": collected_at.and_utc(),
    }))
}
