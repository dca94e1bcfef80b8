//! Tokens of the admin API: the command line creates and revokes them, and they obey their scopes.

use crate::world;
use anyhow::{Context, Result};
use harness::stack::Role;
use harness::stack::Stack;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn admin_tokens_obey_their_scope_and_revocation() -> Result<()> {
    let stack = Stack::start(world::without_nodes("tokens")?).await?;
    let none = Vec::new();
    let read =
        stack.run(Role::ControlPlane, &["token", "create", "--name", "reader", "--scopes", "read"], &none).await?;
    let reader = stack.admin().with_token(read.trim());
    assert_eq!(reader.request("GET", "/admin/tenants", None, &[]).await?.status, 200);
    let refused = reader.post("/admin/tenants", json!({"tenant_id": "acme", "tenant_name": "Acme"})).await?;
    assert_eq!((refused.status, refused.error()), (403, "admin_required"));

    assert_eq!(reader.request("HEAD", "/admin/tenants", None, &[]).await?.status, 200, "HEAD is GET without a body");
    let mut live = reader.live(0).await?;
    live.next().await?;

    let list = stack.run(Role::ControlPlane, &["token", "list", "--json"], &none).await?;
    assert!(!list.contains(read.trim()) && !list.contains("hash"), "the list has no secret");
    let tokens: Vec<Value> = serde_json::from_str(&list)?;
    let id = tokens.iter().find(|token| token["name"] == "reader").and_then(|token| token["token_id"].as_str());
    stack.run(Role::ControlPlane, &["token", "revoke", id.context("the token is listed")?], &none).await?;
    let refused = reader.request("GET", "/admin/tenants", None, &[]).await?;
    assert_eq!((refused.status, refused.error()), (401, "unauthenticated"));
    let ended = async { while live.next().await.is_ok() {} };
    // The time limit of the client would end the stream later than this.
    tokio::time::timeout(Duration::from_secs(15), ended).await.context("the live stream of a revoked token ends")?;
    assert!(stack.run(Role::ControlPlane, &["token", "revoke", "nobody"], &none).await.is_err());

    let (id, secret) = read.trim().trim_start_matches("adm_").split_once('_').context("the token's form")?;
    for wrong in [
        "",
        "x",
        "adm_",
        &format!("adm_{id}_"),
        &format!("adm_{id}_{}", secret.to_lowercase()),
        &format!("adm_000000000000_{secret}"),
    ] {
        let refused = stack.admin().with_token(wrong).request("GET", "/admin/tenants", None, &[]).await?;
        assert_eq!((refused.status, refused.error()), (401, "unauthenticated"), "{wrong:?}");
        assert!(refused.header("www-authenticate").is_some());
    }
    let document: Value = serde_json::from_str(include_str!("../../../deploy/openapi/control-plane.json"))?;
    let mut refused = 0;
    for (path, methods) in document["paths"].as_object().context("the document has paths")? {
        for (method, route) in methods.as_object().context("a path has methods")? {
            // A route that needs no token says so by an empty requirement of its own.
            if route["security"] == json!([{}]) {
                continue;
            }
            let path = path.replace(['{', '}'], "");
            let answer = stack.admin().with_token("").request(&method.to_uppercase(), &path, None, &[]).await?;
            assert_eq!((answer.status, answer.error()), (401, "unauthenticated"), "{method} {path}");
            refused += 1;
        }
    }
    assert!(refused > 50, "only {refused} routes were called");

    // The letters of an id are typed in either case, and one token is one actor.
    let (id, secret) = stack.admin_token.trim_start_matches("adm_").split_once('_').context("the token's form")?;
    let typed = stack.admin().with_token(&format!("adm_{}_{secret}", id.to_uppercase()));
    for (admin, name) in [(stack.admin(), "One"), (typed, "Two")] {
        let named = admin.request("PATCH", "/admin/tenants/default", Some(json!({"tenant_name": name})), &[]).await?;
        assert_eq!(named.status, 200, "{}", named.text);
    }
    let events = stack.admin().events("default").await?;
    let actors: Vec<&str> = events.iter().rev().take(2).map(|event| event.actor.as_str()).collect();
    assert_eq!(actors, [format!("token:{id}"), format!("token:{id}")]);

    let bearer = format!("Bearer {}", stack.admin_token);
    let with_a_header = stack.admin().with_token("");
    assert_eq!(with_a_header.request("GET", "/admin/tenants", None, &[("Authorization", &bearer)]).await?.status, 200);
    Ok(())
}
