//! Pages of lists: where a page begins and ends, and the cursor of the next one.

use kernel::http::{ApiError, cursor, parse_limit};
use std::fmt;

/// A page of a list whose rows are read in the order of their numbers.
#[derive(Debug)]
pub struct Page {
    list: char,
    /// The page begins after the row of this number; 0: at the beginning.
    pub after: u64,
    limit: u32,
}

/// The row of a list after which a page begins.
struct Row {
    /// The list. A cursor fits no other list.
    list: char,
    number: u64,
}

impl fmt::Display for Row {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}{}", self.list, self.number)
    }
}

impl Page {
    /// Reads the query of a list. Without a limit the page has the first of `limits`, and never more rows than the
    /// second.
    pub fn parse(list: char, limit: Option<&str>, cursor: Option<&str>, limits: (u32, u32)) -> Result<Self, ApiError> {
        let limit = parse_limit(limit, limits.0, limits.1)?;
        // No row has a number that a signed column could not hold.
        let row = |text: &str| {
            let number = text.strip_prefix(list)?.parse().ok()?;
            i64::try_from(number).ok().map(|_| Row { list, number })
        };
        let after = cursor.map_or(Ok(0), |text| cursor::decode(text, row).map(|row| row.number))?;
        Ok(Self { list, after, limit })
    }

    /// The first page of a list.
    pub fn first(list: char, limit: u32) -> Self {
        Self { list, after: 0, limit }
    }

    /// The page after this one, of a list whose rows have no number.
    pub fn next(self) -> Self {
        Self { after: self.after + u64::from(self.limit), ..self }
    }

    /// How many rows to read: one more than the page has, which shows whether another page follows.
    pub fn rows(&self) -> u32 {
        self.limit + 1
    }

    /// The rows of the page, and the cursor of the next one if there is one.
    pub fn cut<T>(&self, mut rows: Vec<T>, number: impl Fn(&T) -> u64) -> (Vec<T>, Option<String>) {
        let next = cut(&mut rows, self.limit).then(|| rows.last()).flatten();
        let next = next.map(|row| cursor::encode(&Row { list: self.list, number: number(row) }));
        (rows, next)
    }

    /// The same for a list whose rows have no number: their place in the list is their number.
    pub fn cut_by_place<T>(&self, mut rows: Vec<T>) -> (Vec<T>, Option<String>) {
        let more = cut(&mut rows, self.limit);
        let next = Row { list: self.list, number: self.after + u64::from(self.limit) };
        (rows, more.then(|| cursor::encode(&next)))
    }
}

/// Cuts off the rows that are beyond `limit`; whether there were any.
pub fn cut<T>(rows: &mut Vec<T>, limit: u32) -> bool {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(cursor: Option<&str>) -> Result<Page, ApiError> {
        Page::parse('t', Some("2"), cursor, (50, 500))
    }

    #[test]
    fn a_cursor_begins_the_next_page_of_its_own_list() {
        assert_eq!(page(Some(&cursor::encode(&"t7"))).unwrap().after, 7);
        assert_eq!(page(None).unwrap().after, 0);
        for bad in ["", "7", "dDE=", &cursor::encode(&"x7"), &cursor::encode(&"t9223372036854775808")] {
            assert!(page(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_last_page_has_no_cursor() {
        let page = page(None).unwrap();
        assert_eq!(page.rows(), 3);
        assert_eq!(page.cut(vec![1_u64, 2, 3], |n| *n), (vec![1, 2], Some(cursor::encode(&"t2"))));
        assert_eq!(page.cut(vec![1_u64, 2], |n| *n), (vec![1, 2], None));
        assert_eq!(page.cut_by_place(vec!["a", "b", "c"]), (vec!["a", "b"], Some(cursor::encode(&"t2"))));
        assert_eq!(page.next().cut_by_place(vec!["c"]), (vec!["c"], None));
    }
}
