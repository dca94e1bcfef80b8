//! What was counted, by day and tenant.

use super::{check_range, parse_day};
use crate::admin::path_tenant_id;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, Utc};
use futures::stream::{self, Stream};
use kernel::http::{ApiError, parse_limit};
use kernel::statistics::Figures;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, MySqlPool};
use utoipa::{IntoParams, ToSchema};

/// Rows read at once for a CSV.
const BATCH: u32 = 2000;

/// Query of `GET /admin/stats`.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Question {
    /// First day, in UTC; unless given, the thirtieth up to `to`.
    #[param(value_type = Option<NaiveDate>)]
    from: Option<String>,
    /// Last day; unless given, today.
    #[param(value_type = Option<NaiveDate>)]
    to: Option<String>,
    /// Only this tenant.
    tenant_id: Option<String>,
    /// Most rows of the page; 1,000 unless told otherwise. A CSV has all of them.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// `json`, or `csv`, which `Accept: text/csv` asks for as well.
    #[param(pattern = "^(json|csv)$")]
    pub format: Option<String>,
}

/// The question as understood.
pub struct Wanted {
    /// First day.
    pub from: NaiveDate,
    /// Last day.
    pub to: NaiveDate,
    /// Of one tenant.
    pub tenant_id: Option<String>,
    limit: u32,
    after: Option<(NaiveDate, String)>,
}

impl Question {
    /// 422 with the name of what is wrong. Without days: the last thirty.
    pub fn understand(&self) -> Result<Wanted, ApiError> {
        let to = self.to.as_deref().map(|text| parse_day(text, "to")).transpose()?;
        let to = to.unwrap_or_else(|| Utc::now().date_naive());
        let from = self.from.as_deref().map(|text| parse_day(text, "from")).transpose()?.unwrap_or(to - Days::new(29));
        check_range(from, to)?;
        let tenant_id = self.tenant_id.as_deref().map(path_tenant_id).transpose()?.map(|id| id.as_str().to_owned());
        let limit = parse_limit(self.limit.as_deref(), 1000, 10_000)?;
        let after = self.cursor.as_deref().map(parse_cursor).transpose()?;
        Ok(Wanted { from, to, tenant_id, limit, after })
    }
}

/// One tenant on one day.
#[derive(Serialize, FromRow, ToSchema)]
#[schema(as = TenantDay)]
pub struct Row {
    /// Whose.
    pub tenant_id: String,
    /// The figures.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub figures: Figures,
    /// When they were counted.
    #[serde(serialize_with = "utc")]
    #[schema(value_type = DateTime<Utc>)]
    collected_at: NaiveDateTime,
}

