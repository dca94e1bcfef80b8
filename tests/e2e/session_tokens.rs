//! Users' session tokens are listed without a secret, and a revoked one is refused by every node within a second or so.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const HOST: &str = "acme.example.com";

/// Nodes look once a second; the rest is for a busy test machine.
const BOUND: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn tokens_are_listed_and_a_revoked_one_is_refused_by_both_nodes() -> Result<()> {
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
    // Neither an expired session nor the legacy's own row is one that counts.
    sqlx::query("INSERT INTO user_token (user_id, token, token_expired_at) VALUES (?, 'sha256:old', '2020-01-01'), (?, 'plain', '2037-01-01')")
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
    // What is not this user's token ends nothing.
    for (path, status, code) in [
        (format!("/admin/users/{bob}/tokens/{oldest}"), 404, "not_found"),
        (format!("{tokens}/999999"), 404, "not_found"),
        (format!("{tokens}/x"), 422, "invalid_token_id"),
    ] {
        let refused = admin.request("DELETE", &path, None, &[]).await?;
        assert_eq!((refused.status, refused.error()), (status, code), "{path}");
    }
    let nobody = admin.request("GET", "/admin/users/nobody/tokens", None, &[]).await?;
    assert_eq!((nobody.status, nobody.error()), (404, "user_not_found"));
    assert_eq!(apis[0].get(HOST, &first, "/api/me").await?.status, 200);

    let revoked = admin.request("DELETE", &format!("{tokens}/{oldest}"), None, &[]).await?;
    assert_eq!(revoked.status, 204, "{}", revoked.text);
    let since = Instant::now();
    for (node, api) in apis.iter().enumerate() {
        loop {
            let began = since.elapsed();
            let status = api.get(HOST, &first, "/api/me").await?.status;
            if status == 401 {
                break;
            }
            ensure!(
                status == 200 && began < BOUND,
                "node {node}: {status} to a request {began:?} after the revocation"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(api.get(HOST, &second, "/api/me").await?.status, 200, "the user's other session goes on");
        assert_eq!(api.get(HOST, &of_bob, "/api/me").await?.status, 200);
    }
    let again = admin.request("DELETE", &format!("{tokens}/{oldest}"), None, &[]).await?;
    assert_eq!((again.status, again.error()), (404, "not_found"));
    let left = admin.request("GET", &tokens, None, &[]).await?;
    assert_eq!(left.json["tokens"].as_array().map(Vec::len), Some(1), "{}", left.text);
    Ok(())
}

fn id(row: &Value) -> Result<String> {
    Ok(row["id"].as_str().context("an id")?.to_owned())
}
