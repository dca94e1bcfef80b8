//! A collection: all tenants of one database server, counted for a range of days, by one worker under a lease.

use super::Figures;
use chrono::NaiveDate;
use sqlx::{MySqlPool, QueryBuilder};
use std::time::{Duration, Instant};

/// Why a worker could not record something.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// The lease ran out and somebody else collects.
    #[error("the collection belongs to somebody else now")]
    Lost,
    /// The system database failed.
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
}

/// The right to collect, for a while.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Its id.
    pub collection_id: String,
    /// First day; `None`: for each tenant the first that was not counted after its end.
    pub from: Option<NaiveDate>,
    /// Last day.
    pub to: NaiveDate,
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// Which claim this is.
    pub epoch: u32,
    /// When the claim was asked for, on this process's own clock.
    pub claimed_at: Instant,
    /// How long it lasts without renewal.
    pub duration: Duration,
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

/// Takes the oldest due collection of `server`; one whose worker gives no sign of life is due again.
pub async fn claim(
    pool: &MySqlPool,
    server: &str,
    owner: &str,
    duration: Duration,
) -> Result<Option<Collection>, sqlx::Error> {
    let claimed_at = Instant::now();
    let mut tx = pool.begin().await?;
    let due: Option<(String, Option<NaiveDate>, NaiveDate, u32, u32)> = sqlx::query_as(
        "SELECT collection_id, from_day, to_day, epoch, attempts FROM saas_collections
         WHERE server_id = ? AND status IN ('pending', 'running') AND next_attempt_at <= UTC_TIMESTAMP(6)
           AND (lease_until IS NULL OR lease_until <= UTC_TIMESTAMP(6))
         ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED",
    )
    .bind(server)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((collection_id, from, to, epoch, attempts)) = due else { return Ok(None) };
    sqlx::query(
        "UPDATE saas_collections SET status = 'running', owner = ?, epoch = ?, attempts = ?,
                lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND, started_at = COALESCE(started_at, UTC_TIMESTAMP(6))
         WHERE collection_id = ?",
    )
    .bind(owner)
    .bind(epoch + 1)
    .bind(attempts + 1)
    .bind(duration.as_micros() as u64)
    .bind(&collection_id)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let (epoch, attempts) = (epoch + 1, attempts + 1);
    Ok(Some(Collection { collection_id, from, to, attempts, epoch, claimed_at, duration }))
}

impl Collection {
    /// Keeps it for another `duration` and shows how far it is; returns when that was asked for.
    pub async fn renew(&self, pool: &MySqlPool, counts: Counts) -> Result<Instant, CollectionError> {
        let asked = Instant::now();
        let renewed = sqlx::query(
            "UPDATE saas_collections SET lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND, tenants = ?, collected = ?,
                    failed = ? WHERE collection_id = ? AND epoch = ? AND status = 'running'",
        )
        .bind(self.duration.as_micros() as u64)
        .bind(counts.tenants)
        .bind(counts.collected)
        .bind(counts.failed)
        .bind(&self.collection_id)
        .bind(self.epoch)
        .execute(pool)
        .await?;
        held(renewed.rows_affected()).map(|()| asked)
    }

    /// Keeps what was counted of one tenant, all days in one write.
    pub async fn record(&self, pool: &MySqlPool, tenant_id: &str, days: &[Figures]) -> Result<(), CollectionError> {
        let mut insert = QueryBuilder::new(
            "INSERT INTO saas_tenant_daily_statistics (stat_date, tenant_id, total_users, active_users, total_orders,
                paid_orders, total_revenue, total_study_records, daily_orders, daily_paid_orders, daily_revenue,
                daily_study_records, collection_id, collected_at)
             SELECT f.d, f.t, f.a, f.b, f.c, f.e, f.g, f.h, f.i, f.j, f.k, f.l, c.collection_id, UTC_TIMESTAMP(6)
             FROM saas_collections c JOIN (",
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
        insert.push(") f WHERE c.collection_id = ").push_bind(&self.collection_id);
        insert.push(" AND c.epoch = ").push_bind(self.epoch);
        insert.push(
            " AND c.status = 'running' ON DUPLICATE KEY UPDATE total_users = VALUES(total_users),
             active_users = GREATEST(saas_tenant_daily_statistics.active_users, VALUES(active_users)),
             total_orders = VALUES(total_orders), paid_orders = VALUES(paid_orders), total_revenue = VALUES(total_revenue),
             total_study_records = VALUES(total_study_records), daily_orders = VALUES(daily_orders),
             daily_paid_orders = VALUES(daily_paid_orders), daily_revenue = VALUES(daily_revenue),
             daily_study_records = VALUES(daily_study_records), collection_id = VALUES(collection_id),
             collected_at = VALUES(collected_at)",
        );
        held(insert.build().execute(pool).await?.rows_affected())
    }

    /// Keeps why a tenant could not be counted.
    pub async fn record_failure(&self, pool: &MySqlPool, tenant_id: &str, reason: &str) -> Result<(), CollectionError> {
        let reason: String = reason.chars().take(300).collect();
        let kept = sqlx::query(
            "INSERT INTO saas_collection_failures (collection_id, tenant_id, reason, failed_at)
             SELECT collection_id, ?, ?, UTC_TIMESTAMP(6) FROM saas_collections
             WHERE collection_id = ? AND epoch = ? AND status = 'running'
             ON DUPLICATE KEY UPDATE reason = VALUES(reason), failed_at = VALUES(failed_at)",
        )
        .bind(tenant_id)
        .bind(reason)
        .bind(&self.collection_id)
        .bind(self.epoch)
        .execute(pool)
        .await?;
        held(kept.rows_affected())
    }

    /// Gives it back: it is due again after `wait`.
    pub async fn retry_after(&self, pool: &MySqlPool, wait: Duration, reason: &str) -> Result<(), CollectionError> {
        let given = sqlx::query(
            "UPDATE saas_collections SET status = 'pending', owner = NULL, lease_until = NULL, error = ?,
                    next_attempt_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND
             WHERE collection_id = ? AND epoch = ? AND status = 'running'",
        )
        .bind(reason.chars().take(1000).collect::<String>())
        .bind(wait.as_micros() as u64)
        .bind(&self.collection_id)
        .bind(self.epoch)
        .execute(pool)
        .await?;
        held(given.rows_affected())
    }

    /// Ends it: `failed` if a tenant could not be counted.
    pub async fn end(&self, pool: &MySqlPool, counts: Counts) -> Result<(), CollectionError> {
        let error = (counts.failed > 0).then(|| format!("{} tenants could not be counted", counts.failed));
        let ended = sqlx::query(
            "UPDATE saas_collections SET status = IF(? = 0, 'succeeded', 'failed'), error = ?, owner = NULL, lease_until = NULL,
                    tenants = ?, collected = ?, failed = ?, ended_at = UTC_TIMESTAMP(6)
             WHERE collection_id = ? AND epoch = ? AND status = 'running'",
        )
        .bind(counts.failed)
        .bind(error)
        .bind(counts.tenants)
        .bind(counts.collected)
        .bind(counts.failed)
        .bind(&self.collection_id)
        .bind(self.epoch)
        .execute(pool)
        .await?;
        held(ended.rows_affected())
    }
}

fn held(rows: u64) -> Result<(), CollectionError> {
    if rows == 0 { Err(CollectionError::Lost) } else { Ok(()) }
}
