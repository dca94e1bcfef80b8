//! Times and days in queries, by their grammar. Both APIs read them alike.

use super::ApiError;
use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use std::ops::RangeInclusive;

/// The years that a column of a database can hold.
pub const YEARS: RangeInclusive<i32> = 1000..=9999;

/// A time by RFC 3339, such as `2026-01-31T12:00:00+08:00`.
///
/// A `+` that the client did not write as %2B arrives as a blank, which no time contains, so it is read as a `+`. A
/// leap second is refused, because a database would store another time.
///
/// # Errors
/// 422 `invalid_<field>` if it is anything else.
pub fn parse_time(text: &str, field: &'static str) -> Result<DateTime<Utc>, ApiError> {
    time(text).ok_or_else(|| {
        ApiError::invalid(field, field, "an RFC 3339 time such as 2026-01-31T12:00:00Z, without a leap second")
    })
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    // The blank stands where the offset begins: `+08:00` is six characters long.
    let offset = text.len().checked_sub(6)?;
    let text = match text.as_bytes().get(offset) {
        Some(b' ') => format!("{}+{}", &text[..offset], &text[offset + 1..]),
        _ => text.to_owned(),
    };
    if text.contains(' ') {
        return None;
    }
    let time = DateTime::parse_from_rfc3339(&text).ok()?.to_utc();
    (time.nanosecond() < 1_000_000_000 && YEARS.contains(&time.year())).then_some(time)
}

/// A day such as `2026-01-31`.
pub fn parse_day(text: &str) -> Option<NaiveDate> {
    let day: NaiveDate = text.parse().ok()?;
    (YEARS.contains(&day.year()) && day.to_string() == text).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_right_or_refused() {
        let noon = DateTime::from_timestamp(1_769_860_800, 0).unwrap();
        for text in ["2026-01-31T12:00:00Z", "2026-01-31T20:00:00+08:00", "2026-01-31T20:00:00 08:00"] {
            assert_eq!(parse_time(text, "at").unwrap(), noon, "{text}");
        }
        for bad in [
            "",
            "Z",
            "é:00:00",
            "yesterday",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00Z",
            "2026-01-31 20:00:00 08:00",
            "2016-12-31T23:59:60Z",
            "0999-01-01T00:00:00Z",
            "9999-12-31T23:59:59-08:00",
            "+99999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_time(bad, "at").unwrap_err().code().name(), "invalid_at", "{bad}");
        }
    }

    #[test]
    fn a_day_has_one_form() {
        assert!(parse_day("2026-01-31").is_some());
        for bad in ["", "2026-1-31", " 2026-01-31", "2026-02-30", "+99999-01-01", "-0001-01-01", "0999-01-01"] {
            assert_eq!(parse_day(bad), None, "{bad}");
        }
    }
}
