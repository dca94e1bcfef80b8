//! `GET /api/users/{user_id}/coupons`: how many coupons of each kind a user has, and the ten latest.

use super::{bind_twice, member_in_path, single_row};
use crate::admission::Caller;
use crate::app::App;
use crate::values::{Moment, Money};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kernel::domain::{TenantId, UserId};
use kernel::http::{ApiError, ApiPath};
use serde::Serialize;
use sqlx::Row;
use sqlx::mysql::MySqlRow;
use utoipa::ToSchema;

/// The coupons of a user.
#[derive(Serialize, ToSchema)]
struct Coupons<'r> {
    tenant_id: &'r TenantId,
    user_id: &'r UserId,
    summary: CouponSummary<'r>,
    recent_coupons: Vec<Coupon<'r>>,
}

/// Over all coupons of a user.
#[derive(Serialize, ToSchema)]
struct CouponSummary<'r> {
    total_coupons: i64,
    used_coupons: i64,
    active_coupons: i64,
    expired_coupons: i64,
    total_savings: Money<'r>,
}

/// A coupon of a user.
#[derive(Serialize, ToSchema)]
struct Coupon<'r> {
    coupon_bid: &'r str,
    name: &'r str,
    code: &'r str,
    discount_type: i16,
    value: Money<'r>,
    status: i16,
    created_at: Moment,
}

/// How many coupons of each kind a user has, and the ten latest.
#[utoipa::path(get, path = "/api/users/{user_id}/coupons", tag = "users", params(("user_id" = UserId, Path)), responses(
    (status = 200, description = "The coupons", body = Coupons),
    (status = 403, description = "admin_required"),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id")))]
pub async fn coupons(
    caller: Caller,
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
) -> Result<Response, ApiError> {
    const SUMMARY: &str = concat!(
        "SELECT COUNT(*), COUNT(CASE WHEN status = 903 THEN 1 END), COUNT(CASE WHEN status = 902 THEN 1 END),
                COUNT(CASE WHEN status = 904 THEN 1 END),
                COALESCE(SUM(CASE WHEN status = 903 THEN `value` ELSE 0.00 END), 0.00)
         FROM promo_coupon_usages",
        of_user!("user_bid"),
        " AND deleted = 0"
    );
    const LATEST: &str = concat!(
        "SELECT coupon_bid, name, code, discount_type, `value`, status, created_at FROM promo_coupon_usages",
        of_user!("user_bid"),
        " AND deleted = 0 ORDER BY created_at DESC, id DESC LIMIT 10"
    );
    let user_id = member_in_path(&caller, &app, &user).await?;
    let mut database = app.databases.enter(&caller.route).await?;
    let summary = single_row(&mut database, SUMMARY, &user_id).await?;
    let latest = database.rows(LATEST, bind_twice(&user_id)?).await?;
    let read = || {
        let summary = CouponSummary {
            total_coupons: summary.try_get(0)?,
            used_coupons: summary.try_get(1)?,
            active_coupons: summary.try_get(2)?,
            expired_coupons: summary.try_get(3)?,
            total_savings: summary.try_get(4)?,
        };
        Ok((summary, latest.iter().map(coupon).collect::<Result<_, sqlx::Error>>()?))
    };
    let (summary, recent_coupons) = read().map_err(|error: sqlx::Error| ApiError::internal(&error))?;
    let answer = Coupons { tenant_id: &caller.route.tenant_id, user_id: &user_id, summary, recent_coupons };
    Ok(Json(answer).into_response())
}

fn coupon(row: &MySqlRow) -> Result<Coupon<'_>, sqlx::Error> {
    Ok(Coupon {
        coupon_bid: row.try_get(0)?,
        name: row.try_get(1)?,
        code: row.try_get(2)?,
        discount_type: row.try_get(3)?,
        value: row.try_get(4)?,
        status: row.try_get(5)?,
        created_at: row.try_get(6)?,
    })
}
