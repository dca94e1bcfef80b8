//! `GET /api/users/{user_id}` and what hangs below it: orders with statistics, courses with progress, promotions, coupons.
//!
//! Admins and viewers ask for any user of the tenant, users for themselves; who may not is told so before anything is
//! looked up. Rows come from the tenant's database; the profile, where an answer has one, from [`super::profiles`]. The
//! caller is known to be a member, so their own courses, promotions and coupons need no system database.

use super::order_stats::OrderStats;
use super::page::{self, PageQuestion};
use super::profiles::{Profile, TenantOfUser};
use super::values::{Moment, Money};
use crate::connections::TenantDatabase;
use crate::router::App;
use crate::sessions::Caller;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kernel::domain::{TenantId, UserId};
use kernel::http::{ApiError, ApiPath, ApiQuery, Code};
use serde::Serialize;
use serde_json::Value;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments, Row};
use std::sync::Arc;
use utoipa::ToSchema;

/// The rows of one user: equality under the column's collation finds them, equality of bytes decides.
macro_rules! of_user {
    ($column:literal) => {
        concat!(" WHERE ", $column, " = ? AND CAST(", $column, " AS BINARY) = ?")
    };
}

/// A user of the tenant.
#[utoipa::path(get, path = "/api/users/{user_id}", tag = "users", params(("user_id" = UserId, Path)), responses(
    (status = 200, description = "The user", body = UserOfTenant),
    (status = 403, description = "admin_required"),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id")))]
pub async fn show(
    caller: Caller,
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
) -> Result<Response, ApiError> {
    let user_id = allowed(&caller, &user)?;
    let profile = app.profiles.member(&caller.route, &user_id).await?;
    Ok(Json(UserOfTenant::of(&caller, &profile)).into_response())
}

/// The caller, and every tenant they belong to.
#[utoipa::path(get, path = "/api/me", tag = "users", responses(
    (status = 200, description = "The caller", body = Me),
    (status = 404, description = "user_not_found")))]
pub async fn me(caller: Caller, State(app): State<App>) -> Result<Response, ApiError> {
    let profile = app.profiles.member(&caller.route, &caller.user_id).await?;
    let tenants = app.profiles.tenants(&caller.user_id).await?;
    Ok(Json(Me { caller: UserOfTenant::of(&caller, &profile), tenants }).into_response())
}

/// A user, and what they are in the tenant.
#[derive(Serialize, ToSchema)]
struct UserOfTenant<'a> {
    tenant_id: &'a TenantId,
    user: &'a Profile,
    role: Option<&'a str>,
    #[schema(value_type = Object, nullable)]
    permissions: Option<&'a Value>,
    joined_at: Moment,
}

impl<'a> UserOfTenant<'a> {
    fn of(caller: &'a Caller, profile: &'a Profile) -> Self {
        let member = profile.member.as_ref();
        Self {
            tenant_id: &caller.route.tenant_id,
            user: profile,
            role: member.map(|member| member.role.as_str()),
            permissions: member.and_then(|member| member.permissions.as_ref()),
            joined_at: member.map_or(Moment(None), |member| member.joined_at),
        }
    }
}

/// The caller.
#[derive(Serialize, ToSchema)]
struct Me<'a> {
    #[serde(flatten)]
    caller: UserOfTenant<'a>,
    /// By id; suspended ones too.
    tenants: Vec<TenantOfUser>,
}

/// An order of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = OrderOfUser)]
struct Order<'r> {
    order_bid: &'r str,
    shifu_bid: &'r str,
    payable_price: Money<'r>,
    paid_price: Money<'r>,
    status: i16,
    created_at: Moment,
    updated_at: Moment,
}

/// A page of a user's orders.
#[derive(Serialize, ToSchema)]
struct OrdersOfUser<'r> {
    tenant_id: &'r str,
    user: Owner<'r>,
    role: Option<&'r str>,
    orders: Vec<Order<'r>>,
    stats: OrderStats,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

/// Whose orders they are.
#[derive(Serialize, ToSchema)]
struct Owner<'r> {
    user_id: &'r str,
    username: &'r str,
    name: &'r str,
    email: &'r str,
}

