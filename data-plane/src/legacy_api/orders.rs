//! The old calls about orders: all of a user, newest first, and a new one.

use super::caller::LegacyCaller;
use super::envelope::{Envelope, success};
use super::{LegacyError, allowed, amount, rows_of, time};
use crate::api::new_order::{self, NewOrder};
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
#[utoipa::path(get, path = "/api/legacy/user/{user_id}/orders", tag = "legacy", security(("token" = []), ("cookie" = []), ("bearer" = [])), params(("user_id" = UserId, Path)),
    responses((status = 200, description = "The answer, or an error", body = Envelope<Orders<'_>>)))]
pub async fn of_user(
    State(app): State<App>,
    ApiPath(user): ApiPath<String>,
    LegacyCaller { caller, .. }: LegacyCaller,
) -> Result<Response, LegacyError> {
    const ORDERS: &str = "SELECT order_bid, shifu_bid, payable_price, paid_price, status, created_at FROM order_orders
        WHERE user_id = ? AND CAST(user_id AS BINARY) = ? AND deleted = 0 ORDER BY created_at DESC, id DESC LIMIT ?";
    let user_id = allowed(&caller, &user)?;
    let rows = rows_of(&app, &caller, ORDERS, &user_id).await?;
    let orders = rows.iter().map(order).collect::<Result<_, _>>().map_err(|error| LegacyError::broken(&error))?;
    success(Orders { orders, user_id: user_id.as_str() })
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

/// A new order; what else old clients send is not looked at.
#[derive(Deserialize, ToSchema)]
#[schema(as = LegacyNewOrder)]
struct Body {
    shifu_id: String,
    #[serde(default)]
    user_id: Option<String>,
    /// A number, or its text; missing: 0.
    #[serde(default)]
    #[schema(value_type = Option<f64>)]
    price: Option<Box<RawValue>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LegacyCreated)]
struct Created<'r> {
    order_id: &'r str,
}

/// A new order of the caller, or, asked by an admin, of another member.
#[utoipa::path(post, path = "/api/legacy/orders", tag = "legacy", security(("token" = []), ("cookie" = []), ("bearer" = [])), request_body = Body,
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
    if user_id != caller.user_id {
        app.profiles.member(&caller.route, &user_id).await?;
    }
    let mut database = app.databases.enter(&caller.route).await?;
    let written = NewOrder::new(&caller, user_id, shifu_bid, price, key.as_deref()).write(&mut database).await?;
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
    fn a_price_is_a_number_or_its_text() {
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
