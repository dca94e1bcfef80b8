//! The calls of the old application get the answers of the reference, byte for byte, and never another user's rows.

use super::old_application::{self, ANN, BOB, BOSS, HOST, SECRET};
use crate::world;
use anyhow::{Context, Result, ensure};
use harness::clients::Reply;
use harness::process::{Launch, Process};
use harness::stack::{Stack, StackOptions};
use harness::{ports, python, wait};
use serde_json::json;
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

/// The reading calls with the answers that the reference gave on the rows of [`old_application::fill`].
const GOLDEN: [(&str, &str); 7] = [
    ("/api/legacy/user/0f8fad5bd9cb469fa16570867728950e/orders", include_str!("golden/orders.json")),
    ("/api/legacy/user/legacy-boss/orders", include_str!("golden/no_orders.json")),
    ("/api/legacy/user/0f8fad5bd9cb469fa16570867728950e/study_progress", include_str!("golden/progress.json")),
    ("/api/legacy/coupons/user/0f8fad5bd9cb469fa16570867728950e", include_str!("golden/coupons.json")),
    ("/api/legacy/shifu/s1", include_str!("golden/shifu.json")),
    ("/api/legacy/shifu/s9", include_str!("golden/no_shifu.json")),
    ("/api/legacy/shifu/nothing", include_str!("golden/no_shifu.json")),
];

async fn stack(name: &str) -> Result<Stack> {
    let options = StackOptions::for_test(name)?.with_env("data-plane", "LEGACY_SECRET_KEY", SECRET);
    let stack = Stack::start(options).await?;
    old_application::members(&stack).await?;
    old_application::fill(&stack).await?;
    Ok(stack)
}