/// A user's orders, newest first, and statistics over all of them.
#[utoipa::path(get, path = "/api/users/{user_id}/orders", tag = "users", params(("user_id" = UserId, Path), PageQuestion), responses(
    (status = 200, description = "A page", body = OrdersOfUser),
    (status = 403, description = "admin_required"),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id, invalid_limit, invalid_cursor")))]
pub async fn orders(
    caller: Caller,
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    ApiQuery(question): ApiQuery<PageQuestion>,
) -> Result<Response, ApiError> {
    // The first page apart from the others, as nearly all ask for it: it is read straight off an index.
    const FIRST: &str = concat!(
        "SELECT order_bid, shifu_bid, payable_price, paid_price, status, created_at, updated_at, id FROM order_orders",
        of_user!("user_id"),
        " AND deleted = 0 ORDER BY created_at DESC, id DESC LIMIT ?"
    );
    const PAGE: &str = concat!(
        "SELECT order_bid, shifu_bid, payable_price, paid_price, status, created_at, updated_at, id FROM order_orders",
        of_user!("user_id"),
        " AND deleted = 0 AND (? IS NULL OR created_at < ? OR (created_at = ? AND id < ?))
          ORDER BY created_at DESC, id DESC LIMIT ?"
    );
    const STATS: &str = concat!(
        "SELECT COUNT(*), COUNT(CASE WHEN status = 502 THEN 1 END),
                COALESCE(SUM(CASE WHEN status = 502 THEN paid_price ELSE 0.00 END), 0.00), MAX(created_at)
         FROM order_orders",
        of_user!("user_id"),
        " AND deleted = 0"
    );
    // One round trip for a user whose orders fit on the first page, as nearly everybody's do; two for the others.
    let wanted = question.understand()?;
    let user_id = allowed(&caller, &user)?;
    let profile = app.profiles.member(&caller.route, &user_id).await?;
    let mut database = app.databases.enter(&caller.route).await?;
    let rows = if wanted.is_first() {
        database.rows(FIRST, page::first_arguments(&[user_id.as_str(); 2], &wanted)?).await?
    } else {
        database.rows(PAGE, page::arguments(&[user_id.as_str(); 2], &wanted)?).await?
    };
    let read = || {
        let (shown, next_cursor) = page::cut(&rows, &wanted, 5, 7)?;
        Ok((shown.iter().map(order).collect::<Result<Vec<_>, sqlx::Error>>()?, next_cursor))
    };
    let (orders, next_cursor) = read().map_err(|error: sqlx::Error| ApiError::internal(&error))?;
    let of_page = if wanted.is_all(&rows) {
        OrderStats::of(orders.iter().map(|order| (order.status, order.paid_price, order.created_at)))
    } else {
        None
    };
    let stats = match of_page {
        Some(stats) => stats,
        None => {
            let row = only(&mut database, STATS, &user_id).await?;
            OrderStats::read(&row).map_err(|error| ApiError::internal(&error))?
        }
    };
    let user =
        Owner { user_id: &profile.user_id, username: &profile.username, name: &profile.name, email: &profile.email };
    let role = profile.member.as_ref().map(|member| member.role.as_str());
    let tenant_id = caller.route.tenant_id.as_str();
    Ok(Json(OrdersOfUser { tenant_id, user, role, orders, stats, next_cursor }).into_response())
}

fn order(row: &MySqlRow) -> Result<Order<'_>, sqlx::Error> {
    Ok(Order {
        order_bid: row.try_get(0)?,
        shifu_bid: row.try_get(1)?,
        payable_price: row.try_get(2)?,
        paid_price: row.try_get(3)?,
        status: row.try_get(4)?,
        created_at: row.try_get(5)?,
        updated_at: row.try_get(6)?,
    })
}

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
#[utoipa::path(get, path = "/api/users/{user_id}/shifus", tag = "users", params(("user_id" = UserId, Path), PageQuestion), responses(
    (status = 200, description = "A page", body = Shifus),
    (status = 403, description = "admin_required"),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id, invalid_limit, invalid_cursor")))]
