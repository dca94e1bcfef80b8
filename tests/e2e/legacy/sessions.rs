//! Sessions of the legacy installation continue, on its calls and on those of the default tenant. The signature of the
//! token shows who the user is, and Redis shows whether the session lives. A Redis that is wrong, slow or lost opens
//! nothing.

use super::old_application::{self, ANN, BOB, BOSS, HOST, SECRET, key};
use crate::world;
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::clients::{Reply, TenantApi};
use harness::load;
use harness::servers::Server;
use harness::servers::proxy::Proxy;
use harness::servers::redis::Redis;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The promise is one second. The rest is for a busy test machine.
const BOUND: Duration = Duration::from_millis(1500);

const CALL: &str = "/api/legacy/coupons/user/";

struct Old {
    stack: Stack,
    proxy: Proxy,
    server: Redis,
    redis: MultiplexedConnection,
}

/// Two nodes that reach Redis through a proxy.
async fn old(name: &str) -> Result<Old> {
    let mut options = StackOptions::for_test(name)?.with_env("data-plane", "LEGACY_SECRET_KEY", SECRET);
    let server = Redis::start(&options.dir.join("redis"), &None).await?;
    let proxy = Proxy::start(server.port()).await?;
    options.existing.redis =
        Some(server.url().replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port())));
    options.data_planes = 2;
    let stack = Stack::start(options).await?;
    old_application::members(&stack).await?;
    let mut redis = old_application::connect(&server.url()).await?;
    let boss = old_application::log_in(&mut redis, BOSS).await?;
    for node in 0..2 {
        old_application::known(&stack.tenant_api(node), &boss).await?;
    }
    Ok(Old { stack, proxy, server, redis })
}

/// The code in the envelope of a user's own call.
async fn code(api: &TenantApi, user: &str, token: &str) -> Result<Value> {
    let reply = api.request("GET", &format!("{CALL}{user}"), &[("Token", token)]).await?;
    ensure!(reply.status == 200, "{}", reply.text);
    Ok(reply.json["code"].clone())
}

