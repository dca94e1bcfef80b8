//! Pages of lists: the query parameters `limit` and `cursor`, their SQL arguments, and the cursor of the next page.

use super::cursor::Cursor;
use crate::values::Moment;
use kernel::http::{ApiError, parse_limit};
use serde::Deserialize;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments, Row};
use utoipa::IntoParams;

/// The number of rows of a page: the default and the maximum.
pub const LIMIT: (u32, u32) = (20, 100);

/// The query parameters of a list of one user, as the client sent them.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The most rows of the page; 20 by default.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// A valid request for a page.
pub struct PageRequest {
    /// The most rows of the page.
    pub limit: u32,
    after: Option<Cursor>,
}

/// The columns of a row that a cursor consists of.
#[derive(Clone, Copy)]
pub struct CursorColumns {
    /// The column of the time by which the list is ordered.
    pub time: usize,
    /// The column of the id that orders rows of the same time.
    pub id: usize,
}

impl PageQuery {
    /// Checks the parameters.
    ///
    /// # Errors
    /// 422 with the name of the wrong parameter.
    pub fn parse(self) -> Result<PageRequest, ApiError> {
        Ok(PageRequest {
            limit: parse_limit(self.limit.as_deref(), LIMIT.0, LIMIT.1)?,
            after: self.cursor.map(|text| Cursor::decode(&text)).transpose()?,
        })
    }
}

impl PageRequest {
    /// Whether the request asks for the first page.
    pub fn is_first(&self) -> bool {
        self.after.is_none()
    }

    /// Whether the list begins and ends on this page, given the rows that were read for it.
    pub fn is_all(&self, rows: &[MySqlRow]) -> bool {
        self.after.is_none() && rows.len() <= self.limit as usize
    }

    /// The arguments of a statement for any page: `first`, then the cursor's time three times, its id, and the limit.
    pub fn arguments(&self, first: &[&str]) -> Result<MySqlArguments, ApiError> {
        self.bind(first, true)
    }

    /// The arguments of a statement for the first page only, which has no cursor: `first`, and the limit.
    pub fn first_page_arguments(&self, first: &[&str]) -> Result<MySqlArguments, ApiError> {
        self.bind(first, false)
    }

    fn bind(&self, first: &[&str], with_cursor: bool) -> Result<MySqlArguments, ApiError> {
        let mut arguments = MySqlArguments::default();
        let mut bind = || {
            for text in first {
                arguments.add(*text)?;
            }
            if with_cursor {
                for _ in 0..3 {
                    arguments.add(self.after.map(|after| after.created_at))?;
                }
                arguments.add(self.after.map(|after| after.id))?;
            }
            // One row more than the page has, which shows whether there is a next page.
            arguments.add(self.limit + 1)
        };
        bind().map_err(|error| ApiError::internal(&sqlx::Error::Encode(error)))?;
        Ok(arguments)
    }
}

/// Reads the items of a page, and the cursor of the next page if the rows are more than `limit`.
///
/// There is no cursor after a row without a time: such rows are the last of the list, and a cursor cannot order them.
pub fn read<'r, T>(
    rows: &'r [MySqlRow],
    limit: u32,
    columns: CursorColumns,
    item: impl Fn(&'r MySqlRow) -> Result<T, sqlx::Error>,
) -> Result<(Vec<T>, Option<String>), sqlx::Error> {
    let shown = &rows[..rows.len().min(limit as usize)];
    let next_cursor = match (shown.last(), rows.len() > shown.len()) {
        (Some(last), true) => {
            let (Moment(created_at), id) = (last.try_get(columns.time)?, last.try_get(columns.id)?);
            created_at.map(|created_at| Cursor { created_at, id }.encode())
        }
        _ => None,
    };
    Ok((shown.iter().map(item).collect::<Result<_, _>>()?, next_cursor))
}
