//! `/api/legacy/...`: the calls of the old application, for clients that cannot be changed. All of them are of the default
//! tenant, which is what became of the old installation, and are answered in the old envelope ([`mod@envelope`]).
//!
//! What the old application did not do: the caller's session is checked, and asks for what is their own (an admin or a
//! viewer of the default tenant for anybody's). Lists have no pages; one that is longer than [`MOST_ROWS`] is refused rather
//! than cut, and every statement has its deadline.

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

/// Rows of an answer, at most.
const MOST_ROWS: usize = 50_000;

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

/// The user of the path, if the caller may ask about them. `None`: no user has such an id.
fn allowed(caller: &Caller, user: &str) -> Result<UserId, LegacyError> {
    let user_id = user.parse().map_err(|_| LegacyError::NoUser)?;
    if user_id == *caller.user_id || caller.role.sees_all() { Ok(user_id) } else { Err(LegacyError::NoPermission) }
}

/// The rows of a statement that has the user twice and [`MOST_ROWS`] as its limit.
async fn rows_of(app: &App, caller: &Caller, sql: &'static str, user: &UserId) -> Result<Vec<MySqlRow>, LegacyError> {
    let mut arguments = MySqlArguments::default();
    let mut bind = || {
        arguments.add(user.as_str())?;
        arguments.add(user.as_str())?;
        arguments.add(MOST_ROWS as u64 + 1)
    };
    bind().map_err(|error| LegacyError::broken(&sqlx::Error::Encode(error)))?;
    let mut database = app.databases.enter(&caller.route).await?;
    let rows = database.rows(sql, arguments).await?;
    if rows.len() > MOST_ROWS {
        tracing::warn!(rows = rows.len(), "a legacy call asks for more rows than an answer may have");
        return Err(LegacyError::Unexpected { retry_after: None });
    }
    Ok(rows)
}

/// A time as the old application writes it; a zero date, which old databases hold for "never", is null.
fn time(row: &MySqlRow, column: usize) -> Result<Option<String>, sqlx::Error> {
    let crate::values::Moment(time) = row.try_get(column)?;
    Ok(time.map(|time| time.format("%Y-%m-%d %H:%M:%S").to_string()))
}

/// An amount as the old application writes it: the nearest float.
fn amount(row: &MySqlRow, column: usize) -> Result<f64, sqlx::Error> {
    let money: crate::values::Money<'_> = row.try_get(column)?;
    money.digits().parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
