//! [`Cursor`]: where the next page of a list begins. Clients treat it as opaque; it is base64url of the last row's time
//! and id.
//!
//! A cursor is a position in the order of the list and not a number of rows to skip. So rows that are added or removed
//! between two pages neither repeat nor hide others. A cursor grants nothing, because the same checks apply to every
//! page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveDateTime};
use kernel::http::ApiError;

/// The page begins after the row with this time and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// `created_at` of the row.
    pub created_at: NaiveDateTime,
    /// `id` of the row.
    pub id: i64,
}

impl Cursor {
    /// The text that clients get.
    pub fn encode(self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}|{}", self.created_at.and_utc().timestamp_micros(), self.id))
    }

    /// Reads the text that a client sends back.
    ///
    /// # Errors
    /// 422 `invalid_cursor` if no list has issued it.
    pub fn decode(text: &str) -> Result<Self, ApiError> {
        Self::parse(text).ok_or_else(|| ApiError::invalid("cursor", "cursor", "not a cursor of this list"))
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (micros, id) = std::str::from_utf8(&bytes).ok()?.split_once('|')?;
        let created_at = DateTime::from_timestamp_micros(micros.parse().ok()?)?.naive_utc();
        Some(Self { created_at, id: id.parse().ok()? })
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
    fn an_invalid_cursor_is_refused_with_its_field() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for bad in [
            "",
            "!",
            "abc",
            &encode("1"),
            &encode("1|"),
            &encode("|1"),
            &encode("x|1"),
            &encode("1|x"),
            &encode("1|1|1"),
            &encode("9223372036854775807|1"),
            &encode("1|9223372036854775808"),
            "MXwx=",
        ] {
            let error = Cursor::decode(bad).unwrap_err();
            assert_eq!(error.code().name(), "invalid_cursor", "{bad:?}");
        }
    }
}
