//! `/api/legacy/...`: the five calls of the legacy application, for clients that cannot be changed. All of them concern
//! the default tenant, which continues the legacy installation, and are answered in the legacy envelope
//! ([`mod@envelope`]).
//!
//! Unlike the legacy application, these routes check the caller's session. A user may ask about itself only, and an
//! admin or a viewer of the default tenant about every user. Lists have no pages; a list longer than [`MAX_ROWS`] is
//! refused and not cut. Every statement has a deadline.

mod caller;
mod envelope;
mod error;
mod json;
mod lists;
mod orders;

pub use envelope::envelope;
pub use error::LegacyError;

use crate::admission::Caller;
use crate::app::App;
use axum::middleware::from_fn;
use kernel::domain::UserId;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments, Row};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The most rows of an answer.
const MAX_ROWS: usize = 50_000;

/// The five calls.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(orders::create))
        .routes(routes!(orders::of_user))
        .routes(routes!(lists::study_progress))
        .routes(routes!(lists::coupons))
        .routes(routes!(lists::shifu))
        .layer(from_fn(envelope))
}

/// The user in the path, if the caller may ask about that user.
fn user_in_path(caller: &Caller, user: &str) -> Result<UserId, LegacyError> {
    let user_id = user.parse().map_err(|_| LegacyError::NoUser)?;
    if user_id == *caller.user_id || caller.role.sees_all() { Ok(user_id) } else { Err(LegacyError::NoPermission) }
}

/// The rows of a statement that has the user's id twice and then a limit.
async fn rows_of(app: &App, caller: &Caller, sql: &'static str, user: &UserId) -> Result<Vec<MySqlRow>, LegacyError> {
    let mut arguments = MySqlArguments::default();
    let mut bind = || {
        arguments.add(user.as_str())?;
        arguments.add(user.as_str())?;
        arguments.add(MAX_ROWS as u64 + 1)
    };
    bind().map_err(|error| LegacyError::broken(&sqlx::Error::Encode(error)))?;
    let mut database = app.databases.enter(&caller.route).await?;
    let rows = database.rows(sql, arguments).await?;
    if rows.len() > MAX_ROWS {
        tracing::warn!(rows = rows.len(), "a legacy call is refused because its list has too many rows");
        return Err(LegacyError::Unexpected { retry_after: None });
    }
    Ok(rows)
}

/// Reads all rows of a list.
fn read_all<'r, T>(
    rows: &'r [MySqlRow],
    item: impl Fn(&'r MySqlRow) -> Result<T, sqlx::Error>,
) -> Result<Vec<T>, LegacyError> {
    rows.iter().map(item).collect::<Result<_, _>>().map_err(|error| LegacyError::broken(&error))
}

/// A time in the format of the legacy application. A zero date, which old databases contain for "never", is null.
fn time(row: &MySqlRow, column: usize) -> Result<Option<String>, sqlx::Error> {
    let crate::values::Moment(time) = row.try_get(column)?;
    Ok(time.map(|time| time.format("%Y-%m-%d %H:%M:%S").to_string()))
}

/// An amount in the format of the legacy application: the nearest float.
fn amount(row: &MySqlRow, column: usize) -> Result<f64, sqlx::Error> {
    let money: crate::values::Money<'_> = row.try_get(column)?;
    money.digits().parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
