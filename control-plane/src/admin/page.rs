//! Pages of the admin API's lists: cursors, which are opaque to clients.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::http::ApiError;

/// The cursor of a `list`, which begins the next page after a row's number.
pub fn cursor(list: char, after: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}{after}"))
}

/// The number in a cursor of this list; 0 without one.
pub fn parse_cursor(list: char, text: Option<&str>) -> Result<u64, ApiError> {
    let Some(text) = text else { return Ok(0) };
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded
        .and_then(|text| text.strip_prefix(list)?.parse().ok())
        .ok_or_else(|| ApiError::invalid("cursor", "cursor", "not a next_cursor of this list"))
}

/// Cuts one row more than wanted off: the rows of the page, and the cursor of the next one from the last one's number.
pub fn cut<T>(mut rows: Vec<T>, limit: u32, list: char, number: impl Fn(&T) -> u64) -> (Vec<T>, Option<String>) {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| cursor(list, number(row)));
    (rows, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_others_are_refused() {
        assert_eq!(parse_cursor('t', Some(&cursor('t', 7))).unwrap(), 7);
        assert_eq!(parse_cursor('t', None).unwrap(), 0);
        for bad in ["", "7", "!!", "dDE=", &cursor('x', 7)] {
            assert!(parse_cursor('t', Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_page_that_is_not_the_last_has_a_next_one() {
        assert_eq!(cut(vec![1_u64, 2, 3], 2, 't', |n| *n), (vec![1, 2], Some(cursor('t', 2))));
        assert_eq!(cut(vec![1_u64, 2], 2, 't', |n| *n), (vec![1, 2], None));
    }
}
