//! The days of tenants as a CSV with a header. It is read batch by batch while it is sent, so memory holds few rows at
//! once.

use super::days::{Days, TenantDay, rows};
use chrono::SecondsFormat;
use futures::stream::{self, Stream};
use sqlx::MySqlPool;

/// Rows read at once.
const BATCH: u32 = 2000;

/// The text of the CSV, in pieces.
pub fn csv_rows(pool: MySqlPool, days: Days) -> impl Stream<Item = Result<Vec<u8>, std::io::Error>> {
    let start = (Some(days.after.clone()), true);
    stream::try_unfold(start, move |(after, first)| {
        let (pool, days) = (pool.clone(), Days { tenant_id: days.tenant_id.clone(), after: None, ..days });
        async move {
            let Some(after) = after else { return Ok(None) };
            let rows = rows(&pool, &days, after.as_ref(), BATCH).await.map_err(|error| {
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

fn csv_text(rows: &[TenantDay], header: bool) -> Result<Vec<u8>, std::io::Error> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    if header {
        writer.write_record(HEADER)?;
    }
    for TenantDay { tenant_id, figures, collected_at } in rows {
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
            collected_at.and_utc().to_rfc3339_opts(SecondsFormat::Micros, true),
        ])?;
    }
    writer.into_inner().map_err(|error| std::io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::statistics::Figures;

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
        let row = TenantDay { tenant_id: "acme".into(), figures, collected_at: day.and_hms_opt(1, 2, 3).unwrap() };
        let text = String::from_utf8(csv_text(&[row], true).unwrap()).unwrap();
        let (names, values) = text.split_once('\n').unwrap();
        assert_eq!(names, HEADER.join(","));
        assert_eq!(values.trim_end(), "2026-01-31,acme,1,2,3,4,5.00,6,7,8,9.00,10,2026-01-31T01:02:03.000000Z");
    }
}
