//! `GET /api/users/{user_id}/orders`: a user's orders, and statistics over all of them.

use super::{single_row, user_in_path};
use crate::admission::Caller;
use crate::api::order_stats::OrderStats;
use crate::api::page::{self, CursorColumns, PageQuery};
use crate::app::App;
use crate::values::{Moment, Money};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kernel::domain::UserId;
use kernel::http::{ApiError, ApiPath, ApiQuery};
use serde::Serialize;
use sqlx::Row;
use sqlx::mysql::MySqlRow;
use utoipa::ToSchema;

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

/// The user who ordered.
#[derive(Serialize, ToSchema)]
struct Owner<'r> {
    user_id: &'r str,
    username: &'r str,
    name: &'r str,
    email: &'r str,
}

/// A user's orders, newest first, and statistics over all of them.
#[utoipa::path(get, path = "/api/users/{user_id}/orders", tag = "users",
    params(("user_id" = UserId, Path), PageQuery), responses(
    (status = 200, description = "A page", body = OrdersOfUser),
    (status = 403, description = "admin_required"),
    (status = 404, description = "user_not_found"),
    (status = 422, description = "invalid_user_id, invalid_limit, invalid_cursor")))]
pub async fn orders(
    caller: Caller,
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Response, ApiError> {
    // Nearly all requests ask for the first page, so it has a statement of its own, which reads straight from an index.
    // The statement names the index, because the server takes longer to choose among seven than to read the rows. The
    // handler compares the users' ids byte for byte, which is cheaper than to let the server do it.
    macro_rules! first {
        ($index:literal) => {
            concat!(
                "SELECT order_bid, shifu_bid, payable_price, paid_price, status, created_at, updated_at, id, user_id
         FROM order_orders",
                $index,
                " WHERE user_id = ? AND deleted = 0 ORDER BY created_at DESC, id DESC LIMIT ?"
            )
        };
    }
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
    // The orders of nearly every user fit on the first page, and then one round trip is enough. Otherwise there are
    // two.
    let request = query.parse()?;
    let user_id = user_in_path(&caller, &user)?;
    let (profile, member) = app.profiles.member(&caller.route, &user_id).await?;
    let mut database = app.databases.enter(&caller.route).await?;
    let first = if request.is_first() {
        let arguments = request.first_page_arguments(&[user_id.as_str()])?;
        let rows = database.rows_by_index(first!(" FORCE INDEX (idx_user_list)"), first!(""), arguments).await?;
        let of_user =
            |row: &MySqlRow| row.try_get_unchecked::<&[u8], _>(8).is_ok_and(|id| id == user_id.as_str().as_bytes());
        rows.iter().all(of_user).then_some(rows)
    } else {
        None
    };
    let rows = match first {
        Some(rows) => rows,
        None => database.rows(PAGE, request.arguments(&[user_id.as_str(); 2])?).await?,
    };
    let (orders, next_cursor) = page::read(&rows, request.limit, CursorColumns { time: 5, id: 7 }, order)
        .map_err(|error| ApiError::internal(&error))?;
    let of_page = if request.is_all(&rows) {
        OrderStats::of(orders.iter().map(|order| (order.status, order.paid_price, order.created_at)))
    } else {
        None
    };
    let stats = match of_page {
        Some(stats) => stats,
        None => {
            let row = single_row(&mut database, STATS, &user_id).await?;
            OrderStats::read(&row).map_err(|error| ApiError::internal(&error))?
        }
    };
    let user =
        Owner { user_id: &profile.user_id, username: &profile.username, name: &profile.name, email: &profile.email };
    let role = Some(member.role.as_str());
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
