//! `GET /api/orders`: a tenant's orders, newest first, page by page. Admins and viewers see all, users see their own.
//! `POST /api/orders`: a new one ([`super::new_order`]).
//!
//! A list is one round trip. The statements are constants, so each is prepared once per connection: those with filters
//! are apart from those without, because the common question should be read straight off an index.

use super::cursor::Cursor;
use super::new_order::{self, NewOrder};
use super::page::cut;
use crate::admission::Caller;
use crate::app::App;
use crate::values::{Moment, Money};
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::domain::{TenantId, UserId};
use kernel::http::{ApiError, ApiJson, ApiQuery, idempotency_key, parse_limit};
use serde::{Deserialize, Serialize};
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments, Row};
use utoipa::{IntoParams, ToSchema};

/// Rows of a page when none are asked for, and at most.
const LIMIT: (u32, u32) = (20, 100);

/// About the size of one order in JSON.
const ORDER_BYTES: usize = 256;

/// The question as sent; every part is checked with its own code.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Question {
    /// Most rows of the page; 20 unless told otherwise.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only orders of this status.
    #[param(value_type = Option<u16>, minimum = 501, maximum = 505)]
    status: Option<String>,
    /// Only orders created then or later.
    #[param(value_type = Option<DateTime<Utc>>)]
    from: Option<String>,
    /// Only orders created before.
    #[param(value_type = Option<DateTime<Utc>>)]
    to: Option<String>,
}

/// The question as understood.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
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

/// An order as lists and the answer to a new one show it.
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
#[utoipa::path(get, path = "/api/orders", tag = "orders", params(Question), responses(
    (status = 200, description = "A page", body = Page),
    (status = 422, description = "invalid_limit, invalid_cursor, invalid_status, invalid_from, invalid_to")))]
pub async fn list(
    caller: Caller,
    State(app): State<App>,
    ApiQuery(question): ApiQuery<Question>,
) -> Result<Response, ApiError> {
    let wanted = question.understand()?;
    let owner = (!caller.role.sees_all()).then(|| caller.user_id.as_str());
    let (Statement { sql, plain }, arguments) =
        statement(&wanted, owner).map_err(|error| ApiError::internal(&error))?;
    let mut database = app.databases.enter(&caller.route).await?;
    let rows = database.rows_by_index(sql, plain, arguments).await?;
    let page =
        page(caller.route.tenant_id.as_str(), &rows, wanted.limit).map_err(|error| ApiError::internal(&error))?;
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
    /// Whose it is, if it is not the caller's own: for admins.
    #[serde(default)]
    #[schema(value_type = Option<UserId>)]
    user_id: Option<String>,
}

/// The order that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedOrder)]
struct Created<'r> {
    tenant_id: &'r TenantId,
    order: Order<'r>,
}

/// Begin an order of the caller, or, asked by an admin, of another member.
///
/// Its status is 501. The price is the one that the caller names: whoever takes the money compares it with the course's.
/// With an `Idempotency-Key` (1 to 255 printable ASCII characters) the same key finds the same order.
#[utoipa::path(post, path = "/api/orders", tag = "orders", request_body = Body,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255)), responses(
    (status = 201, description = "The order", body = Created),
    (status = 403, description = "admin_required"),
    (status = 404, description = "user_not_found"),
    (status = 409, description = "conflict"),
    (status = 422, description = "invalid_shifu_bid, invalid_payable_price, invalid_user_id, invalid_idempotency_key, idempotency_key_reused")))]
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
    if user_id != caller.user_id {
        app.profiles.member(&caller.route, &user_id).await?;
    }
    let mut database = app.databases.enter(&caller.route).await?;
    let written = NewOrder::new(&caller, user_id, shifu_bid, price, key.as_deref()).write(&mut database).await?;
    let created = Created { tenant_id: &caller.route.tenant_id, order: written.order()? };
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

impl Question {
    fn understand(self) -> Result<Wanted, ApiError> {
        let status = self.status.map(|text| match text.parse() {
            Ok(status) if (501..=505).contains(&status) => Ok(status),
            _ => Err(ApiError::invalid("status", "status", "a number from 501 to 505")),
        });
        let from = self.from.map(|text| moment("from", &text));
        let to = self.to.map(|text| moment("to", &text));
        Ok(Wanted {
            limit: parse_limit(self.limit.as_deref(), LIMIT.0, LIMIT.1)?,
            after: self.cursor.map(|text| Cursor::decode(&text)).transpose()?,
            status: status.transpose()?,
            from: from.transpose()?,
            to: to.transpose()?,
        })
    }
}

