//! [`NewOrder`] writes an order into a tenant's database exactly once.
//!
//! **Guarantees.** The id of the order is random, or computed from the tenant, the caller and the `Idempotency-Key`, so
//! the same key finds the same order. The writer takes a lock of the server on that id, looks for the order, and
//! inserts it only if it does not exist. So neither two requests with one key nor a repetition after a lost connection
//! create two orders. (The index on `order_bid` is not unique, and legacy rows might violate a unique one.) The price
//! keeps exactly the digits that the client sent.

use super::orders::{Order, order};
use super::price::Price;
use crate::admission::Caller;
use crate::app::App;
use crate::connections::{TenantDatabase, Work};
use kernel::domain::{Role, UserId};
use kernel::http::{ApiError, Code};
use sha2::{Digest, Sha256};
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlRow;
use std::sync::Arc;
use uuid::Uuid;

/// Seconds to wait while another request writes the same order.
const LOCK_WAIT: u32 = 2;

/// An order that is about to be written.
struct NewOrder {
    order_bid: Uuid,
    shifu_bid: String,
    user_id: Arc<UserId>,
    price: Price,
}

impl NewOrder {
    /// An order of `user_id`. `key` is the request's `Idempotency-Key`.
    fn new(caller: &Caller, user_id: Arc<UserId>, shifu_bid: String, price: Price, key: Option<&str>) -> Self {
        let order_bid = key
            .map_or_else(Uuid::new_v4, |key| uuid_of(&[caller.route.tenant_id.as_str(), caller.user_id.as_str(), key]));
        Self { order_bid, shifu_bid, user_id, price }
    }

    /// Writes the order, or finds the one that the same key has created before.
    ///
    /// # Errors
    /// 409 while another request with the same key is at work, 422 if the key was used for a different order.
    async fn write(&self, database: &mut TenantDatabase<'_>) -> Result<Written, ApiError> {
        let Some(row) = database.run(self).await? else {
            // Another request with the same key holds the lock.
            return Err(Code::Conflict.into());
        };
        let written = Written(row);
        let order = written.order()?;
        let same = order.user_id == self.user_id.as_str()
            && order.shifu_bid == self.shifu_bid
            && order.payable_price.digits() == self.price.to_string();
        if same { Ok(written) } else { Err(ApiError::from(Code::IdempotencyMismatch).with("field", "Idempotency-Key")) }
    }

    async fn find(&self, connection: &mut MySqlConnection) -> Result<Option<MySqlRow>, sqlx::Error> {
        sqlx::query(
            "SELECT order_bid, shifu_bid, user_id, payable_price, paid_price, status, created_at FROM order_orders
             WHERE order_bid = ? ORDER BY id LIMIT 1",
        )
        .bind(self.order_bid.to_string())
        .fetch_optional(connection)
        .await
    }
}

/// The stored row of an order.
pub struct Written(MySqlRow);

impl Written {
    /// The order in the row.
    pub fn order(&self) -> Result<Order<'_>, ApiError> {
        order(&self.0).map_err(|error| ApiError::internal(&error))
    }
}

/// The output is `None` while another request writes the same order. An error closes the connection, and that releases
/// the lock.
impl Work for NewOrder {
    type Output = Option<MySqlRow>;

    async fn run(&self, connection: &mut MySqlConnection) -> Result<Option<MySqlRow>, sqlx::Error> {
        let lock = format!("order {}", self.order_bid);
        let locked: Option<i64> =
            sqlx::query_scalar("SELECT GET_LOCK(?, ?)").bind(&lock).bind(LOCK_WAIT).fetch_one(&mut *connection).await?;
        if locked != Some(1) {
            return Ok(None);
        }
        let mut row = self.find(connection).await?;
        if row.is_none() {
            sqlx::query("INSERT INTO order_orders (order_bid, shifu_bid, user_id, payable_price) VALUES (?, ?, ?, ?)")
                .bind(self.order_bid.to_string())
                .bind(&self.shifu_bid)
                .bind(self.user_id.as_str())
                .bind(self.price.to_string())
                .execute(&mut *connection)
                .await?;
            row = self.find(connection).await?;
        }
        sqlx::query("DO RELEASE_LOCK(?)").bind(&lock).execute(connection).await?;
        row.ok_or(sqlx::Error::RowNotFound).map(Some)
    }
}

