//! What was counted, by day and tenant.

use crate::cursor::cut;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use kernel::domain::TenantId;
use kernel::http::{ApiError, cursor, parse_day};
use kernel::statistics::Figures;
use serde::Serialize;
use sqlx::{FromRow, MySqlPool};
use std::fmt;
use utoipa::ToSchema;

/// Which days, and of which tenants.
pub struct Days {
    /// First day.
    pub from: NaiveDate,
    /// Last day.
    pub to: NaiveDate,
    /// Only of this tenant.
    pub tenant_id: Option<String>,
    /// Most rows of a page.
    pub limit: u32,
    /// The page begins after this day of this tenant.
    pub after: Option<(NaiveDate, String)>,
}

/// One tenant on one day.
#[derive(Serialize, FromRow, ToSchema)]
pub struct TenantDay {
    pub tenant_id: String,
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub figures: Figures,
    /// When they were counted.
    #[serde(serialize_with = "utc")]
    #[schema(value_type = DateTime<Utc>)]
    pub collected_at: NaiveDateTime,
}

/// The whole system on one day: the sums over its tenants, and what was counted of it as a whole.
#[derive(Serialize, ToSchema)]
pub struct SystemDay {
    /// The day, in UTC.
    date: NaiveDate,
    /// Tenants that were counted.
    tenants: i64,
    /// Orders of these tenants.
    total_orders: u64,
    /// Paid orders.
    paid_orders: u64,
    /// What was paid for the paid orders.
    total_revenue: String,
    /// Study records of these tenants.
    total_study_records: u64,
    /// Orders of the day.
    daily_orders: u64,
    /// Paid orders of the day.
    daily_paid_orders: u64,
    /// What was paid for the paid orders of the day.
    daily_revenue: String,
    /// Study records of the day.
    daily_study_records: u64,
    /// Tenants that were served; null until the day was counted as a whole.
    active_tenants: Option<u64>,
    /// All users.
    total_users: Option<u64>,
    /// Users who belong to a tenant.
    active_tenant_users: Option<u64>,
    /// Users in the access log of the day.
    daily_active_users: Option<u64>,
    /// When it was counted.
    collected_at: Option<DateTime<Utc>>,
}

fn utc<S: serde::Serializer>(time: &NaiveDateTime, to: S) -> Result<S::Ok, S::Error> {
    time.and_utc().serialize(to)
}

/// Rows in the order of days and tenants, and the cursor of what follows them.
pub async fn page(pool: &MySqlPool, days: &Days) -> Result<(Vec<TenantDay>, Option<String>), sqlx::Error> {
    let mut rows = rows(pool, days, days.after.as_ref(), days.limit + 1).await?;
    let next = cut(&mut rows, days.limit).then(|| rows.last().map(TenantDay::cursor)).flatten();
    Ok((rows, next))
}

