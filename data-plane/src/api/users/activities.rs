//! `GET /api/users/{user_id}/activities`: the promotions that a user took part in.

use super::MemberPage;
use crate::admission::Caller;
use crate::api::page::{CursorColumns, PageQuery};
use crate::app::App;
use crate::values::{Moment, Money};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kernel::domain::{TenantId, UserId};
use kernel::http::{ApiError, ApiPath, ApiQuery};
use serde::Serialize;
use sqlx::Row;
use sqlx::mysql::MySqlRow;
use utoipa::ToSchema;

/// A page of promotions.
#[derive(Serialize, ToSchema)]
struct Activities<'r> {
    tenant_id: &'r TenantId,
    user_id: &'r UserId,
    activities: Vec<Activity<'r>>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

/// A promotion a user took part in.
#[derive(Serialize, ToSchema)]
struct Activity<'r> {
    active_id: &'r str,
    active_name: &'r str,
    active_desc: &'r str,
    active_type: i32,
    active_price: Money<'r>,
    active_discount: Money<'r>,
    status: i32,
    joined_at: Moment,
}

/// The promotions a user took part in, the latest first.
#[utoipa::path(get, path = "/api/users/{user_id}/activities", tag = "users",
    params(("user_id" = UserId, Path), PageQuery), responses(
    (status = 200, description = "A page", body = Activities),
    (status = 403, description = "admin_required"),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id, invalid_limit, invalid_cursor")))]
pub async fn activities(
    caller: Caller,
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Response, ApiError> {
    const PAGE: &str = concat!(
        "SELECT a.active_id, a.active_name, a.active_desc, a.active_type, a.active_price, a.active_discount,
                r.status, r.created, r.id
         FROM active_user_record r JOIN active a
           ON a.id = (SELECT MAX(newest.id) FROM active newest WHERE newest.active_id = r.active_id)",
        of_user!("r.user_id"),
        " AND (? IS NULL OR r.created < ? OR (r.created = ? AND r.id < ?))
          ORDER BY r.created DESC, r.id DESC LIMIT ?"
    );
    let page = MemberPage::load::<2>(&caller, &app, &user, query, PAGE).await?;
    let (activities, next_cursor) = page.items(CursorColumns { time: 7, id: 8 }, activity)?;
    let answer = Activities { tenant_id: &caller.route.tenant_id, user_id: &page.user_id, activities, next_cursor };
    Ok(Json(answer).into_response())
}

fn activity(row: &MySqlRow) -> Result<Activity<'_>, sqlx::Error> {
    Ok(Activity {
        active_id: row.try_get(0)?,
        active_name: row.try_get(1)?,
        active_desc: row.try_get(2)?,
        active_type: row.try_get(3)?,
        active_price: row.try_get(4)?,
        active_discount: row.try_get(5)?,
        status: row.try_get(6)?,
        joined_at: row.try_get(7)?,
    })
}
