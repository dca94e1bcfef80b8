//! The API makes orders exactly as requested, once per key, and only for permitted roles.

use crate::world::{self, SOON};
use anyhow::Result;
use futures::future::try_join_all;
use harness::clients::{Reply, TenantApi};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

const HOST: &str = "acme.example.com";

async fn post(api: &TenantApi, token: &str, body: Value, headers: &[(&str, &str)]) -> Result<Reply> {
    let bearer = format!("Bearer {token}");
    let all = [&[("Host", HOST), ("Authorization", bearer.as_str())], headers].concat();
    api.send("POST", "/api/orders", body, &all).await
}

#[tokio::test]
async fn an_order_is_made_once_per_key_and_by_permitted_roles() -> Result<()> {
    let stack = world::start("new-orders").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    admin.create_active_tenant("other", Some("other.example.com"), SOON).await?;
    let (ann, token) = world::user(&admin, "ann", &[("acme", "user"), ("other", "user")]).await?;
    let (_, boss) = world::user(&admin, "boss", &[("acme", "admin")]).await?;
    let (_, viewer) = world::user(&admin, "vic", &[("acme", "viewer")]).await?;
    let (stranger, _) = world::user(&admin, "eve", &[("other", "admin")]).await?;
    let api = stack.tenant_api(0);
    harness::wait::until(SOON, "the node to serve", async || {
        api.get(HOST, &token, "/api/me").await.ok().filter(|reply| reply.status == 200)
    })
    .await?;

    // The answer equals the request, and the list shows the same order.
    let made = post(&api, &token, json!({"shifu_bid": "s-1", "payable_price": "99999999.99"}), &[]).await?;
    assert_eq!((made.status, &made.json["tenant_id"]), (201, &json!("acme")), "{}", made.text);
    let order = &made.json["order"];
    assert_eq!(order["order_bid"].as_str().map(str::len), Some(36));
    for (member, value) in [
        ("shifu_bid", json!("s-1")),
        ("user_id", json!(ann)),
        ("payable_price", json!("99999999.99")),
        ("paid_price", json!("0.00")),
        ("status", json!(501)),
    ] {
        assert_eq!(order[member], value, "{member}");
    }
    let listed = api.get(HOST, &token, "/api/orders").await?;
    assert_eq!(listed.json["orders"], json!([order]));
    let of_member = post(&api, &boss, json!({"shifu_bid": "s-2", "payable_price": "0.1", "user_id": ann}), &[]).await?;
    assert_eq!((of_member.status, &of_member.json["order"]["user_id"]), (201, &json!(ann)), "{}", of_member.text);
    assert_eq!(of_member.json["order"]["payable_price"], json!("0.10"));

    // Callers without the right, and invalid orders: nothing is made.
    let long = "x".repeat(37);
    for (token, body, status, code, field) in [
        (&viewer, json!({"shifu_bid": "s", "payable_price": "1"}), 403, "admin_required", None),
        (&token, json!({"shifu_bid": "s", "payable_price": "1", "user_id": stranger}), 403, "admin_required", None),
        (&boss, json!({"shifu_bid": "s", "payable_price": "1", "user_id": stranger}), 403, "user_not_in_tenant", None),
        (&boss, json!({"shifu_bid": "s", "payable_price": "1", "user_id": "nobody"}), 404, "user_not_found", None),
        (&String::new(), json!({"shifu_bid": "s", "payable_price": "1"}), 401, "unauthenticated", None),
        (
            &boss,
            json!({"shifu_bid": "s", "payable_price": "1", "user_id": "a b"}),
            422,
            "invalid_user_id",
            Some("user_id"),
        ),
        (&token, json!({"shifu_bid": "", "payable_price": "1"}), 422, "invalid_shifu_bid", Some("shifu_bid")),
        (&token, json!({"shifu_bid": long, "payable_price": "1"}), 422, "invalid_shifu_bid", Some("shifu_bid")),
        (
            &token,
            json!({"shifu_bid": "s", "payable_price": "0.001"}),
            422,
            "invalid_payable_price",
            Some("payable_price"),
        ),
        (&token, json!({"shifu_bid": "s", "payable_price": "-1"}), 422, "invalid_payable_price", Some("payable_price")),
        (
            &token,
            json!({"shifu_bid": "s", "payable_price": "100000000"}),
            422,
            "invalid_payable_price",
            Some("payable_price"),
        ),
        (&token, json!({"shifu_bid": "s", "payable_price": 9.9}), 422, "invalid_body", Some("payable_price")),
        (&token, json!({"shifu_bid": "s", "payable_price": "1", "status": 502}), 422, "invalid_body", Some("status")),
        (&token, json!({"shifu_bid": "s"}), 422, "invalid_body", Some("body")),
        (&token, json!([]), 422, "invalid_body", Some("body")),
    ] {
        let reply = post(&api, token, body.clone(), &[]).await?;
        let answer = (reply.status, reply.error(), reply.json["field"].as_str());
        assert_eq!(answer, (status, code, field), "{body}: {}", reply.text);
    }
    let body = json!({"shifu_bid": "s", "payable_price": "1"});
    let reply = post(&api, &token, body, &[("Idempotency-Key", "a b")]).await?;
    assert_eq!((reply.status, reply.error()), (422, "invalid_idempotency_key"));
    assert_eq!(world::order_bids(&api.get(HOST, &boss, "/api/orders").await?).len(), 2);

    // One key makes one order: for concurrent and repeated requests. Another user, another tenant or another body is
    // another order or a refusal.
    let key = [("Idempotency-Key", "k-1")];
    let body = json!({"shifu_bid": "s-3", "payable_price": "5.00"});
    let replies = try_join_all((0..20).map(|_| post(&api, &token, body.clone(), &key))).await?;
    let mut bids = HashSet::new();
    for reply in replies {
        assert_eq!(reply.status, 201, "{}", reply.text);
        bids.insert(reply.json["order"]["order_bid"].to_string());
    }
    assert_eq!(bids.len(), 1);
    // All requests reach the table at the same moment. Without turns, each would find no order and make one.
    let mut root = world::root(&stack).await?;
    for n in 0..5 {
        let key = format!("race-{n}");
        let headers = [("Idempotency-Key", key.as_str())];
        sqlx::raw_sql("LOCK TABLES `ai_shifu_tenant_acme`.order_orders WRITE").execute(&mut root).await?;
        let racing = try_join_all((0..8).map(|_| post(&api, &token, body.clone(), &headers)));
        let (racing, ()) = tokio::try_join!(racing, async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            sqlx::raw_sql("UNLOCK TABLES").execute(&mut root).await?;
            Ok(())
        })?;
        assert!(
            racing.iter().all(|reply| reply.status == 201),
            "{:?}",
            racing.iter().map(|r| &r.text).collect::<Vec<_>>()
        );
    }
    let later = post(&api, &token, json!({"payable_price": "5.0", "shifu_bid": "s-3"}), &key).await?;
    assert!(later.status == 201 && bids.contains(&later.json["order"]["order_bid"].to_string()), "{}", later.text);
    let reused = post(&api, &token, json!({"shifu_bid": "s-3", "payable_price": "5.01"}), &key).await?;
    assert_eq!((reused.status, reused.error()), (422, "idempotency_key_reused"), "{}", reused.text);
    let of_boss = post(&api, &boss, body.clone(), &key).await?;
    assert!(of_boss.status == 201 && !bids.contains(&of_boss.json["order"]["order_bid"].to_string()));
    let bearer = format!("Bearer {token}");
    let other_host = [("Host", "other.example.com"), ("Authorization", &bearer), key[0]];
    let other_host = api.send("POST", "/api/orders", body.clone(), &other_host).await?;
    assert!(other_host.status == 201 && !bids.contains(&other_host.json["order"]["order_bid"].to_string()));
    // Without a key, every request makes an order.
    for _ in 0..2 {
        assert_eq!(post(&api, &token, body.clone(), &[]).await?.status, 201);
    }
    assert_eq!(world::order_bids(&api.get(HOST, &boss, "/api/orders").await?).len(), 11);

    // A killed connection neither loses nor doubles an order.
    for n in 0..10 {
        let key = format!("killed-{n}");
        let headers = [("Idempotency-Key", key.as_str())];
        let making = post(&api, &token, body.clone(), &headers);
        let (made, killed) = tokio::join!(making, kill_sessions(&mut root));
        killed?;
        let again = post(&api, &token, body.clone(), &headers).await?;
        assert_eq!(again.status, 201, "{}", again.text);
        let made = made?;
        assert!(made.status == 503 || made.json["order"] == again.json["order"], "{}: {}", made.text, again.text);
    }
    assert_eq!(world::order_bids(&api.get(HOST, &boss, "/api/orders?limit=100").await?).len(), 21);
    Ok(())
}

/// Ends every session in the tenant's database.
async fn kill_sessions(root: &mut sqlx::MySqlConnection) -> Result<()> {
    let sessions: Vec<u64> = sqlx::query_scalar(
        "SELECT CAST(ID AS UNSIGNED) FROM information_schema.PROCESSLIST WHERE DB = 'ai_shifu_tenant_acme'",
    )
    .fetch_all(&mut *root)
    .await?;
    for session in sessions {
        // The session may have ended by itself.
        let _ = sqlx::query(&format!("KILL {session}")).execute(&mut *root).await;
    }
    Ok(())
}