#[tokio::test]
async fn old_calls_get_the_answers_of_the_reference() -> Result<()> {
    let stack = stack("legacy-calls").await?;
    let admin = stack.admin();
    let mut redis = old_application::connect(&stack.urls.redis).await?;
    let ann = old_application::log_in(&mut redis, ANN).await?;
    let bob = old_application::log_in(&mut redis, BOB).await?;
    let boss = old_application::log_in(&mut redis, BOSS).await?;
    let stranger = old_application::log_in(&mut redis, "nobody").await?;
    let own = admin.create_token(ANN, None).await?;
    let api = stack.tenant_api(0);
    old_application::known(&api, &ann).await?;
    let get = async |path: &str, token: &str| api.request("GET", path, &[("Token", token)]).await;

    // Every permitted caller gets the same bytes, with an old session or one of ours, on any host.
    for (path, expected) in GOLDEN {
        let mut tokens = vec![&boss];
        if !path.contains(BOSS) {
            tokens.extend([&ann, &own]);
        }
        for token in tokens {
            let reply = get(path, token).await?;
            assert_eq!((reply.status, reply.text.as_str()), (200, expected), "{path}");
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
    }
    let other_host = [("Token", ann.as_str()), ("Host", "unheard.of.example.com"), ("X-Tenant-ID", "nobody")];
    assert_eq!(api.request("GET", GOLDEN[0].0, &other_host).await?.text, GOLDEN[0].1);

    // A refusal is in the envelope.
    let error =
        |reply: &Reply| (reply.status, reply.json["code"].as_i64(), reply.json["message"].as_str().map(str::len));
    for (path, _) in GOLDEN {
        for (token, code) in [("", 1004), ("a.b.c", 1001), ("usr_unknown", 1005), (stranger.as_str(), 1001)] {
            let reply = get(path, token).await?;
            assert!(matches!(error(&reply), (200, Some(got), Some(1..)) if got == code), "{path}: {}", reply.text);
            assert!(reply.json.get("data").is_none());
        }
        if path.contains(ANN) {
            let reply = get(path, &bob).await?;
            assert!(matches!(error(&reply), (200, Some(401), Some(1..))), "{path}: {}", reply.text);
            let other_case = path.replace(ANN, &ANN.to_uppercase());
            let reply = get(&other_case, &boss).await?;
            assert!(reply.json["data"].to_string().contains("[]"), "the path names another user's id: {}", reply.text);
        }
    }
    let chinese = [("Accept-Language", "zh-CN")];
    assert_eq!(api.request("GET", GOLDEN[0].0, &chinese).await?.json["message"], json!("用户未登录"));

    // An old client makes an order.
    let made = |token: &str, body: serde_json::Value| {
        let (api, token) = (&api, token.to_owned());
        async move { api.send("POST", "/api/legacy/orders", body, &[("Token", token.as_str())]).await }
    };
    let body = json!({"shifu_id": "s1", "user_id": ANN, "price": 59.699_999_999_999_996, "channel": "wx"});
    let reply = made(&ann, body.clone()).await?;
    let order_id = reply.json["data"]["order_id"].as_str().context("an id")?.to_owned();
    assert_eq!(
        reply.text,
        format!("{{\"code\":0,\"data\":{{\"order_id\":\"{order_id}\"}},\"message\":\"success\"}}\n")
    );
    let in_body = json!({"shifu_id": "s1", "token": ann});
    let reply = api.send("POST", "/api/legacy/orders", in_body, &[]).await?;
    assert_eq!((reply.status, &reply.json["code"]), (200, &json!(0)), "{}", reply.text);
    let orders = get(GOLDEN[0].0, &ann).await?;
    let prices: HashSet<String> = orders.json["data"]["orders"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|order| order["price"].to_string())
        .collect();
    assert!(orders.text.contains(&order_id) && prices.contains("59.7") && prices.contains("0.0"), "{}", orders.text);
    for (token, body, code) in [
        (&bob, body.clone(), 401),
        (&boss, json!({"shifu_id": "s1", "user_id": "nobody"}), 1001),
        (&ann, json!({"user_id": ANN}), 2001),
        (&ann, json!({"shifu_id": "x".repeat(37)}), 2001),
        (&ann, json!({"shifu_id": "s1", "price": -1}), 2001),
        (&String::new(), body.clone(), 1004),
    ] {
        let reply = made(token, body).await?;
        assert!(matches!(error(&reply), (200, Some(got), Some(1..)) if got == code), "{code}: {}", reply.text);
    }
    // A body that is too large is refused before the call is known.
    let huge = made(&ann, json!({"shifu_id": "s1", "price": "x".repeat(300_000)})).await?;
    assert_eq!((huge.status, huge.error()), (413, "too_large"), "{}", huge.text);
    let reply = api.request("POST", "/api/legacy/orders", &[("Token", ann.as_str())]).await?;
    assert_eq!((reply.status, &reply.json["code"]), (200, &json!(415)), "{}", reply.text);

    // What stops the tenant stops its old calls too, in the envelope.
    let reply = admin.post("/admin/tenants/default/maintenance", json!({"enabled": true})).await?;
    ensure!(reply.status == 200, "{}", reply.text);
    let stopped = wait::until(world::SOON, "the node to know of the maintenance", async || {
        get(GOLDEN[0].0, &ann).await.ok().filter(|reply| reply.json["code"] == json!(-1))
    })
    .await?;
    assert_eq!((stopped.status, stopped.header("retry-after")), (200, Some("30")), "{}", stopped.text);
    assert_eq!(api.get(HOST, &own, "/api/orders").await?.error(), "tenant_maintenance");
    Ok(())
}

#[tokio::test]
#[ignore = "long: makes a Python virtualenv and runs the reference, whose folder LEGACY_REFERENCE names"]
async fn the_reference_gives_the_same_bytes() -> Result<()> {
    let reference = std::env::var("LEGACY_REFERENCE").context(
        "LEGACY_REFERENCE must name the folder of the Flask reference: app.py, requirements.txt, system_schema.sql",
    )?;
    let stack = stack("legacy-reference").await?;
    let mut redis = old_application::connect(&stack.urls.redis).await?;
    let boss = old_application::log_in(&mut redis, BOSS).await?;
    let api = stack.tenant_api(0);
    old_application::known(&api, &boss).await?;

    let requirements = std::fs::read_to_string(Path::new(&reference).join("requirements.txt"))?;
    let programs = python::virtualenv("legacy-reference", &requirements).await?;
    let port = ports::free()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/legacy/reference.py");
    let launch = Launch::new("reference", programs.join("python"), stack.dir())
        .args([script])
        .env("LEGACY_REFERENCE", &reference)
        .env("DATABASE_URL", &stack.urls.root)
        .env("REDIS_URL", &stack.urls.redis)
        .env("PORT", port.to_string());
    let log = launch.log();
    let mut process = Process::start(launch)?;
    let http = harness::http().build()?;
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let begun = wait::until_ok(Duration::from_secs(60), "the reference to answer", async || {
        Ok(http.get(url("/api/legacy/shifu/s1")).send().await?.error_for_status()?)
    });
    begun.await.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;

    let record = std::env::var_os("LEGACY_REFERENCE_RECORD").is_some();
    let mut compared = 0;
    for (path, golden) in GOLDEN {
        let theirs = http.get(url(path)).send().await?.text().await?;
        let ours = api.request("GET", path, &[("Token", boss.as_str())]).await?.text;
        assert_eq!(ours, theirs, "{path}");
        if record {
            print!("{path}\n{theirs}");
        } else {
            assert_eq!(golden, theirs, "{path}: the stored answer is not the reference's");
        }
        compared += 1;
    }
    // Neither side has these. The bytes are the same, whether an empty list or an error of the envelope.
    for path in [
        "/api/legacy/user/nobody/orders",
        "/api/legacy/user/nobody/study_progress",
        "/api/legacy/coupons/user/nobody",
        "/api/legacy/shifu/S9",
        "/api/legacy/shifu/%E8%AF%BE",
        "/api/legacy/shifu/a%22b%5C",
    ] {
        let theirs = http.get(url(path)).send().await?;
        let ours = api.request("GET", path, &[("Token", boss.as_str())]).await?;
        assert_eq!((ours.status, ours.text), (theirs.status().as_u16(), theirs.text().await?), "{path}");
    }
    // The reference fails with a page of HTML. Here the answer is an error in the envelope, and no order is made.
    let before = http.get(url(GOLDEN[0].0)).send().await?.text().await?;
    for body in [
        json!({"user_id": ANN, "price": 1}),
        json!({"shifu_id": "x".repeat(40), "user_id": ANN, "price": 1}),
        json!({"shifu_id": "s1", "user_id": ANN, "price": "much"}),
        json!({"shifu_id": "s1", "user_id": ANN, "price": 1e9}),
        json!({"shifu_id": {"a": 1}, "user_id": ANN}),
        json!(["s1"]),
        json!(7),
    ] {
        let theirs = http.post(url("/api/legacy/orders")).json(&body).send().await?.status();
        assert!(theirs.is_client_error() || theirs.is_server_error(), "the reference takes {body}");
        let ours = api.send("POST", "/api/legacy/orders", body.clone(), &[("Token", boss.as_str())]).await?;
        assert_eq!((ours.status, &ours.json["code"]), (200, &json!(2001)), "{body}: {}", ours.text);
    }
    for (content_type, body, code) in [("application/json", "{", 2001), ("text/plain", "{}", 415)] {
        let theirs =
            http.post(url("/api/legacy/orders")).header("content-type", content_type).body(body).send().await?;
        assert!(theirs.status().is_client_error(), "{}", theirs.status());
        let ours = http.post(format!("{}/api/legacy/orders", stack.data_planes[0].url())).header("Token", &boss);
        let ours = ours.header("content-type", content_type).body(body).send().await?;
        let (status, answer) = (ours.status().as_u16(), ours.json::<serde_json::Value>().await?);
        assert_eq!((status, &answer["code"]), (200, &json!(code)), "{answer}");
    }
    assert_eq!(http.get(url(GOLDEN[0].0)).send().await?.text().await?, before);
    // Each side reads the orders that the other one makes.
    let body = json!({"shifu_id": "s1", "user_id": ANN, "price": 19.9});
    let theirs: serde_json::Value = http.post(url("/api/legacy/orders")).json(&body).send().await?.json().await?;
    let ours = api.send("POST", "/api/legacy/orders", body, &[("Token", boss.as_str())]).await?.json;
    let shape = |answer: &serde_json::Value| {
        let id = answer["data"]["order_id"].as_str().map(str::len);
        (answer["code"].clone(), answer["message"].clone(), answer["data"].as_object().map(|data| data.len()), id)
    };
    assert_eq!(shape(&ours), shape(&theirs));
    let all = http.get(url(GOLDEN[0].0)).send().await?.text().await?;
    // Both orders are of the same second, so either may come first.
    let sorted = |answer: &str| -> Result<Vec<String>> {
        let answer: serde_json::Value = serde_json::from_str(answer)?;
        let mut orders: Vec<String> =
            answer["data"]["orders"].as_array().into_iter().flatten().map(serde_json::Value::to_string).collect();
        orders.sort();
        Ok(orders)
    };
    let ours_of_all = api.request("GET", GOLDEN[0].0, &[("Token", boss.as_str())]).await?.text;
    assert_eq!(sorted(&ours_of_all)?, sorted(&all)?);
    for answer in [&ours, &theirs] {
        assert!(all.contains(answer["data"]["order_id"].as_str().context("an id")?));
    }
    assert_eq!(compared, GOLDEN.len());
    process.stop(Duration::from_secs(5)).await.map(drop)
}
