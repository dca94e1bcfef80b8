//! [`NewOrder`]: an order that is about to be in a tenant's database, once.
//!
//! **Guarantees.** Its id is ours: random, or made of tenant, caller and `Idempotency-Key`, so that the same key finds the
//! same order. Whoever writes it holds a lock of the server by that id, looks for it, and inserts it only if it is not
//! there: neither two requests with one key nor a repetition after a lost connection make two of it. (The seed's index on
//! `order_bid` is not unique, and legacy rows may break one.) Money stays the digits that came in.

use super::orders::{Order, order};
use super::price::Price;
use crate::admission::Caller;
use crate::connections::{TenantDatabase, Work};
use kernel::domain::{Role, UserId};
use kernel::http::{ApiError, Code};
use sha2::{Digest, Sha256};
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlRow;
use std::sync::Arc;
use uuid::Uuid;

/// Seconds to wait for somebody else who writes the same order.
const LOCK_WAIT: u32 = 2;

/// See the module.
pub struct NewOrder {
    order_bid: Uuid,
    shifu_bid: String,
    user_id: Arc<UserId>,
    price: Price,
}

impl NewOrder {
    /// An order of `user_id`; `key` is the request's `Idempotency-Key`.
    pub fn new(caller: &Caller, user_id: Arc<UserId>, shifu_bid: String, price: Price, key: Option<&str>) -> Self {
        let order_bid = key
            .map_or_else(Uuid::new_v4, |key| named(&[caller.route.tenant_id.as_str(), caller.user_id.as_str(), key]));
        Self { order_bid, shifu_bid, user_id, price }
    }

    /// Writes it, or finds it as the same key has left it; 422 if the key was used for another order.
    pub async fn write(&self, database: &mut TenantDatabase<'_>) -> Result<Written, ApiError> {
        let Some(row) = database.done(self).await? else {
            // The same key, still in work.
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

/// The order's row.
pub struct Written(MySqlRow);

impl Written {
    /// The order.
    pub fn order(&self) -> Result<Order<'_>, ApiError> {
        order(&self.0).map_err(|error| ApiError::internal(&error))
    }
}

/// Nothing comes of it while somebody else writes the same order. An error closes the connection, which ends its lock.
impl Work for NewOrder {
    type Done = Option<MySqlRow>;

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

/// Whose order it may be: users order for themselves, admins for anybody. That they are a member is for the caller to see.
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

/// `shifu_bid` as the column takes it; the field's name is the client's.
pub fn shifu_bid(text: String, field: &'static str) -> Result<String, ApiError> {
    if (1..=36).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text)
    } else {
        Err(ApiError::invalid(field, field, "1 to 36 printable ASCII characters"))
    }
}

/// A UUID made of its parts (RFC 9562, version 8), the same for the same parts.
fn named(parts: &[&str]) -> Uuid {
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
    fn a_key_names_one_order_of_one_caller_in_one_tenant() {
        let of = |tenant: &str, key: Option<&str>| {
            let caller = Caller { route: Arc::new(route_for_tests(tenant)), ..caller(Role::User) };
            NewOrder::new(&caller, Arc::clone(&caller.user_id), "s".into(), "1".parse().unwrap(), key).order_bid
        };
        assert_eq!(of("acme", Some("k")), of("acme", Some("k")));
        assert_ne!(of("acme", Some("k")), of("acme", Some("l")));
        assert_ne!(of("acme", Some("k")), of("other", Some("k")));
        assert_ne!(of("acme", None), of("acme", None));
        assert_ne!(named(&["a", "bc"]), named(&["ab", "c"]));
    }

    #[test]
    fn users_order_for_themselves_and_viewers_for_nobody() {
        let who = |role, named| owner(&caller(role), named).map_err(|error| error.code().name());
        assert_eq!(who(Role::User, None).unwrap().as_str(), "u1");
        assert_eq!(who(Role::User, Some("u1")).unwrap().as_str(), "u1");
        assert_eq!(who(Role::User, Some("U1")).unwrap_err(), "admin_required");
        assert_eq!(who(Role::Viewer, None).unwrap_err(), "admin_required");
        assert_eq!(who(Role::Admin, Some("u2")).unwrap().as_str(), "u2");
        assert_eq!(who(Role::Admin, Some("")).unwrap_err(), "invalid_user_id");
    }
}
