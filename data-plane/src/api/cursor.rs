//! [`Cursor`]: where the next page of a list begins, which is after the last row's time and id.

use chrono::{DateTime, Datelike, NaiveDateTime};
use kernel::http::{ApiError, YEARS, cursor};
use std::fmt;

/// The page begins after the row with this time and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// `created_at` of the row.
    pub created_at: NaiveDateTime,
    /// `id` of the row.
    pub id: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}|{}", self.created_at.and_utc().timestamp_micros(), self.id)
    }
}

impl Cursor {
    /// The text that clients get.
    pub fn encode(self) -> String {
        cursor::encode(&self)
    }

    /// Reads the text that a client sends back.
    ///
    /// # Errors
    /// 422 `invalid_cursor` if no list has issued it.
    pub fn decode(text: &str) -> Result<Self, ApiError> {
        cursor::decode(text, Self::parse)
    }

    fn parse(text: &str) -> Option<Self> {
        let (micros, id) = text.split_once('|')?;
        let created_at = DateTime::from_timestamp_micros(micros.parse().ok()?)?.naive_utc();
        let cursor = Self { created_at, id: id.parse().ok()? };
        YEARS.contains(&created_at.year()).then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_decodes_to_what_was_encoded() {
        for (time, id) in [
            ("2025-01-01T00:00:00", 1),
            ("1000-01-01T00:00:00", i64::MAX),
            ("9999-12-31T23:59:59.999999", 0),
            ("2024-02-29T12:00:00.000001", 42),
        ] {
            let cursor = Cursor { created_at: time.parse().unwrap(), id };
            assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
        }
    }

    #[test]
    fn a_cursor_that_no_list_has_issued_is_refused() {
        for bad in [
            "",
            "1",
            "1|",
            "|1",
            "x|1",
            "1|x",
            "1|1|1",
            "+1|1",
            "1|+1",
            "01|1",
            "3000000000000000000|1",
            "-99999999999999999|1",
            "9223372036854775807|1",
            "1|9223372036854775808",
        ] {
            let error = Cursor::decode(&cursor::encode(&bad)).unwrap_err();
            assert_eq!(error.code().name(), "invalid_cursor", "{bad:?}");
        }
        assert!(Cursor::decode("!").is_err() && Cursor::decode("MXwx=").is_err());
    }
}
