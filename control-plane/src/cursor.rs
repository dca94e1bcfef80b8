//! Pages of lists: where a page begins and ends, and the cursor of the next one, which is opaque to clients.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::http::{ApiError, parse_limit};

/// A page of a list whose rows are read in the order of their numbers.
#[derive(Debug)]
pub struct Page {
    list: char,
    /// The page begins after the row of this number; 0: at the beginning.
    pub after: u64,
    limit: u32,
}

impl Page {
    /// Reads the query of a list. A cursor holds the `list` that it is of, and fits no other. Without a limit the page
    /// has the first of `limits`, and never more rows than the second.
    pub fn parse(list: char, limit: Option<&str>, cursor: Option<&str>, limits: (u32, u32)) -> Result<Self, ApiError> {
        let limit = parse_limit(limit, limits.0, limits.1)?;
        let number = |text: &str| decode(text)?.strip_prefix(list)?.parse().ok();
        let after = cursor.map_or(Ok(0), |text| number(text).ok_or_else(foreign))?;
        Ok(Self { list, after, limit })
    }

    /// How many rows to read: one more than the page has, which shows whether another page follows.
    pub fn rows(&self) -> u32 {
        self.limit + 1
    }

    /// The rows of the page, and the cursor of the next one if there is one.
    pub fn cut<T>(&self, mut rows: Vec<T>, number: impl Fn(&T) -> u64) -> (Vec<T>, Option<String>) {
        let next = cut(&mut rows, self.limit).then(|| rows.last()).flatten();
        let next = next.map(|row| encode(&format!("{}{}", self.list, number(row))));
        (rows, next)
    }
}

/// Cuts off the rows that are beyond `limit`; whether there were any.
pub fn cut<T>(rows: &mut Vec<T>, limit: u32) -> bool {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    more
}

/// The cursor with this text in it.
pub fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// The text in a cursor.
pub fn decode(cursor: &str) -> Option<String> {
    URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

/// `invalid_cursor`.
pub fn foreign() -> ApiError {
    ApiError::invalid("cursor", "cursor", "not a next_cursor of this list")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(cursor: Option<&str>) -> Result<Page, ApiError> {
        Page::parse('t', Some("2"), cursor, (50, 500))
    }

    #[test]
    fn a_cursor_begins_the_next_page_of_its_own_list() {
        assert_eq!(page(Some(&encode("t7"))).unwrap().after, 7);
        assert_eq!(page(None).unwrap().after, 0);
        for bad in ["", "7", "!!", "dDE=", &encode("x7")] {
            assert!(page(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_last_page_has_no_cursor() {
        let page = page(None).unwrap();
        assert_eq!(page.rows(), 3);
        assert_eq!(page.cut(vec![1_u64, 2, 3], |n| *n), (vec![1, 2], Some(encode("t2"))));
        assert_eq!(page.cut(vec![1_u64, 2], |n| *n), (vec![1, 2], None));
    }
}
