//! The figures of one tenant, as its database and the access log have them now.
//!
//! Each table is read by itself: a join of two would multiply the rows of one by those of the other. Several days are
//! one statement, over a list of days made on the spot.

use super::error::CountError;
use crate::server::{Found, Marker, ServerError, find};
use chrono::NaiveDate;
use kernel::database::sql;
use kernel::domain::TenantId;
use kernel::statistics::Figures;
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, MySqlConnection, MySqlPool};
use std::collections::BTreeMap;

/// Days of one statement.
pub const DAYS: usize = 31;

/// What is counted, and with what.
pub struct Counting<'a> {
    /// The administrator's connection to the tenant's server.
    pub connection: &'a mut MySqlConnection,
    /// The system database.
    pub system: &'a MySqlPool,
    /// This installation's marker of the tenant.
    pub marker: &'a Marker,
}

type Orders = (NaiveDate, i64, i64, i64, String, i64, i64, String);

impl Counting<'_> {
    /// The figures of `days`, at most [`DAYS`] of them, in order.
    pub async fn count(
        &mut self,
        dialect: crate::server::Dialect,
        days: &[NaiveDate],
    ) -> Result<Vec<Figures>, CountError> {
        let tenant_id = &self.marker.tenant_id;
        let database = tenant_id.database_name();
        match find(self.connection, dialect, &database).await? {
            Found::Marked(marker) if marker.is_of(self.marker) => {}
            Found::Absent => return Err(ServerError::Missing { database }.into()),
            _ => return Err(ServerError::NotOwned { database, tenant_id: tenant_id.to_string() }.into()),
        }
        let name = sql::identifier(&database).map_err(ServerError::from)?;
        let list = vec!["SELECT CAST(? AS DATE) AS day"; days.len()].join(" UNION ALL ");
        let orders = format!(
            "SELECT d.day, COUNT(DISTINCT CAST(o.user_id AS BINARY)), COUNT(DISTINCT o.order_bid),
                    COUNT(DISTINCT CASE WHEN o.status = 502 THEN o.order_bid END),
                    CAST(CAST(COALESCE(SUM(CASE WHEN o.status = 502 THEN o.paid_price END), 0)
                      AS DECIMAL(14,2)) AS CHAR),
                    COUNT(DISTINCT CASE WHEN o.created_at >= d.day THEN o.order_bid END),
                    COUNT(DISTINCT CASE WHEN o.status = 502 AND o.created_at >= d.day THEN o.order_bid END),
                    CAST(CAST(COALESCE(SUM(CASE WHEN o.status = 502 AND o.created_at >= d.day THEN o.paid_price END), 0)
                         AS DECIMAL(14,2)) AS CHAR)
             FROM ({list}) d LEFT JOIN {name}.order_orders o ON o.deleted = 0 AND o.created_at < d.day + INTERVAL 1 DAY
             GROUP BY d.day ORDER BY d.day"
        );
        let orders: Vec<Orders> =
            sqlx::query_as_with(&orders, bound(days)?).persistent(false).fetch_all(&mut *self.connection).await?;
        let studies = format!(
            "SELECT d.day, COUNT(DISTINCT l.progress_record_bid),
                    COUNT(DISTINCT CASE WHEN l.created_at >= d.day THEN l.progress_record_bid END)
             FROM ({list}) d LEFT JOIN {name}.learn_progress_records l
                  ON l.deleted = 0 AND l.created_at < d.day + INTERVAL 1 DAY
             GROUP BY d.day ORDER BY d.day"
        );
        let studies: Vec<(NaiveDate, i64, i64)> =
            sqlx::query_as_with(&studies, bound(days)?).persistent(false).fetch_all(&mut *self.connection).await?;
        let active = active_users(self.system, tenant_id, days).await?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        Ok(orders
            .into_iter()
            .zip(studies)
            .map(
                |(
                    (day, users, orders, paid, revenue, daily, daily_paid, daily_revenue),
                    (_, studies, daily_studies),
                )| {
                    Figures {
                        stat_date: day,
                        total_users: number(users),
                        active_users: active.get(&day).copied().unwrap_or(0),
                        total_orders: number(orders),
                        paid_orders: number(paid),
                        total_revenue: revenue,
                        total_study_records: number(studies),
                        daily_orders: number(daily),
                        daily_paid_orders: number(daily_paid),
                        daily_revenue,
                        daily_study_records: number(daily_studies),
                    }
                },
            )
            .collect())
    }

    /// Keeps the figures in the tenant's own `tenant_statistics`, one row a day.
    pub async fn keep(&mut self, days: &[Figures]) -> Result<(), CountError> {
        let insert = format!(
            "INSERT INTO {}.tenant_statistics
                 (stat_date, total_users, active_users, total_orders, total_revenue, total_study_records) VALUES {}
             ON DUPLICATE KEY UPDATE total_users = VALUES(total_users),
                 active_users = GREATEST(COALESCE(tenant_statistics.active_users, 0), VALUES(active_users)),
                 total_orders = VALUES(total_orders), total_revenue = VALUES(total_revenue),
                 total_study_records = VALUES(total_study_records), updated_at = CURRENT_TIMESTAMP",
            sql::identifier(&self.marker.tenant_id.database_name()).map_err(ServerError::from)?,
            vec!["(?, ?, ?, ?, ?, ?)"; days.len()].join(", "),
        );
        let mut query = sqlx::query(&insert).persistent(false);
        for day in days {
            query = query.bind(day.stat_date).bind(day.total_users).bind(day.active_users).bind(day.total_orders);
            query = query.bind(&day.total_revenue).bind(day.total_study_records);
        }
        query.execute(&mut *self.connection).await?;
        Ok(())
    }
}

fn bound(days: &[NaiveDate]) -> Result<MySqlArguments, sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    for day in days {
        arguments.add(*day).map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// Users of the tenant in the access log, by day.
async fn active_users(
    system: &MySqlPool,
    tenant_id: &TenantId,
    days: &[NaiveDate],
) -> Result<BTreeMap<NaiveDate, u64>, CountError> {
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(BTreeMap::new()) };
    let rows: Vec<(NaiveDate, i64)> = sqlx::query_as(
        "SELECT DATE(created_at), COUNT(DISTINCT CAST(NULLIF(user_id, '') AS BINARY)) FROM saas_access_logs
         WHERE tenant_id = ? AND created_at >= ? AND created_at < ? + INTERVAL 1 DAY GROUP BY DATE(created_at)",
    )
    .bind(tenant_id.as_str())
    .bind(first)
    .bind(last)
    .fetch_all(system)
    .await
    .map_err(|error| CountError::Job(error.into()))?;
    Ok(rows.into_iter().map(|(day, users)| (day, u64::try_from(users).unwrap_or(0))).collect())
}