/// The whole system on one day: the sums over its tenants, and what was counted of it as a whole.
#[derive(Serialize, ToSchema)]
pub struct SystemDay {
    /// The day, in UTC.
    date: NaiveDate,
    /// Tenants that were counted.
    tenants: i64,
    /// Their orders.
    total_orders: u64,
    /// Paid ones.
    paid_orders: u64,
    /// What was paid for them.
    total_revenue: String,
    /// Their study records.
    total_study_records: u64,
    /// Orders of the day.
    daily_orders: u64,
    /// Paid ones of the day.
    daily_paid_orders: u64,
    /// What was paid for these.
    daily_revenue: String,
    /// Study records of the day.
    daily_study_records: u64,
    /// Tenants that were served; null until the day was counted as a whole.
    active_tenants: Option<u64>,
    /// Users.
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
pub async fn page(pool: &MySqlPool, wanted: &Wanted) -> Result<(Vec<Row>, Option<String>), sqlx::Error> {
    let mut rows = rows(pool, wanted, wanted.after.as_ref(), wanted.limit + 1).await?;
    let more = rows.len() > wanted.limit as usize;
    rows.truncate(wanted.limit as usize);
    let next = rows.last().filter(|_| more).map(cursor);
    Ok((rows, next))
}

async fn rows(
    pool: &MySqlPool,
    wanted: &Wanted,
    after: Option<&(NaiveDate, String)>,
    limit: u32,
) -> Result<Vec<Row>, sqlx::Error> {
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
    .bind(day.unwrap_or(wanted.from).max(wanted.from))
    .bind(wanted.to)
    .bind(&wanted.tenant_id)
    .bind(&wanted.tenant_id)
    .bind(day.unwrap_or(wanted.from))
    .bind(tenant.unwrap_or(""))
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// The days of the whole system: what was counted of it, and the sums over its tenants.
pub async fn system_days(pool: &MySqlPool, wanted: &Wanted) -> Result<Vec<SystemDay>, sqlx::Error> {
    type Sums = (NaiveDate, i64, u64, u64, String, u64, u64, u64, String, u64);
    type OfSystem = (NaiveDate, u64, u64, u64, u64, NaiveDateTime);
    let sums: Vec<Sums> = sqlx::query_as(
        "SELECT stat_date, COUNT(*), CAST(SUM(total_orders) AS UNSIGNED), CAST(SUM(paid_orders) AS UNSIGNED),
                CAST(SUM(total_revenue) AS CHAR), CAST(SUM(total_study_records) AS UNSIGNED),
                CAST(SUM(daily_orders) AS UNSIGNED), CAST(SUM(daily_paid_orders) AS UNSIGNED),
                CAST(SUM(daily_revenue) AS CHAR), CAST(SUM(daily_study_records) AS UNSIGNED)
         FROM saas_tenant_daily_statistics WHERE stat_date >= ? AND stat_date <= ? GROUP BY stat_date ORDER BY stat_date",
    )
    .bind(wanted.from)
    .bind(wanted.to)
    .fetch_all(pool)
    .await?;
    let system: Vec<OfSystem> = sqlx::query_as(
        "SELECT stat_date, active_tenants, total_users, active_tenant_users, daily_active_users, collected_at
         FROM saas_daily_statistics WHERE stat_date >= ? AND stat_date <= ?",
    )
    .bind(wanted.from)
    .bind(wanted.to)
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

/// The same rows as a CSV with a header, read batch by batch while they are sent: however many there are, few are in memory.
pub fn csv_rows(pool: MySqlPool, wanted: Wanted) -> impl Stream<Item = Result<Vec<u8>, std::io::Error>> {
    let start = (Some(wanted.after.clone()), true);
    stream::try_unfold(start, move |(after, first)| {
        let (pool, wanted) = (pool.clone(), Wanted { tenant_id: wanted.tenant_id.clone(), after: None, ..wanted });
        async move {
            let Some(after) = after else { return Ok(None) };
            let rows = rows(&pool, &wanted, after.as_ref(), BATCH).await.map_err(|error| {
                tracing::warn!(cause = %error, "a CSV of statistics was broken off");
                std::io::Error::other("the system database failed")
            })?;
            let next = rows.last().filter(|_| rows.len() == BATCH as usize);
            let next = next.map(|last| Some((last.figures.stat_date, last.tenant_id.clone())));
            Ok(Some((csv_text(&rows, first)?, (next, false))))
        }
    })
}

const HEADER: [&str; 13] = [
    "date",
    "tenant_id",
    "total_users",
    "active_users",
    "total_orders",
    "paid_orders",
    "total_revenue",
    "total_study_records",
    "daily_orders",
    "daily_paid_orders",
    "daily_revenue",
    "daily_study_records",
    "collected_at",
];

fn csv_text(rows: &[Row], header: bool) -> Result<Vec<u8>, std::io::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if header {
        writer.write_record(HEADER)?;
    }
    for Row { tenant_id, figures, collected_at } in rows {
        writer.write_record([
            figures.stat_date.to_string(),
            tenant_id.clone(),
            figures.total_users.to_string(),
            figures.active_users.to_string(),
            figures.total_orders.to_string(),
            figures.paid_orders.to_string(),
            figures.total_revenue.clone(),
            figures.total_study_records.to_string(),
            figures.daily_orders.to_string(),
            figures.daily_paid_orders.to_string(),
            figures.daily_revenue.clone(),
            figures.daily_study_records.to_string(),
            collected_at.and_utc().to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        ])?;
    }
    writer.into_inner().map_err(|error| std::io::Error::other(error.to_string()))
}

fn cursor(row: &Row) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}|{}", row.figures.stat_date, row.tenant_id))
}

fn parse_cursor(text: &str) -> Result<(NaiveDate, String), ApiError> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded
        .and_then(|text| text.split_once('|').and_then(|(day, id)| Some((day.parse().ok()?, id.to_owned()))))
        .filter(|(_, id)| path_tenant_id(id).is_ok())
        .ok_or_else(|| ApiError::invalid("cursor", "cursor", "not a next_cursor of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_others_are_refused() {
        let text = URL_SAFE_NO_PAD.encode("2026-01-31|acme");
        assert_eq!(parse_cursor(&text).unwrap(), ("2026-01-31".parse().unwrap(), "acme".to_owned()));
        for bad in ["", "!", &URL_SAFE_NO_PAD.encode("2026-01-31"), &URL_SAFE_NO_PAD.encode("2026-01-31|A")] {
            assert!(parse_cursor(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_csv_has_a_field_for_each_name() {
        let day = "2026-01-31".parse().unwrap();
        let figures = Figures {
            stat_date: day,
            total_users: 1,
            active_users: 2,
            total_orders: 3,
            paid_orders: 4,
            total_revenue: "5.00".into(),
            total_study_records: 6,
            daily_orders: 7,
            daily_paid_orders: 8,
            daily_revenue: "9.00".into(),
            daily_study_records: 10,
        };
        let row = Row { tenant_id: "acme".into(), figures, collected_at: day.and_hms_opt(1, 2, 3).unwrap() };
        let text = String::from_utf8(csv_text(&[row], true).unwrap()).unwrap();
        let (names, values) = text.split_once('\n').unwrap();
        assert_eq!(names, HEADER.join(","));
        assert_eq!(values.trim_end(), "2026-01-31,acme,1,2,3,4,5.00,6,7,8,9.00,10,2026-01-31T01:02:03.000000Z");
    }
}
