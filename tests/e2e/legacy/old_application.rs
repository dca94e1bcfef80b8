//! What the tests of the legacy's calls and sessions have in common: the installation's secret, rows as the old
//! application left them, and its tokens.

use crate::world::{self, SOON};
use anyhow::Result;
use harness::clients::TenantApi;
use harness::stack::Stack;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use sqlx::Executor;

pub const SECRET: &str = "the legacy installation's secret";

/// The default tenant's domain.
pub const HOST: &str = "app.ai-shifu.com";

/// Users with ids of old installations. The answers are compared byte for byte.
pub const ANN: &str = "0f8fad5bd9cb469fa16570867728950e";
pub const BOB: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
pub const BOSS: &str = "legacy-boss";

/// A token in the form of the legacy system.
pub fn token(user_id: &str, secret: &str) -> String {
    let claims = json!({"user_id": user_id, "time_stamp": 1_758_700_000.25});
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes()))
        .expect("claims without surprises can be signed")
}

/// The key of a session in Redis.
pub fn key(token: &str) -> String {
    format!("ai-shifu:user:{token}")
}

/// Logs a user in as the legacy system does.
pub async fn log_in(redis: &mut MultiplexedConnection, user_id: &str) -> Result<String> {
    let token = token(user_id, SECRET);
    let () = redis.set_ex(key(&token), user_id, 604_800).await?;
    Ok(token)
}

pub async fn connect(url: &str) -> Result<MultiplexedConnection> {
    Ok(redis::Client::open(url)?.get_multiplexed_async_connection().await?)
}

/// Makes the users members of the default tenant: ann and bob as users, boss as its admin.
pub async fn members(stack: &Stack) -> Result<()> {
    let mut system = world::system(stack).await?;
    for (user_id, name, role) in [(ANN, "ann", "user"), (BOB, "bob", "user"), (BOSS, "boss", "admin")] {
        sqlx::query("INSERT INTO user_info (user_id, username, name) VALUES (?, ?, ?)")
            .bind(user_id)
            .bind(name)
            .bind(name)
            .execute(&mut system)
            .await?;
        stack.admin().put_member("default", user_id, role).await?;
    }
    Ok(())
}

/// Waits until the node knows the members.
pub async fn known(api: &TenantApi, token: &str) -> Result<()> {
    harness::wait::until(SOON, "the node to know the members", async || {
        let reply = api.request("GET", "/api/legacy/shifu/s1", &[("Token", token)]).await.ok()?;
        (reply.json["code"] == json!(0) || reply.json["code"] == json!(404)).then_some(())
    })
    .await
}

/// Inserts rows of all kinds, with what old databases hold: amounts that no float represents, other alphabets, rows of
/// users whose ids differ only in case, deleted rows.
pub async fn fill(stack: &Stack) -> Result<()> {
    let mut rows = world::root(stack).await?;
    rows.execute("USE `ai_shifu_tenant_default`; SET SESSION sql_mode = '', time_zone = '+00:00'").await?;
    for statement in [
        format!(
            "INSERT INTO order_orders (order_bid, shifu_bid, user_id, payable_price, paid_price, status, deleted, created_at) VALUES
             ('o1', 's1', '{ANN}', 99999999.99, 0.07, 502, 0, '2025-01-01 00:00:00'),
             ('o2', 's1', '{ANN}', 0.10, 0.00, 501, 0, '2025-06-30 23:59:59'),
             ('o3', 's2', '{ANN}', 199.00, 179.10, 503, 0, '2025-03-05 10:00:00'),
             ('o4', 's2', '{ANN}', -5.00, 0.00, 505, 0, '1000-01-01 00:00:00'),
             ('o5', 'gone', '{ANN}', 1.00, 1.00, 502, 1, '2025-03-06 10:00:00'),
             ('o6', 's1', '{BOB}', 33.30, 33.30, 502, 0, '2025-03-07 10:00:00')"
        ),
        "INSERT INTO shifu_published_shifus (shifu_bid, title, description, avatar_res_bid, deleted) VALUES
             ('s1', 'AI 师傅 \"课\" \\\\ </é> 😀', 'first\\nsecond\\tline\u{7f}', 'res-1', 0),
             ('s9', 'withdrawn', '', '', 1)"
            .into(),
        format!(
            "INSERT INTO learn_progress_records
                 (progress_record_bid, shifu_bid, outline_item_bid, user_bid, status, block_position, deleted, created_at) VALUES
             ('p1', 's1', 'i1', '{ANN}', 603, 12, 0, '2025-02-01 08:00:00'),
             ('p2', 's1', 'i2', '{ANN}', 602, 0, 0, '2025-02-02 08:00:00'),
             ('p3', 's1', 'i3', '{ANN}', 605, 0, 1, '2025-02-03 08:00:00'),
             ('p4', 's1', 'i1', '{BOB}', 603, 1, 0, '2025-02-04 08:00:00')"
        ),
        format!(
            "INSERT INTO promo_coupon_usages
                 (coupon_usage_bid, coupon_bid, name, user_bid, code, discount_type, value, status, deleted, created_at) VALUES
             ('u1', 'c1', '新年', '{ANN}', 'WELCOME', 701, 20.00, 903, 0, '2025-01-01 08:00:00'),
             ('u2', 'c2', 'Half', '{ANN}', 'HALF', 702, 0.55, 902, 0, '2025-01-02 08:00:00'),
             ('u3', 'c2', 'Half', '{ANN}', 'HALF', 702, 0.55, 902, 1, '2025-01-03 08:00:00'),
             ('u4', 'c1', 'Bob', '{BOB}', 'WELCOME', 701, 20.00, 903, 0, '2025-01-04 08:00:00')"
        ),
    ] {
        rows.execute(statement.as_str()).await?;
    }
    Ok(())
}
