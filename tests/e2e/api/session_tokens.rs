//! Users' session tokens: lists show no secret, a token expires some time after its latest use, and every node refuses
//! a revoked one within about a second.

use crate::world::{self, SOON};
use anyhow::{Context, Result};
use harness::load;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use kernel::crypto::tokens::session_key;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use std::time::{Duration, Instant};

const HOST: &str = "acme.example.com";

/// Nodes check once a second. The rest is for a busy test machine.
const BOUND: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_revoked_session_token_is_refused_by_every_node() -> Result<()> {
    let mut options = StackOptions::for_test("session-tokens")?;
    options.data_planes = 2;
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (ann, first) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    let (bob, of_bob) = world::user(&admin, "bob", &[("acme", "user")]).await?;
    let second = admin.create_token(&ann, Some(3600)).await?;
    let tokens = format!("/admin/users/{ann}/tokens");

    let mut system = world::system(&stack).await?;
    // Lists omit expired sessions and the legacy's own rows.
    sqlx::query(
        "INSERT INTO user_token (user_id, token, token_expired_at)
         VALUES (?, 'sha256:old', '2020-01-01'), (?, 'plain', '2037-01-01')",
    )
    .bind(&ann)
    .bind(&ann)
    .execute(&mut system)
    .await?;
    let listed = admin.request("GET", &tokens, None, &[]).await?;
    assert_eq!((listed.status, &listed.json["user_id"]), (200, &json!(ann)), "{}", listed.text);
    let rows = listed.json["tokens"].as_array().context("a list")?;
    assert_eq!(rows.len(), 2, "{}", listed.text);
    for secret in [first.as_str(), &second, "sha256", "plain"] {
        assert!(!listed.text.contains(secret), "the list has no secret: {}", listed.text);
    }
    let (newest, oldest) = (id(&rows[0])?, id(&rows[1])?);
    assert!(newest.parse::<u64>()? > oldest.parse::<u64>()?);
    let lifetime = |row: &Value| -> Result<i64> {
        let at = |name: &str| -> Result<chrono::DateTime<chrono::Utc>> {
            Ok(row[name].as_str().context("a time")?.parse()?)
        };
        Ok((at("expires_at")? - at("created_at")?).num_seconds())
    };
    assert!((lifetime(&rows[0])? - 3600).abs() <= 2 && (lifetime(&rows[1])? - 604_800).abs() <= 2, "{}", listed.text);

    let apis = [stack.tenant_api(0), stack.tenant_api(1)];
    for api in &apis {
        for token in [&first, &second, &of_bob] {
            wait::until(SOON, "the node to serve", async || {
                api.get(HOST, token, "/api/me").await.ok().filter(|reply| reply.status == 200)
            })
            .await?;
        }
    }
    // A token of another user, an unknown one and an invalid one are not revoked.
    for (path, status, code) in [
        (format!("/admin/users/{bob}/tokens/{oldest}"), 404, "not_found"),
        (format!("{tokens}/999999"), 404, "not_found"),
        (format!("{tokens}/x"), 422, "invalid_token_id"),
    ] {
        let refused = admin.request("DELETE", &path, None, &[]).await?;
        assert_eq!((refused.status, refused.error()), (status, code), "{path}");
    }
    let unknown = admin.request("GET", "/admin/users/nobody/tokens", None, &[]).await?;
    assert_eq!((unknown.status, unknown.error()), (404, "user_not_found"));
    assert_eq!(apis[0].get(HOST, &first, "/api/me").await?.status, 200);

    let revoked = admin.request("DELETE", &format!("{tokens}/{oldest}"), None, &[]).await?;
    assert_eq!(revoked.status, 204, "{}", revoked.text);
    let since = Instant::now();
    for (node, api) in apis.iter().enumerate() {
        let seen = load::changes((200, 401), since, BOUND, async || Ok(api.get(HOST, &first, "/api/me").await?.status));
        seen.await.with_context(|| format!("node {node}"))?;
        assert_eq!(api.get(HOST, &second, "/api/me").await?.status, 200, "the user's other session token stays valid");
        assert_eq!(api.get(HOST, &of_bob, "/api/me").await?.status, 200);
    }
    let again = admin.request("DELETE", &format!("{tokens}/{oldest}"), None, &[]).await?;
    assert_eq!((again.status, again.error()), (404, "not_found"));
    let left = admin.request("GET", &tokens, None, &[]).await?;
    assert_eq!(left.json["tokens"].as_array().map(Vec::len), Some(1), "{}", left.text);
    Ok(())
}