pub async fn shifus(
    caller: Caller,
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    ApiQuery(question): ApiQuery<PageQuestion>,
) -> Result<Response, ApiError> {
    // Of a course that was published more than once, the newest row counts.
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
    let wanted = question.understand()?;
    let user_id = belongs(&caller, &app, &user).await?;
    let mut database = app.databases.enter(&caller.route).await?;
    let rows = database.rows(PAGE, page::arguments(&[user_id.as_str(); 4], &wanted)?).await?;
    let answer = || {
        let (shown, next_cursor) = page::cut(&rows, &wanted, 4, 5)?;
        let shifus = shown.iter().map(shifu).collect::<Result<_, sqlx::Error>>()?;
        Ok(Shifus { tenant_id: &caller.route.tenant_id, user_id: &user_id, shifus, next_cursor })
    };
    finish(answer())
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
#[utoipa::path(get, path = "/api/users/{user_id}/activities", tag = "users", params(("user_id" = UserId, Path), PageQuestion), responses(
    (status = 200, description = "A page", body = Activities),
    (status = 403, description = "admin_required"),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id, invalid_limit, invalid_cursor")))]
pub async fn activities(
    caller: Caller,
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    ApiQuery(question): ApiQuery<PageQuestion>,
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
    let wanted = question.understand()?;
    let user_id = belongs(&caller, &app, &user).await?;
    let mut database = app.databases.enter(&caller.route).await?;
    let rows = database.rows(PAGE, page::arguments(&[user_id.as_str(); 2], &wanted)?).await?;
    let answer = || {
        let (shown, next_cursor) = page::cut(&rows, &wanted, 7, 8)?;
        let activities = shown.iter().map(activity).collect::<Result<_, sqlx::Error>>()?;
        Ok(Activities { tenant_id: &caller.route.tenant_id, user_id: &user_id, activities, next_cursor })
    };
    finish(answer())
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
    let user_id = belongs(&caller, &app, &user).await?;
    let mut database = app.databases.enter(&caller.route).await?;
    let summary = only(&mut database, SUMMARY, &user_id).await?;
    let latest = database.rows(LATEST, twice(&user_id)?).await?;
    let answer = || {
        Ok(Coupons {
            tenant_id: &caller.route.tenant_id,
            user_id: &user_id,
            summary: CouponSummary {
                total_coupons: summary.try_get(0)?,
                used_coupons: summary.try_get(1)?,
                active_coupons: summary.try_get(2)?,
                expired_coupons: summary.try_get(3)?,
                total_savings: summary.try_get(4)?,
            },
            recent_coupons: latest.iter().map(coupon).collect::<Result<_, sqlx::Error>>()?,
        })
    };
    finish(answer())
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

/// The user of the path, if the caller may ask about them.
fn allowed(caller: &Caller, user: &str) -> Result<Arc<UserId>, ApiError> {
    let user_id: UserId = user.parse().map_err(|error| ApiError::invalid("user_id", "user_id", error))?;
    if user_id == *caller.user_id || caller.role.sees_all() {
        Ok(Arc::new(user_id))
    } else {
        Err(Code::AdminRequired.into())
    }
}

/// The same, and they belong to the tenant.
async fn belongs(caller: &Caller, app: &App, user: &str) -> Result<Arc<UserId>, ApiError> {
    let user_id = allowed(caller, user)?;
    if user_id != caller.user_id {
        app.profiles.member(&caller.route, &user_id).await?;
    }
    Ok(user_id)
}

fn twice(user_id: &UserId) -> Result<MySqlArguments, ApiError> {
    let mut arguments = MySqlArguments::default();
    for _ in 0..2 {
        arguments.add(user_id.as_str()).map_err(|error| ApiError::internal(&sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

/// The one row of an aggregate.
async fn only(database: &mut TenantDatabase<'_>, sql: &'static str, user: &UserId) -> Result<MySqlRow, ApiError> {
    let row = database.rows(sql, twice(user)?).await?.into_iter().next();
    row.ok_or_else(|| ApiError::internal(&sqlx::Error::RowNotFound))
}

fn finish(answer: Result<impl Serialize, sqlx::Error>) -> Result<Response, ApiError> {
    answer.map(|answer| Json(answer).into_response()).map_err(|error| ApiError::internal(&error))
}
