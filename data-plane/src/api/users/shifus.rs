//! `GET /api/users/{user_id}/shifus`: the courses that a user has paid for, with progress.

use super::MemberPage;
use crate::admission::Caller;
use crate::api::page::{CursorColumns, PageQuery};
use crate::app::App;
use crate::values::Moment;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kernel::domain::{TenantId, UserId};
use kernel::http::{ApiError, ApiPath, ApiQuery};
use serde::Serialize;
use sqlx::Row;
use sqlx::mysql::MySqlRow;
use utoipa::ToSchema;

/// A page of a user's courses.
#[derive(Serialize, ToSchema)]
struct Shifus<'r> {
    tenant_id: &'r TenantId,
    user_id: &'r UserId,
    shifus: Vec<Shifu<'r>>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

/// A course a user has paid for.
#[derive(Serialize, ToSchema)]
struct Shifu<'r> {
    shifu_bid: &'r str,
    title: &'r str,
    description: &'r str,
    avatar_res_bid: &'r str,
    purchased_at: Moment,
    progress: Progress,
}

/// Lessons of a course.
#[derive(Serialize, ToSchema)]
struct Progress {
    total: i64,
    completed: i64,
}

/// The courses a user has paid for, each once, by its latest purchase; with progress.
#[utoipa::path(get, path = "/api/users/{user_id}/shifus", tag = "users",
    params(("user_id" = UserId, Path), PageQuery), responses(
    (status = 200, description = "A page", body = Shifus),
    (status = 403, description = "admin_required"),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id, invalid_limit, invalid_cursor")))]
pub async fn shifus(
    caller: Caller,
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Response, ApiError> {
    // If a course was published more than once, its newest row counts.
    const PAGE: &str = concat!(
        "SELECT s.shifu_bid, s.title, s.description, s.avatar_res_bid, bought.purchased_at, s.id,
                COALESCE(learnt.total, 0), COALESCE(learnt.completed, 0)
         FROM (SELECT shifu_bid, MAX(created_at) AS purchased_at FROM order_orders",
        of_user!("user_id"),
        " AND status = 502 AND deleted = 0 GROUP BY shifu_bid) bought
         JOIN shifu_published_shifus s ON s.id = (SELECT MAX(newest.id) FROM shifu_published_shifus newest
               WHERE newest.shifu_bid = bought.shifu_bid AND newest.deleted = 0)
         LEFT JOIN (SELECT shifu_bid, COUNT(*) AS total, COUNT(CASE WHEN status = 603 THEN 1 END) AS completed
               FROM learn_progress_records",
        of_user!("user_bid"),
        " AND deleted = 0 GROUP BY shifu_bid) learnt ON learnt.shifu_bid = s.shifu_bid
         WHERE ? IS NULL OR bought.purchased_at < ? OR (bought.purchased_at = ? AND s.id < ?)
         ORDER BY bought.purchased_at DESC, s.id DESC LIMIT ?"
    );
    let page = MemberPage::load::<4>(&caller, &app, &user, query, PAGE).await?;
    let (shifus, next_cursor) = page.items(CursorColumns { time: 4, id: 5 }, shifu)?;
    let answer = Shifus { tenant_id: &caller.route.tenant_id, user_id: &page.user_id, shifus, next_cursor };
    Ok(Json(answer).into_response())
}

fn shifu(row: &MySqlRow) -> Result<Shifu<'_>, sqlx::Error> {
    Ok(Shifu {
        shifu_bid: row.try_get(0)?,
        title: row.try_get(1)?,
        description: row.try_get(2)?,
        avatar_res_bid: row.try_get(3)?,
        purchased_at: row.try_get(4)?,
        progress: Progress { total: row.try_get(6)?, completed: row.try_get(7)? },
    })
}