#[tokio::test]
async fn a_session_token_expires_after_its_latest_use() -> Result<()> {
    let stack = world::start("sliding-sessions").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (ann, week) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    let minute = admin.create_token(&ann, Some(60)).await?;
    let unused = admin.create_token(&ann, Some(60)).await?;
    let fixed = admin.create_token(&ann, Some(60)).await?;
    let over = admin.create_token(&ann, Some(60)).await?;
    let api = stack.tenant_api(0);
    wait::until(SOON, "the node to serve", async || {
        api.get(HOST, &week, "/api/me").await.ok().filter(|reply| reply.status == 200)
    })
    .await?;
    let mut system = world::system(&stack).await?;
    let change = async |system: &mut MySqlConnection, token: &str, to: &str| -> Result<()> {
        let update = format!("UPDATE user_token SET {to} WHERE token = ?");
        sqlx::query(&update).bind(session_key(token)).execute(system).await?;
        Ok(())
    };
    let left = async |system: &mut MySqlConnection, token: &str| -> Result<i64> {
        let ask = "SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), token_expired_at) FROM user_token WHERE token = ?";
        Ok(sqlx::query_scalar(ask).bind(session_key(token)).fetch_one(system).await?)
    };

    // The tokens now look as if they had last been used a while ago.
    for token in [&minute, &unused] {
        change(&mut system, token, "token_expired_at = UTC_TIMESTAMP() + INTERVAL 20 SECOND").await?;
    }
    change(&mut system, &fixed, "token_expired_at = UTC_TIMESTAMP() + INTERVAL 20 SECOND, token_ttl = NULL").await?;
    change(&mut system, &over, "token_expired_at = UTC_TIMESTAMP() - INTERVAL 1 SECOND").await?;
    for (token, status) in [(&minute, 200), (&fixed, 200), (&over, 401)] {
        assert_eq!(api.get(HOST, token, "/api/me").await?.status, status);
    }
    wait::until(SOON, "the node to write the use of the token", async || {
        left(&mut system, &minute).await.ok().filter(|left| *left > 50)
    })
    .await?;
    // A use that the node answers from memory extends the session too.
    change(&mut system, &minute, "token_expired_at = UTC_TIMESTAMP() + INTERVAL 20 SECOND").await?;
    wait::until(SOON, "the node to write a later use of the token", async || {
        api.get(HOST, &minute, "/api/me").await.ok().filter(|reply| reply.status == 200)?;
        left(&mut system, &minute).await.ok().filter(|left| *left > 50)
    })
    .await?;
    for (token, why) in [
        (&unused, "the token was not used"),
        (&fixed, "the token has a fixed end"),
        (&over, "the token had already ended"),
    ] {
        assert!(left(&mut system, token).await? <= 20, "{why}");
    }
    // Three hundred uses cost a few writes and no look-up.
    let count = async |name: &str| -> Result<f64> {
        let metrics = stack.data_planes[0].metrics().await?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.with_context(|| format!("{name} among the metrics"))
    };
    let (begun, misses, writes) = (
        Instant::now(),
        count("cache_lookups_total{cache=\"session\",outcome=\"miss\"} ").await?,
        count("sessions_extended_total ").await?,
    );
    for _ in 0..300 {
        assert_eq!(api.get(HOST, &minute, "/api/orders").await?.status, 200);
    }
    let written = count("sessions_extended_total ").await? - writes;
    assert!(written <= begun.elapsed().as_secs_f64() + 1.0, "{written} writes");
    if begun.elapsed() < Duration::from_secs(30) {
        assert_eq!(count("cache_lookups_total{cache=\"session\",outcome=\"miss\"} ").await?, misses);
    }
    // Nodes may change the expiry of a session, and nothing else of it.
    let mut node = MySqlConnection::connect(&stack.urls.system.node).await?;
    for refused in [
        "UPDATE user_token SET user_id = 'x'",
        "UPDATE user_token SET token = 'x'",
        "UPDATE user_token SET token_ttl = 1",
        "DELETE FROM user_token",
        "INSERT INTO user_token (user_id) VALUES ('x')",
    ] {
        let error =
            sqlx::query(refused).execute(&mut node).await.err().and_then(|error| kernel::database::number(&error));
        assert!(matches!(error, Some(1142 | 1143)), "{refused}: {error:?}");
    }
    Ok(())
}

fn id(row: &Value) -> Result<String> {
    Ok(row["id"].as_str().context("an id")?.to_owned())
}