/// Creates an order for `user_id`, who may be another member than the caller.
///
/// # Errors
/// 403 or 404 if the user is no member of the tenant, and the errors of [`NewOrder::write`].
pub async fn create(
    app: &App,
    caller: &Caller,
    user_id: Arc<UserId>,
    shifu_bid: String,
    price: Price,
    key: Option<&str>,
) -> Result<Written, ApiError> {
    if user_id != caller.user_id {
        app.profiles.member(&caller.route, &user_id).await?;
    }
    let mut database = app.databases.enter(&caller.route).await?;
    NewOrder::new(caller, user_id, shifu_bid, price, key).write(&mut database).await
}

/// The user that an order is for: the caller, or the user that an admin names.
///
/// # Errors
/// 403 if the caller may not order for that user. Whether the user is a member is checked in [`create`].
pub fn owner(caller: &Caller, named: Option<&str>) -> Result<Arc<UserId>, ApiError> {
    let user_id = match named {
        None => Arc::clone(&caller.user_id),
        Some(text) => Arc::new(text.parse::<UserId>().map_err(|error| ApiError::invalid("user_id", "user_id", error))?),
    };
    match caller.role {
        Role::Admin => Ok(user_id),
        Role::User if user_id == caller.user_id => Ok(user_id),
        Role::User | Role::Viewer => Err(Code::AdminRequired.into()),
    }
}

/// Checks that a `shifu_bid` fits its column. `field` is the name that the client uses for it.
pub fn shifu_bid(text: String, field: &'static str) -> Result<String, ApiError> {
    if (1..=36).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text)
    } else {
        Err(ApiError::invalid(field, field, "1 to 36 printable ASCII characters"))
    }
}

/// A UUID computed from `parts` (RFC 9562, version 8): the same parts give the same UUID.
fn uuid_of(parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let (bytes, _) = hash.split_first_chunk::<16>().expect("32 bytes have 16");
    uuid::Builder::from_custom_bytes(*bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::route_for_tests;

    fn caller(role: Role) -> Caller {
        Caller { route: Arc::new(route_for_tests("acme")), user_id: Arc::new("u1".parse().unwrap()), role }
    }

    #[test]
    fn a_key_names_one_order_per_caller_and_tenant() {
        let of = |tenant: &str, key: Option<&str>| {
            let caller = Caller { route: Arc::new(route_for_tests(tenant)), ..caller(Role::User) };
            NewOrder::new(&caller, Arc::clone(&caller.user_id), "s".into(), "1".parse().unwrap(), key).order_bid
        };
        assert_eq!(of("acme", Some("k")), of("acme", Some("k")));
        assert_ne!(of("acme", Some("k")), of("acme", Some("l")));
        assert_ne!(of("acme", Some("k")), of("other", Some("k")));
        assert_ne!(of("acme", None), of("acme", None));
        assert_ne!(uuid_of(&["a", "bc"]), uuid_of(&["ab", "c"]));
    }

    #[test]
    fn users_order_for_themselves_and_viewers_not_at_all() {
        let owner_of = |role, named| owner(&caller(role), named).map_err(|error| error.code().name());
        assert_eq!(owner_of(Role::User, None).unwrap().as_str(), "u1");
        assert_eq!(owner_of(Role::User, Some("u1")).unwrap().as_str(), "u1");
        assert_eq!(owner_of(Role::User, Some("U1")).unwrap_err(), "admin_required");
        assert_eq!(owner_of(Role::Viewer, None).unwrap_err(), "admin_required");
        assert_eq!(owner_of(Role::Admin, Some("u2")).unwrap().as_str(), "u2");
        assert_eq!(owner_of(Role::Admin, Some("")).unwrap_err(), "invalid_user_id");
    }
}
