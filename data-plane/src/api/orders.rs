//! `GET /api/orders` lists a tenant's orders, newest first, page by page: all of them for admins and viewers, the
//! user's own for users. `POST /api/orders` creates an order ([`new_order`]).
//!
//! A list is one round trip. The statements are constants, so each connection prepares each of them once. Lists with
//! filters have statements of their own, so that the common list without a filter is read straight from an index.

use super::cursor::Cursor;
use super::new_order;
use super::page::{self, CursorColumns, LIMIT};
use crate::admission::Caller;
use crate::app::App;
use crate::values::{Moment, Money};
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::NaiveDateTime;
use kernel::domain::{TenantId, UserId};
use kernel::http::{ApiError, ApiJson, ApiQuery, idempotency_key, parse_limit, parse_time};
use serde::{Deserialize, Serialize};
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments, Row};
use utoipa::{IntoParams, ToSchema};

/// The approximate size of one order in JSON.
const ORDER_BYTES: usize = 256;

/// The query parameters, as the client sent them. A wrong one is refused with an error code of its own.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// The most rows of the page; 20 by default.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
    /// Only orders with this status.
    #[param(value_type = Option<u16>, minimum = 501, maximum = 505)]
    status: Option<String>,
    /// Only orders created at this time or later.
    #[param(value_type = Option<DateTime<Utc>>)]
    from: Option<String>,
    /// Only orders created before this time.
    #[param(value_type = Option<DateTime<Utc>>)]
    to: Option<String>,
}

/// A valid request for a list.
#[derive(Debug, Default, PartialEq)]
struct ListRequest {
    limit: u32,
    after: Option<Cursor>,
    status: Option<i16>,
    from: Option<NaiveDateTime>,
    to: Option<NaiveDateTime>,
}

/// A page of orders.
#[derive(Serialize, ToSchema)]
#[schema(as = Orders)]
struct Page<'r> {
    tenant_id: &'r str,
    orders: Vec<Order<'r>>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

/// An order, as lists and the answer to a new order show it.
#[derive(Serialize, ToSchema)]
pub struct Order<'r> {
    pub order_bid: &'r str,
    pub shifu_bid: &'r str,
    pub user_id: &'r str,
    pub payable_price: Money<'r>,
    paid_price: Money<'r>,
    status: i16,
    created_at: Moment,
}

/// A tenant's orders, newest first. Admins and viewers see all, users see their own.
#[utoipa::path(get, path = "/api/orders", tag = "orders", params(ListQuery), responses(
    (status = 200, description = "A page", body = Page),
    (status = 422, description = "invalid_limit, invalid_cursor, invalid_status, invalid_from, invalid_to")))]
pub async fn list(
    caller: Caller,
    State(app): State<App>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Response, ApiError> {
    let request = query.parse()?;
    let owner = (!caller.role.sees_all()).then(|| caller.user_id.as_str());
    let (Statement { sql, plain }, arguments) =
        statement(&request, owner).map_err(|error| ApiError::internal(&error))?;
    let mut database = app.databases.enter(&caller.route).await?;
    let rows = database.rows_by_index(sql, plain, arguments).await?;
    let page =
        list_page(caller.route.tenant_id.as_str(), &rows, request.limit).map_err(|error| ApiError::internal(&error))?;
    let mut body = Vec::with_capacity(ORDER_BYTES * (page.orders.len() + 1));
    serde_json::to_writer(&mut body, &page).map_err(|error| ApiError::internal(&error))?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// A new order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewOrder)]
pub struct Body {
    #[schema(min_length = 1, max_length = 36, pattern = "^[!-~]+$")]
    shifu_bid: String,
    /// 0.00 to 99999999.99, exactly.
    #[schema(pattern = r"^[0-9]{1,8}(\.[0-9]{1,2})?$", example = "99.90")]
    payable_price: String,
    /// The user who orders, if it is not the caller. Only admins may name another user.
    #[serde(default)]
    #[schema(value_type = Option<UserId>)]
    user_id: Option<String>,
}

/// The created order.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedOrder)]
struct Created<'r> {
    tenant_id: &'r TenantId,
    order: Order<'r>,
}

/// Create an order for the caller. An admin may create one for another member.
///
/// Its status is 501. The price is the one that the caller names; the payment service compares it with the price of the
/// course. With an `Idempotency-Key` (1 to 255 printable ASCII characters), the same key finds the same order.
#[utoipa::path(post, path = "/api/orders", tag = "orders", request_body = Body,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255)), responses(
    (status = 201, description = "The order", body = Created),
    (status = 403, description = "admin_required"),
    (status = 404, description = "user_not_found"),
    (status = 409, description = "conflict"),
    (status = 422, description = "invalid_shifu_bid, invalid_payable_price, invalid_user_id, \
        invalid_idempotency_key, idempotency_key_reused")))]