#[tokio::test]
async fn old_sessions_live_until_their_key_is_gone() -> Result<()> {
    let Old { stack, mut redis, proxy: _proxy, server: _server } = old("legacy-sessions").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), world::SOON).await?;
    admin.put_member("acme", ANN, "admin").await?;
    let (outsider, _) = world::user(&admin, "out", &[("acme", "user")]).await?;
    let (one, two) = (stack.tenant_api(0), stack.tenant_api(1));
    let ann = old_application::log_in(&mut redis, ANN).await?;

    // The token may stand wherever the legacy system reads it, on its calls and on ours. Ours read no address.
    let orders = format!("/api/legacy/user/{ANN}/orders");
    let cookie = format!("a=b; token={ann}");
    let bearer = format!("Bearer {ann}");
    for (query, header) in [
        (String::new(), ("Cookie", cookie.as_str())),
        (format!("?token={ann}"), ("X-Nothing", "")),
        (String::new(), ("Token", ann.as_str())),
        (String::new(), ("Authorization", bearer.as_str())),
    ] {
        let reply = one.request("GET", &format!("{orders}{query}"), &[header]).await?;
        assert_eq!(reply.json["code"], json!(0), "{header:?}: {}", reply.text);
        let reply = one.request("GET", &format!("/api/orders{query}"), &[header, ("Host", HOST)]).await?;
        if query.is_empty() {
            assert_eq!(
                (reply.status, &reply.json["tenant_id"]),
                (200, &json!("default")),
                "{header:?}: {}",
                reply.text
            );
        } else {
            assert_eq!((reply.status, reply.error()), (401, "unauthenticated"), "{}", reply.text);
        }
    }
    let me = one.get(HOST, &ann, "/api/me").await?;
    assert_eq!((&me.json["user"]["user_id"], &me.json["role"]), (&json!(ANN), &json!("user")), "{}", me.text);

    // Other tenants do not accept the session, although its user is an admin there. The refusal does not show who
    // exists.
    for host in ["acme.example.com", "acme.ai-shifu.com"] {
        let reply = one.get(host, &ann, "/api/orders").await?;
        assert_eq!((reply.status, reply.error()), (401, "unauthenticated"), "{host}: {}", reply.text);
    }
    for tenant in ["acme", "nobody"] {
        let headers = [("X-Tenant-ID", tenant), ("Token", ann.as_str())];
        let reply = one.request("GET", "/api/orders", &headers).await?;
        assert_eq!((reply.status, reply.error()), (401, "unauthenticated"), "{tenant}: {}", reply.text);
    }
    let out = old_application::log_in(&mut redis, &outsider).await?;
    assert_eq!(one.get(HOST, &out, "/api/orders").await?.error(), "user_not_in_tenant");
    assert_eq!(code(&one, &outsider, &out).await?, json!(1001));

    // Each use extends the session to 7 days again.
    let () = redis.expire(key(&ann), 100).await?;
    wait::until(BOUND, "the session to be made to last", async || {
        code(&one, ANN, &ann).await.ok()?;
        redis.ttl(key(&ann)).await.ok().filter(|seconds: &i64| (604_790..=604_800).contains(seconds))
    })
    .await?;

    // The node answers from memory. It asks Redis about once per session and 0.6 s, whatever the traffic.
    let asked = |redis: &mut MultiplexedConnection| {
        let mut redis = redis.clone();
        async move {
            let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut redis).await?;
            let calls = stats
                .lines()
                .find_map(|line| line.strip_prefix("cmdstat_eval:calls=")?.split(',').next()?.parse().ok());
            calls.context("Redis counts its commands")
        }
    };
    let (before, begun): (u64, _) = (asked(&mut redis).await?, Instant::now());
    for _ in 0..300 {
        ensure!(code(&one, ANN, &ann).await? == json!(0), "a session that lives");
    }
    let (questions, most) = (asked(&mut redis).await? - before, begun.elapsed().as_millis() / 600 + 1);
    ensure!(u128::from(questions) <= most, "{questions} questions where {most} are enough");

    // A forged token, or the value of another session, opens nothing.
    let claims = json!({"user_id": ANN, "time_stamp": 1}).to_string();
    let by_hand = |header: &str| {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(header), encode(&claims), encode("signature"))
    };
    let forged = [
        old_application::token(ANN, "another secret"),
        format!("{}.", by_hand(r#"{"alg":"none"}"#).rsplit_once('.').context("three parts")?.0),
        by_hand(r#"{"alg":"RS256","typ":"JWT"}"#),
    ];
    for token in &forged {
        // This holds even with a key in Redis.
        let () = redis.set(key(token), ANN).await?;
        assert_eq!(code(&one, ANN, token).await?, json!(1001), "{token}");
        assert_eq!(one.get(HOST, token, "/api/orders").await?.status, 401);
    }
    let bob = old_application::token(BOB, SECRET);
    assert_eq!(code(&one, BOB, &bob).await?, json!(1005), "no key in Redis");
    for value in [ANN, BOSS, "", " 7c9e6679-7425-40de-944b-e07fc1f90ae7"] {
        let () = redis.set(key(&bob), value).await?;
        for user in [BOB, ANN] {
            assert_eq!(code(&one, user, &bob).await?, json!(1005), "the key holds {value:?}");
        }
        assert_eq!(one.get(HOST, &bob, "/api/me").await?.status, 401);
    }
    let () = redis.del(key(&bob)).await?;
    let () = redis.rpush(key(&bob), BOB).await?;
    assert_eq!(code(&one, BOB, &bob).await?, json!(1005), "a key of another type");
    let () = redis.del(key(&bob)).await?;
    let () = redis.set_ex(key(&bob), BOB, 60).await?;
    assert_eq!(code(&one, BOB, &bob).await?, json!(0), "the key is right again");

    // A deleted or overwritten key ends the session on every node.
    for change in ["deleted", "overwritten"] {
        for api in [&one, &two] {
            assert_eq!(code(api, ANN, &ann).await?, json!(0));
        }
        match change {
            "deleted" => redis.del(key(&ann)).await?,
            _ => redis.set(key(&ann), BOB).await?,
        }
        let since = Instant::now();
        for (node, api) in [&one, &two].into_iter().enumerate() {
            let codes = (json!(0), json!(1005));
            let seen = load::changes(codes, since, BOUND, async || code(api, ANN, &ann).await);
            seen.await.with_context(|| format!("node {node}, after the key was {change}"))?;
            assert_eq!(api.get(HOST, &ann, "/api/me").await?.status, 401);
        }
        let () = redis.set_ex(key(&ann), ANN, 604_800).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_slow_or_lost_redis_changes_no_identity() -> Result<()> {
    let Old { stack, proxy, mut server, mut redis } = old("legacy-redis").await?;
    let (one, two) = (stack.tenant_api(0), stack.tenant_api(1));
    let ann = old_application::log_in(&mut redis, ANN).await?;
    let bob = old_application::log_in(&mut redis, BOB).await?;
    let own = stack.admin().create_token(ANN, None).await?;
    let unavailable =
        |reply: &Reply| reply.status == 503 && reply.error() == "unavailable" && reply.header("retry-after").is_some();
    let is_ann = async |api: &TenantApi| -> Result<()> {
        let me = api.get(HOST, &ann, "/api/me").await?;
        ensure!(me.status == 200 && me.json["user"]["user_id"] == json!(ANN), "{}", me.text);
        ensure!(code(api, ANN, &ann).await? == json!(0), "ann's own call");
        ensure!(code(api, BOB, &ann).await? == json!(401), "ann is not bob");
        Ok(())
    };
    is_ann(&one).await?;

    // Redis is slow, but in time.
    proxy.delay(Duration::from_millis(100));
    is_ann(&one).await?;
    is_ann(&two).await?;
    // Redis is too slow. Users whom the node has seen lately continue. It asks the others to try again, and does not
    // tell them that they are logged out.
    proxy.delay(Duration::from_secs(5));
    wait::holds_for(Duration::from_secs(2), "ann's session", async || is_ann(&one).await.is_ok()).await?;
    let unseen = one.get(HOST, &bob, "/api/me").await?;
    ensure!(unavailable(&unseen), "{}", unseen.text);
    assert_eq!(code(&one, BOB, &bob).await?, json!(-1));
    assert_eq!(one.get(HOST, &own, "/api/me").await?.status, 200, "our own sessions need no Redis");
    assert_eq!(code(&one, ANN, &own).await?, json!(0));
    proxy.delay(Duration::ZERO);
    wait::until(world::SOON, "the node to accept bob's session", async || {
        let me = one.get(HOST, &bob, "/api/me").await.ok()?;
        (me.json["user"]["user_id"] == json!(BOB)).then_some(())
    })
    .await?;

    // Redis is away, with the same effect. When it comes back empty, the sessions have ended, as they have for the
    // legacy system; new ones work.
    is_ann(&one).await?;
    server.kill9()?;
    wait::holds_for(Duration::from_secs(2), "ann's session", async || is_ann(&one).await.is_ok()).await?;
    let carol = old_application::token("carol", SECRET);
    ensure!(unavailable(&one.get(HOST, &carol, "/api/me").await?), "carol was never seen");
    server.restart().await?;
    wait::until(world::SOON, "the lost sessions to be refused", async || {
        (code(&one, ANN, &ann).await.ok()? == json!(1005)).then_some(())
    })
    .await?;
    let mut redis = old_application::connect(&server.url()).await?;
    let again = old_application::log_in(&mut redis, ANN).await?;
    assert_eq!(again, ann);
    wait::until(world::SOON, "the new session", async || (code(&one, ANN, &ann).await.ok()? == json!(0)).then_some(()))
        .await?;

    // Redis contains notices of another tenant. Each tenant is served its own rows whatever the notices contain.
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), world::SOON).await?;
    admin.create_active_tenant("evil", Some("evil.example.com"), world::SOON).await?;
    let (user, token) = world::user(&admin, "zoe", &[("acme", "user"), ("evil", "user")]).await?;
    world::plant_order(&stack, "acme", &user, "of-acme").await?;
    world::plant_order(&stack, "evil", &user, "of-evil").await?;
    for api in [&one, &two] {
        for (tenant, host) in [("acme", "acme.example.com"), ("evil", "evil.example.com")] {
            let notice = format!("tenant_db_info:{tenant}");
            // The request is repeated, because a late event may remove what an earlier request has written.
            wait::until_ok(world::SOON, "the node to serve, with a notice", async || {
                let reply = api.get(host, &token, "/api/orders").await?;
                ensure!(reply.status == 200, "{}", reply.text);
                ensure!(redis.exists::<_, bool>(&notice).await?, "there is no notice");
                Ok(())
            })
            .await?;
        }
    }
    let of_evil: String = redis.get("tenant_db_info:evil").await?;
    for round in 0..20 {
        let value = if round % 2 == 0 { of_evil.as_str() } else { "{\"db_name\": 7" };
        let () = redis.set("tenant_db_info:acme", value).await?;
        for api in [&one, &two] {
            for (host, order) in [("acme.example.com", "of-acme"), ("evil.example.com", "of-evil")] {
                let reply = api.get(host, &token, "/api/orders").await?;
                assert_eq!(world::order_bids(&reply), [order], "{host}: {}", reply.text);
            }
        }
    }

    // The event alone removes the notice of a changed tenant, and also a text that is no notice.
    for (tenant, there) in [("evil", of_evil.as_str()), ("acme", "{\"db_name\": 7")] {
        let notice = format!("tenant_db_info:{tenant}");
        ensure!(redis.get::<_, String>(&notice).await? == there, "{tenant}");
        let renamed = json!({"tenant_name": "Renamed"});
        let reply = admin.request("PATCH", &format!("/admin/tenants/{tenant}"), Some(renamed), &[]).await?;
        ensure!(reply.status == 200, "{}", reply.text);
        wait::until(world::SOON, "the notice to be taken down", async || {
            redis.exists(&notice).await.ok().filter(|there: &bool| !there).map(drop)
        })
        .await?;
    }
    Ok(())
}
