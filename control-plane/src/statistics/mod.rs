//! Statistics of tenants, as the control plane sees them. It has no account on the tenants' servers: it requests that
//! the workers count ([`collect`], [`live`]) and reads what they stored ([`days`], and as a file [`csv`]).

mod collect;
mod csv;
mod days;
mod live;

pub use collect::{Collection, RequestCollection, RequestedCollection, collections};
pub use csv::csv_rows;
pub use days::{Days, SystemDay, TenantDay, page, parse_cursor, system_days};
pub use live::{Live, now};

use chrono::NaiveDate;
use kernel::http::ApiError;

/// Most days of one request.
const MOST_DAYS: i64 = 366;

pub fn parse_day(text: &str, field: &'static str) -> Result<NaiveDate, ApiError> {
    kernel::http::parse_day(text)
        .filter(|day| (2000..=9999).contains(&chrono::Datelike::year(day)))
        .ok_or_else(|| ApiError::invalid(field, field, "a day such as 2026-01-31"))
}

/// A range of days, in order and not too long.
pub fn check_range(from: NaiveDate, to: NaiveDate) -> Result<(), ApiError> {
    if from > to {
        return Err(ApiError::invalid("from", "from", "not after `to`"));
    }
    if (to - from).num_days() >= MOST_DAYS {
        return Err(ApiError::invalid("from", "from", format!("at most {MOST_DAYS} days before `to`")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_ranges_are_checked() {
        let day = |text| parse_day(text, "from").unwrap();
        for bad in ["", "2026-1-1", "+2026-01-01", "2026-02-30", "1999-12-31", "yesterday", "2026-01-01T00:00:00Z"] {
            assert_eq!(parse_day(bad, "from").unwrap_err().code().name(), "invalid_from", "{bad}");
        }
        assert!(check_range(day("2026-01-01"), day("2026-01-01")).is_ok());
        assert!(check_range(day("2025-01-01"), day("2026-01-01")).is_ok());
        assert!(check_range(day("2025-01-01"), day("2026-01-02")).is_err());
        assert!(check_range(day("2026-01-02"), day("2026-01-01")).is_err());
    }
}