pub async fn rows(
    pool: &MySqlPool,
    days: &Days,
    after: Option<&(NaiveDate, String)>,
    limit: u32,
) -> Result<Vec<TenantDay>, sqlx::Error> {
    let (day, tenant) = after.map_or((None, None), |(day, tenant)| (Some(*day), Some(tenant.as_str())));
    sqlx::query_as(
        "SELECT tenant_id, stat_date, total_users, active_users, total_orders, paid_orders,
                CAST(total_revenue AS CHAR) AS total_revenue, total_study_records, daily_orders, daily_paid_orders,
                CAST(daily_revenue AS CHAR) AS daily_revenue, daily_study_records, collected_at
         FROM saas_tenant_daily_statistics
         WHERE stat_date >= ? AND stat_date <= ? AND (? IS NULL OR tenant_id = ?)
           AND (stat_date > ? OR tenant_id > ?)
         ORDER BY stat_date, tenant_id LIMIT ?",
    )
    .bind(day.unwrap_or(days.from).max(days.from))
    .bind(days.to)
    .bind(&days.tenant_id)
    .bind(&days.tenant_id)
    .bind(day.unwrap_or(days.from))
    .bind(tenant.unwrap_or(""))
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// The days of the whole system: what was counted of it, and the sums over its tenants.
pub async fn system_days(pool: &MySqlPool, days: &Days) -> Result<Vec<SystemDay>, sqlx::Error> {
    type Sums = (NaiveDate, i64, u64, u64, String, u64, u64, u64, String, u64);
    type OfSystem = (NaiveDate, u64, u64, u64, u64, NaiveDateTime);
    let sums: Vec<Sums> = sqlx::query_as(
        "SELECT stat_date, COUNT(*), CAST(SUM(total_orders) AS UNSIGNED), CAST(SUM(paid_orders) AS UNSIGNED),
                CAST(SUM(total_revenue) AS CHAR), CAST(SUM(total_study_records) AS UNSIGNED),
                CAST(SUM(daily_orders) AS UNSIGNED), CAST(SUM(daily_paid_orders) AS UNSIGNED),
                CAST(SUM(daily_revenue) AS CHAR), CAST(SUM(daily_study_records) AS UNSIGNED)
         FROM saas_tenant_daily_statistics WHERE stat_date >= ? AND stat_date <= ?
         GROUP BY stat_date ORDER BY stat_date",
    )
    .bind(days.from)
    .bind(days.to)
    .fetch_all(pool)
    .await?;
    let system: Vec<OfSystem> = sqlx::query_as(
        "SELECT stat_date, active_tenants, total_users, active_tenant_users, daily_active_users, collected_at
         FROM saas_daily_statistics WHERE stat_date >= ? AND stat_date <= ?",
    )
    .bind(days.from)
    .bind(days.to)
    .fetch_all(pool)
    .await?;
    Ok(sums
        .into_iter()
        .map(|(day, tenants, orders, paid, revenue, studies, d_orders, d_paid, d_revenue, d_studies)| {
            let of_system = system.iter().find(|of_system| of_system.0 == day);
            SystemDay {
                date: day,
                tenants,
                total_orders: orders,
                paid_orders: paid,
                total_revenue: revenue,
                total_study_records: studies,
                daily_orders: d_orders,
                daily_paid_orders: d_paid,
                daily_revenue: d_revenue,
                daily_study_records: d_studies,
                active_tenants: of_system.map(|day| day.1),
                total_users: of_system.map(|day| day.2),
                active_tenant_users: of_system.map(|day| day.3),
                daily_active_users: of_system.map(|day| day.4),
                collected_at: of_system.map(|day| day.5.and_utc()),
            }
        })
        .collect())
}

impl TenantDay {
    fn cursor(&self) -> String {
        cursor::encode(&Place { day: self.figures.stat_date, tenant_id: self.tenant_id.clone() })
    }
}

/// The day and the tenant after which a page begins.
#[derive(Debug, PartialEq)]
struct Place {
    day: NaiveDate,
    tenant_id: String,
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}|{}", self.day, self.tenant_id)
    }
}

/// The day and the tenant in a cursor.
pub fn parse_cursor(text: &str) -> Result<(NaiveDate, String), ApiError> {
    let place = |text: &str| {
        let (day, id) = text.split_once('|')?;
        id.parse::<TenantId>().ok()?;
        Some(Place { day: parse_day(day)?, tenant_id: id.to_owned() })
    };
    cursor::decode(text, place).map(|place| (place.day, place.tenant_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_names_a_day_and_a_tenant() {
        let text = cursor::encode(&"2026-01-31|acme");
        assert_eq!(parse_cursor(&text).unwrap(), ("2026-01-31".parse().unwrap(), "acme".to_owned()));
        for bad in ["", "!", "2026-01-31", "2026-01-31|A", "+99999-01-01|acme", "2026-1-31|acme"] {
            assert!(parse_cursor(&cursor::encode(&bad)).is_err(), "{bad}");
        }
    }
}