fn moment(name: &'static str, text: &str) -> Result<NaiveDateTime, ApiError> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.with_timezone(&Utc).naive_utc())
        // Years the column cannot have are refused by the database, with an error that would be ours.
        .ok()
        .filter(|time| (1000..=9999).contains(&chrono::Datelike::year(time)))
        .ok_or_else(|| ApiError::invalid(name, name, "a time such as 2025-01-31T08:00:00Z"))
}

/// A statement of the list, and one for tables without its index.
struct Statement {
    sql: &'static str,
    plain: &'static str,
}

/// A statement of the list.
///
/// A first page names the index it is read from, end to beginning: choosing among seven takes the server longer than
/// reading, and of a small table it would rather read and sort everything. Further pages bound `deleted` from both sides
/// instead of `= 0`: MariaDB would read by that equality alone, and walk over everything newer. Equality under the column's
/// collation finds a user's rows, equality of bytes decides.
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

/// The constant statement for a question, and what is bound to it. One row more than wanted tells whether there is a
/// next page.
fn statement(wanted: &Wanted, owner: Option<&str>) -> Result<(Statement, MySqlArguments), sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    let filtered = wanted.status.is_some() || wanted.from.is_some() || wanted.to.is_some();
    let statement = match (owner.is_some(), wanted.after.is_some(), filtered) {
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
        if let Some(Cursor { created_at, id }) = wanted.after {
            arguments.add(created_at)?;
            arguments.add(created_at)?;
            arguments.add(id)?;
        }
        if filtered {
            arguments.add(wanted.status)?;
            arguments.add(wanted.status)?;
            for bound in [wanted.from, wanted.to] {
                arguments.add(bound)?;
                arguments.add(bound)?;
            }
        }
        arguments.add(wanted.limit + 1)
    };
    bind().map_err(sqlx::Error::Encode)?;
    Ok((statement, arguments))
}

fn page<'r>(tenant_id: &'r str, rows: &'r [MySqlRow], limit: u32) -> Result<Page<'r>, sqlx::Error> {
    let (shown, next_cursor) = cut(rows, limit, 6, 7)?;
    let orders = shown.iter().map(order).collect::<Result<Vec<_>, _>>()?;
    Ok(Page { tenant_id, orders, next_cursor })
}

/// From the columns in the order of its members.
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

    fn question(pairs: &[(&str, &str)]) -> Result<Wanted, String> {
        let of = |name| pairs.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
        let question =
            Question { limit: of("limit"), cursor: of("cursor"), status: of("status"), from: of("from"), to: of("to") };
        question.understand().map_err(|error| error.code().name())
    }

    #[test]
    fn every_part_is_checked_with_its_own_code() {
        assert_eq!(question(&[]), Ok(Wanted { limit: 20, ..Wanted::default() }));
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
            assert_eq!(question(&[(name, value)]), Err(code.into()), "{name}={value}");
        }
        let wanted = question(&[("limit", "100"), ("status", "502"), ("from", "2025-01-01T08:00:00+08:00")]).unwrap();
        assert_eq!((wanted.limit, wanted.status), (100, Some(502)));
        assert_eq!(wanted.from, Some("2025-01-01T00:00:00".parse().unwrap()));
    }

    #[test]
    fn as_many_values_are_bound_as_the_statement_has_places() {
        let time: NaiveDateTime = "2025-01-01T00:00:00".parse().unwrap();
        for owner in [None, Some("u1")] {
            for after in [None, Some(Cursor { created_at: time, id: 1 })] {
                for status in [None, Some(502)] {
                    let wanted = Wanted { limit: 20, after, status, ..Wanted::default() };
                    let (Statement { sql, plain }, arguments) = statement(&wanted, owner).unwrap();
                    for sql in [sql, plain] {
                        assert_eq!(arguments.len(), sql.matches('?').count(), "{sql}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_minimal_handler_asks_the_same_question() {
        let (Statement { sql, .. }, _) = statement(&Wanted { limit: 20, ..Wanted::default() }, None).unwrap();
        assert!(include_str!("../../../tests/bench/minimal.rs").contains(sql), "{sql}");
    }
}
