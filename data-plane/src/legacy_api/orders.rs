//! The legacy calls about orders: a list of all orders of a user, and a new order.

use super::caller::LegacyCaller;
use super::envelope::{Envelope, success};
use super::{LegacyError, amount, read_all, rows_of, time, user_in_path};
use crate::api::new_order;
use crate::api::price::Price;
use crate::app::App;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use kernel::domain::UserId;
use kernel::http::{ApiPath, idempotency_key, parse_json};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::mysql::MySqlRow;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[schema(as = LegacyOrders)]
struct Orders<'r> {
    orders: Vec<Order<'r>>,
    user_id: &'r str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LegacyOrder)]
struct Order<'r> {
    created: Option<String>,
    order_id: &'r str,
    paid: f64,
    price: f64,
    shifu_id: &'r str,
    status: i16,
}

/// All orders of a user, newest first.
#[utoipa::path(get, path = "/api/legacy/user/{user_id}/orders", tag = "legacy",
    security(("token" = []), ("cookie" = []), ("bearer" = [])), params(("user_id" = UserId, Path)),
    responses((status = 200, description = "The answer, or an error", body = Envelope<Orders<'_>>)))]
pub async fn of_user(
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    LegacyCaller { caller, .. }: LegacyCaller,
) -> Result<Response, LegacyError> {
    const ORDERS: &str = "SELECT order_bid, shifu_bid, payable_price, paid_price, status, created_at FROM order_orders
        WHERE user_id = ? AND CAST(user_id AS BINARY) = ? AND deleted = 0 ORDER BY created_at DESC, id DESC LIMIT ?";
    let user_id = user_in_path(&caller, &user)?;
    let rows = rows_of(&app, &caller, ORDERS, &user_id).await?;
    success(Orders { orders: read_all(&rows, order)?, user_id: user_id.as_str() })
}

fn order(row: &MySqlRow) -> Result<Order<'_>, sqlx::Error> {
    Ok(Order {
        created: time(row, 5)?,
        order_id: row.try_get(0)?,
        paid: amount(row, 3)?,
        price: amount(row, 2)?,
        shifu_id: row.try_get(1)?,
        status: row.try_get(4)?,
    })
}

/// A new order. Other members that old clients send are ignored.
#[derive(Deserialize, ToSchema)]
#[schema(as = LegacyNewOrder)]
struct Body {
    shifu_id: String,
    #[serde(default)]
    user_id: Option<String>,
    /// A number, or its text; 0 if it is missing.
    #[serde(default)]
    #[schema(value_type = Option<f64>)]
    price: Option<Box<RawValue>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LegacyCreated)]
struct Created<'r> {
    order_id: &'r str,
}

/// Create an order for the caller. An admin may create one for another member.
#[utoipa::path(post, path = "/api/legacy/orders", tag = "legacy",
    security(("token" = []), ("cookie" = []), ("bearer" = [])), request_body = Body,
    responses((status = 200, description = "The answer, or an error", body = Envelope<Created<'_>>)))]
pub async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    LegacyCaller { caller, body }: LegacyCaller,
) -> Result<Response, LegacyError> {
    let body: Body = parse_json(&body)?;
    let user_id = new_order::owner(&caller, body.user_id.as_deref())?;
    let shifu_bid = new_order::shifu_bid(body.shifu_id, "shifu_id")?;
    let price = price(body.price.as_deref())?;
    let key = idempotency_key(&headers)?;
    let written = new_order::create(&app, &caller, user_id, shifu_bid, price, key.as_deref()).await?;
    success(Created { order_id: written.order()?.order_bid })
}

fn price(given: Option<&RawValue>) -> Result<Price, LegacyError> {
    let text = given.map_or("0", RawValue::get).trim_matches('"');
    Price::rounded(text).map_err(|_| LegacyError::Parameter("price".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legacy_price_is_a_number_or_its_text() {
        let of = |body: &str| -> Result<String, LegacyError> {
            let body: Body = parse_json(body.as_bytes())?;
            price(body.price.as_deref()).map(|price| price.to_string())
        };
        for (body, expected) in [
            (r#"{"shifu_id": "s"}"#, "0.00"),
            (r#"{"shifu_id": "s", "price": null}"#, "0.00"),
            (r#"{"shifu_id": "s", "price": 99}"#, "99.00"),
            (r#"{"shifu_id": "s", "price": 59.699999999999996, "channel": 7}"#, "59.70"),
            (r#"{"shifu_id": "s", "price": "19.90"}"#, "19.90"),
            (r#"{"shifu_id": "s", "price": 99999999.99}"#, "99999999.99"),
        ] {
            assert_eq!(of(body).unwrap(), expected, "{body}");
        }
        for bad in ["-1", "\"\"", "\"x\"", "true", "{}", "100000000", "1e3"] {
            let body = format!(r#"{{"shifu_id": "s", "price": {bad}}}"#);
            assert_eq!(of(&body).unwrap_err().code(), 2001, "{body}");
        }
        assert_eq!(of("{}").unwrap_err().message(kernel::http::Language::English), "Invalid parameter: body");
    }
}