pub async fn create(
    caller: Caller,
    State(app): State<App>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<Body>,
) -> Result<Response, ApiError> {
    let user_id = new_order::owner(&caller, body.user_id.as_deref())?;
    let shifu_bid = new_order::shifu_bid(body.shifu_bid, "shifu_bid")?;
    let price =
        body.payable_price.parse().map_err(|error| ApiError::invalid("payable_price", "payable_price", error))?;
    let key = idempotency_key(&headers)?;
    let written = new_order::create(&app, &caller, user_id, shifu_bid, price, key.as_deref()).await?;
    let created = Created { tenant_id: &caller.route.tenant_id, order: written.order()? };
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

impl ListQuery {
    fn parse(self) -> Result<ListRequest, ApiError> {
        let status = self.status.map(|text| match text.parse() {
            Ok(status) if (501..=505).contains(&status) => Ok(status),
            _ => Err(ApiError::invalid("status", "status", "a number from 501 to 505")),
        });
        let moment = |text: &str, field| parse_time(text, field).map(|time| time.naive_utc());
        let from = self.from.map(|text| moment(&text, "from"));
        let to = self.to.map(|text| moment(&text, "to"));
        Ok(ListRequest {
            limit: parse_limit(self.limit.as_deref(), LIMIT.0, LIMIT.1)?,
            after: self.cursor.map(|text| Cursor::decode(&text)).transpose()?,
            status: status.transpose()?,
            from: from.transpose()?,
            to: to.transpose()?,
        })
    }
}

/// A statement of the list, and the one to use if the table does not have its index.
struct Statement {
    sql: &'static str,
    plain: &'static str,
}

/// Makes a statement of the list.
///
/// A first page names the index that it is read from, backwards. The server takes longer to choose among seven indexes
/// than to read the rows, and it would rather read and sort a small table as a whole. Further pages bound `deleted`
/// from both sides instead of `= 0`, because MariaDB would read by that equality alone and pass over all newer rows.
/// Equality under the column's collation finds a user's rows by the index, and equality of bytes decides.
macro_rules! orders {
    (first $index:literal $($condition:literal)*) => {
        Statement {
            sql: orders!(text concat!("\n             FORCE INDEX (", $index, ")"), "= 0" $($condition)*, ""),
            plain: orders!(text "", "= 0" $($condition)*, ""),
        }
    };
    (text $index:expr, $deleted:literal $($condition:literal)*, $order:literal) => {
        concat!(
            "SELECT order_bid, shifu_bid, user_id, payable_price, paid_price, status, created_at, id FROM order_orders",
            $index,
            " WHERE deleted ", $deleted,
            $($condition,)*
            " ORDER BY ", $order, "created_at DESC, id DESC LIMIT ?"
        )
    };
    ($($condition:literal)*) => {{
        const SQL: &str = orders!(text "", ">= 0 AND deleted <= 0" $($condition)*, "deleted DESC, ");
        Statement { sql: SQL, plain: SQL }
    }};
}

/// The constant statement for a request, and its arguments. It reads one row more than requested, which shows whether
/// there is a next page.
fn statement(request: &ListRequest, owner: Option<&str>) -> Result<(Statement, MySqlArguments), sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    let filtered = request.status.is_some() || request.from.is_some() || request.to.is_some();
    let statement = match (owner.is_some(), request.after.is_some(), filtered) {
        (false, false, false) => orders!(first "idx_list"),
        (false, true, false) => orders!(" AND created_at <= ? AND (created_at < ? OR id < ?)"),
        (true, false, false) => orders!(first "idx_user_list" " AND user_id = ? AND CAST(user_id AS BINARY) = ?"),
        (true, true, false) => orders!(
            " AND user_id = ? AND CAST(user_id AS BINARY) = ?"
            " AND created_at <= ? AND (created_at < ? OR id < ?)"
        ),
        (false, false, true) => orders!(
            " AND (? IS NULL OR status = ?) AND (? IS NULL OR created_at >= ?) AND (? IS NULL OR created_at < ?)"
        ),
        (false, true, true) => orders!(
            " AND created_at <= ? AND (created_at < ? OR id < ?)"
            " AND (? IS NULL OR status = ?) AND (? IS NULL OR created_at >= ?) AND (? IS NULL OR created_at < ?)"
        ),
        (true, false, true) => orders!(
            " AND user_id = ? AND CAST(user_id AS BINARY) = ?"
            " AND (? IS NULL OR status = ?) AND (? IS NULL OR created_at >= ?) AND (? IS NULL OR created_at < ?)"
        ),
        (true, true, true) => orders!(
            " AND user_id = ? AND CAST(user_id AS BINARY) = ?"
            " AND created_at <= ? AND (created_at < ? OR id < ?)"
            " AND (? IS NULL OR status = ?) AND (? IS NULL OR created_at >= ?) AND (? IS NULL OR created_at < ?)"
        ),
    };
    let mut bind = || {
        if let Some(owner) = owner {
            arguments.add(owner)?;
            arguments.add(owner)?;
        }
        if let Some(Cursor { created_at, id }) = request.after {
            arguments.add(created_at)?;
            arguments.add(created_at)?;
            arguments.add(id)?;
        }
        if filtered {
            arguments.add(request.status)?;
            arguments.add(request.status)?;
            for bound in [request.from, request.to] {
                arguments.add(bound)?;
                arguments.add(bound)?;
            }
        }
        arguments.add(request.limit + 1)
    };
    bind().map_err(sqlx::Error::Encode)?;
    Ok((statement, arguments))
}

