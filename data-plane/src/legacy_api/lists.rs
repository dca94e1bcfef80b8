//! The legacy calls about a user's progress and coupons, and about a course.

use super::caller::LegacyCaller;
use super::envelope::{Envelope, success};
use super::{LegacyError, amount, read_all, rows_of, time, user_in_path};
use crate::app::App;
use axum::extract::State;
use axum::response::Response;
use kernel::domain::UserId;
use kernel::http::ApiPath;
use serde::Serialize;
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, Row};
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[schema(as = LegacyProgress)]
struct Progress<'r> {
    progress: Vec<Step<'r>>,
    user_id: &'r str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LegacyStep)]
struct Step<'r> {
    block_position: i32,
    created_at: Option<String>,
    outline_item_bid: &'r str,
    progress_record_bid: &'r str,
    shifu_bid: &'r str,
    status: i16,
}

/// A user's progress, newest first.
#[utoipa::path(get, path = "/api/legacy/user/{user_id}/study_progress", tag = "legacy",
    security(("token" = []), ("cookie" = []), ("bearer" = [])), params(("user_id" = UserId, Path)),
    responses((status = 200, description = "The answer, or an error", body = Envelope<Progress<'_>>)))]
pub async fn study_progress(
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    LegacyCaller { caller, .. }: LegacyCaller,
) -> Result<Response, LegacyError> {
    const PROGRESS: &str = "SELECT progress_record_bid, shifu_bid, outline_item_bid, status, block_position, created_at
        FROM learn_progress_records WHERE user_bid = ? AND CAST(user_bid AS BINARY) = ? AND deleted = 0
        ORDER BY created_at DESC, id DESC LIMIT ?";
    let user_id = user_in_path(&caller, &user)?;
    let rows = rows_of(&app, &caller, PROGRESS, &user_id).await?;
    let progress = read_all(&rows, |row| {
        Ok(Step {
            block_position: row.try_get(4)?,
            created_at: time(row, 5)?,
            outline_item_bid: row.try_get(2)?,
            progress_record_bid: row.try_get(0)?,
            shifu_bid: row.try_get(1)?,
            status: row.try_get(3)?,
        })
    })?;
    success(Progress { progress, user_id: user_id.as_str() })
}

#[derive(Serialize, ToSchema)]
#[schema(as = LegacyCoupons)]
struct Coupons<'r> {
    coupons: Vec<Coupon<'r>>,
    user_id: &'r str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LegacyCoupon)]
struct Coupon<'r> {
    code: &'r str,
    coupon_bid: &'r str,
    coupon_usage_bid: &'r str,
    discount_type: i16,
    name: &'r str,
    status: i16,
    value: f64,
}

/// A user's coupons, newest first.
#[utoipa::path(get, path = "/api/legacy/coupons/user/{user_id}", tag = "legacy",
    security(("token" = []), ("cookie" = []), ("bearer" = [])), params(("user_id" = UserId, Path)),
    responses((status = 200, description = "The answer, or an error", body = Envelope<Coupons<'_>>)))]
pub async fn coupons(
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    LegacyCaller { caller, .. }: LegacyCaller,
) -> Result<Response, LegacyError> {
    const COUPONS: &str = "SELECT coupon_usage_bid, coupon_bid, name, code, discount_type, `value`, status
        FROM promo_coupon_usages WHERE user_bid = ? AND CAST(user_bid AS BINARY) = ? AND deleted = 0
        ORDER BY created_at DESC, id DESC LIMIT ?";
    let user_id = user_in_path(&caller, &user)?;
    let rows = rows_of(&app, &caller, COUPONS, &user_id).await?;
    let coupons = read_all(&rows, |row| {
        Ok(Coupon {
            code: row.try_get(3)?,
            coupon_bid: row.try_get(1)?,
            coupon_usage_bid: row.try_get(0)?,
            discount_type: row.try_get(4)?,
            name: row.try_get(2)?,
            status: row.try_get(6)?,
            value: amount(row, 5)?,
        })
    })?;
    success(Coupons { coupons, user_id: user_id.as_str() })
}

#[derive(Serialize, ToSchema)]
#[schema(as = LegacyShifu)]
struct Shifu<'r> {
    avatar_res_bid: &'r str,
    description: &'r str,
    shifu_bid: &'r str,
    status: i16,
    title: &'r str,
}

/// The legacy number for "published". The table of published courses has no column `status`, because all its rows are
/// published.
const PUBLISHED: i16 = 1;

/// A course, in its latest published version.
#[utoipa::path(get, path = "/api/legacy/shifu/{shifu_id}", tag = "legacy",
    security(("token" = []), ("cookie" = []), ("bearer" = [])), params(("shifu_id" = String, Path)),
    responses((status = 200, description = "The answer, or an error", body = Envelope<Shifu<'_>>)))]
pub async fn shifu(
    State(app): State<App>,
    ApiPath(shifu): ApiPath<String>,
    LegacyCaller { caller, .. }: LegacyCaller,
) -> Result<Response, LegacyError> {
    const SHIFU: &str = "SELECT shifu_bid, title, description, avatar_res_bid FROM shifu_published_shifus
        WHERE shifu_bid = ? AND deleted = 0 ORDER BY id DESC LIMIT 1";
    let mut arguments = MySqlArguments::default();
    arguments.add(shifu).map_err(|error| LegacyError::broken(&sqlx::Error::Encode(error)))?;
    let mut database = app.databases.enter(&caller.route).await?;
    let rows = database.rows(SHIFU, arguments).await?;
    let row = rows.first().ok_or(LegacyError::ShifuNotFound)?;
    let shifu = || -> Result<_, sqlx::Error> {
        Ok(Shifu {
            avatar_res_bid: row.try_get(3)?,
            description: row.try_get(2)?,
            shifu_bid: row.try_get(0)?,
            status: PUBLISHED,
            title: row.try_get(1)?,
        })
    };
    success(shifu().map_err(|error| LegacyError::broken(&error))?)
}
