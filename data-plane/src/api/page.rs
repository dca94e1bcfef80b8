//! Pages of a user's lists: `limit` and `cursor` as asked, as bound, and where the next page begins.

use super::cursor::Cursor;
use crate::values::Moment;
use kernel::http::{ApiError, parse_limit};
use serde::Deserialize;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments, Row};
use utoipa::IntoParams;

/// Rows of a page when none are asked for, and at most.
const LIMIT: (u32, u32) = (20, 100);

/// The question as sent.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuestion {
    /// Most rows of the page; 20 unless told otherwise.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The question as understood.
pub struct Wanted {
    /// Most rows of the page.
    pub limit: u32,
    after: Option<Cursor>,
}

impl PageQuestion {
    /// 422 with the name of what is wrong.
    pub fn understand(self) -> Result<Wanted, ApiError> {
        Ok(Wanted {
            limit: parse_limit(self.limit.as_deref(), LIMIT.0, LIMIT.1)?,
            after: self.cursor.map(|text| Cursor::decode(&text)).transpose()?,
        })
    }
}

impl Wanted {
    /// Whether the list is asked for from its beginning.
    pub fn is_first(&self) -> bool {
        self.after.is_none()
    }

    /// Whether these rows, read as asked, are all there are: the list begins and ends on this page.
    pub fn is_all(&self, rows: &[MySqlRow]) -> bool {
        self.after.is_none() && rows.len() <= self.limit as usize
    }
}

/// `first`, then what every page's statement ends with: the cursor's time three times, its id, and one row more than
/// wanted, which tells whether there is a next page.
pub fn arguments(first: &[&str], wanted: &Wanted) -> Result<MySqlArguments, ApiError> {
    let mut arguments = MySqlArguments::default();
    let mut bind = || {
        for text in first {
            arguments.add(*text)?;
        }
        for _ in 0..3 {
            arguments.add(wanted.after.map(|after| after.created_at))?;
        }
        arguments.add(wanted.after.map(|after| after.id))?;
        arguments.add(wanted.limit + 1)
    };
    bind().map_err(|error| ApiError::internal(&sqlx::Error::Encode(error)))?;
    Ok(arguments)
}

/// The same for a statement of the first page alone, which has no cursor.
pub fn first_arguments(first: &[&str], wanted: &Wanted) -> Result<MySqlArguments, ApiError> {
    let mut arguments = MySqlArguments::default();
    let mut bind = || {
        for text in first {
            arguments.add(*text)?;
        }
        arguments.add(wanted.limit + 1)
    };
    bind().map_err(|error| ApiError::internal(&sqlx::Error::Encode(error)))?;
    Ok(arguments)
}

/// Cuts the one row more than `limit` off: the rows of the page, and the cursor of the next one, from the columns of time and id.
/// None after a row without a time: only such follow it, and they are beyond the order of the list.
pub fn cut(
    rows: &[MySqlRow],
    limit: u32,
    time: usize,
    id: usize,
) -> Result<(&[MySqlRow], Option<String>), sqlx::Error> {
    let shown = &rows[..rows.len().min(limit as usize)];
    let next = match (shown.last(), rows.len() > shown.len()) {
        (Some(last), true) => {
            let (Moment(created_at), id) = (last.try_get(time)?, last.try_get(id)?);
            created_at.map(|created_at| Cursor { created_at, id }.encode())
        }
        _ => None,
    };
    Ok((shown, next))
}