fn list_page<'r>(tenant_id: &'r str, rows: &'r [MySqlRow], limit: u32) -> Result<Page<'r>, sqlx::Error> {
    let (orders, next_cursor) = page::read(rows, limit, CursorColumns { time: 6, id: 7 }, order)?;
    Ok(Page { tenant_id, orders, next_cursor })
}

/// Reads an order from columns in the order of its members.
pub fn order(row: &MySqlRow) -> Result<Order<'_>, sqlx::Error> {
    Ok(Order {
        order_bid: row.try_get(0)?,
        shifu_bid: row.try_get(1)?,
        user_id: row.try_get(2)?,
        payable_price: row.try_get(3)?,
        paid_price: row.try_get(4)?,
        status: row.try_get(5)?,
        created_at: row.try_get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<ListRequest, String> {
        let of = |name| pairs.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
        let query = ListQuery {
            limit: of("limit"),
            cursor: of("cursor"),
            status: of("status"),
            from: of("from"),
            to: of("to"),
        };
        query.parse().map_err(|error| error.code().name())
    }

    #[test]
    fn each_wrong_parameter_has_its_own_error_code() {
        assert_eq!(parse(&[]), Ok(ListRequest { limit: 20, ..ListRequest::default() }));
        for (name, value, code) in [
            ("limit", "0", "invalid_limit"),
            ("limit", "101", "invalid_limit"),
            ("limit", "-1", "invalid_limit"),
            ("limit", "", "invalid_limit"),
            ("limit", "1e2", "invalid_limit"),
            ("cursor", "x", "invalid_cursor"),
            ("status", "500", "invalid_status"),
            ("status", "506", "invalid_status"),
            ("status", "paid", "invalid_status"),
            ("from", "2025-01-01", "invalid_from"),
            ("from", "2025-13-01T00:00:00Z", "invalid_from"),
            ("to", "yesterday", "invalid_to"),
            ("to", "0001-01-01T00:00:00Z", "invalid_to"),
        ] {
            assert_eq!(parse(&[(name, value)]), Err(code.into()), "{name}={value}");
        }
        let request = parse(&[("limit", "100"), ("status", "502"), ("from", "2025-01-01T08:00:00+08:00")]).unwrap();
        assert_eq!((request.limit, request.status), (100, Some(502)));
        assert_eq!(request.from, Some("2025-01-01T00:00:00".parse().unwrap()));
    }

    #[test]
    fn as_many_arguments_are_bound_as_there_are_placeholders() {
        let time: NaiveDateTime = "2025-01-01T00:00:00".parse().unwrap();
        for owner in [None, Some("u1")] {
            for after in [None, Some(Cursor { created_at: time, id: 1 })] {
                for status in [None, Some(502)] {
                    let request = ListRequest { limit: 20, after, status, ..ListRequest::default() };
                    let (Statement { sql, plain }, arguments) = statement(&request, owner).unwrap();
                    for sql in [sql, plain] {
                        assert_eq!(arguments.len(), sql.matches('?').count(), "{sql}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_minimal_handler_runs_the_same_statement() {
        let (Statement { sql, .. }, _) = statement(&ListRequest { limit: 20, ..ListRequest::default() }, None).unwrap();
        assert!(include_str!("../../../tests/bench/minimal.rs").contains(sql), "{sql}");
    }
}
