//! Administrators find, list and change users and memberships, and nodes learn of changes.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::wait;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test]
async fn nodes_learn_at_once_of_a_changed_user() -> Result<()> {
    let stack = world::start("users").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    let (ann, token) = world::user(&admin, "ann", &[("acme", "admin")]).await?;
    let (bob, _) = world::user(&admin, "bob", &[("acme", "user")]).await?;
    let (cy, _) = world::user(&admin, "cy", &[]).await?;

    // Users are found by each of three fields, in pages, and by id.
    for (query, expected) in
        [("username=ann", vec![&ann]), ("email=BOB%40example.com", vec![&bob]), ("username=nobody", vec![])]
    {
        assert_eq!(ids(&admin.get(&format!("/admin/users?{query}")).await?), expected, "{query}");
    }
    let first: Value = admin.get("/admin/users?limit=2").await?;
    let next = first["next_cursor"].as_str().context("a second page")?;
    let second: Value = admin.get(&format!("/admin/users?limit=2&cursor={next}")).await?;
    assert_eq!([ids(&first), ids(&second)].concat(), [&ann, &bob, &cy]);
    assert_eq!(second["next_cursor"], Value::Null);
    let one: Value = admin.get(&format!("/admin/users/{ann}")).await?;
    assert_eq!((&one["username"], &one["email"]), (&json!("ann"), &json!("ann@example.com")));

    // The members of a tenant, and the tenants of a user.
    let members: Value = admin.get("/admin/tenants/acme/users").await?;
    assert_eq!(ids(&members), [&ann, &bob]);
    assert_eq!(ids(&admin.get("/admin/tenants/acme/users?role=user").await?), [&bob]);
    let tenants: Value = admin.get(&format!("/admin/users/{ann}/tenants")).await?;
    assert_eq!(
        (&tenants["tenants"][0]["tenant_id"], &tenants["tenants"][0]["role"]),
        (&json!("acme"), &json!("admin"))
    );
    let none: Value = admin.get(&format!("/admin/users/{cy}/tenants")).await?;
    assert_eq!(none["tenants"], json!([]));

    // Invalid values and values of other users are refused and change nothing.
    for (user, body, status, code) in [
        (&ann, json!({"email": "nobody"}), 422, "invalid_email"),
        (&ann, json!({"username": ""}), 422, "invalid_username"),
        (&ann, json!({"password": "x"}), 422, "invalid_body"),
        (&ann, json!({"email": "Bob@example.com"}), 409, "user_exists"),
        (&ann, json!({"username": "bob"}), 409, "user_exists"),
        (&"nobody".to_owned(), json!({"name": "x"}), 404, "user_not_found"),
    ] {
        let reply = admin.request("PATCH", &format!("/admin/users/{user}"), Some(body.clone()), &[]).await?;
        assert_eq!((reply.status, reply.error()), (status, code), "{body}: {}", reply.text);
    }
    assert_eq!(admin.get::<Value>(&format!("/admin/users/{ann}")).await?["email"], "ann@example.com");

    for (body, field) in
        [(json!({"username": "ANN"}), "username"), (json!({"username": "new", "email": "bob@example.com"}), "email")]
    {
        let reply = admin.post("/admin/users", body).await?;
        assert_eq!((reply.status, reply.error(), &reply.json["field"]), (409, "user_exists", &json!(field)));
    }
    // Of many concurrent requests for a value, one succeeds. A request without the value blocks no other.
    let many =
        (0..8).map(|n| admin.post("/admin/users", json!({"username": format!("n{n}"), "mobile": "13800000001"})));
    let mut answers: Vec<_> = futures::future::try_join_all(many).await?.iter().map(|reply| reply.status).collect();
    answers.sort_unstable();
    assert_eq!(answers, [vec![201], vec![409; 7]].concat());
    assert_eq!(admin.get::<Value>("/admin/users?mobile=13800000001").await?["users"].as_array().map(Vec::len), Some(1));

    // Permissions have the documented form, or are refused by name.
    let path = format!("/admin/tenants/acme/users/{bob}");
    for bad in [json!(["read"]), json!("all"), json!({"a": "x".repeat(9000)})] {
        let body = json!({"role": "user", "permissions": bad});
        let reply = admin.request("PUT", &path, Some(body), &[]).await?;
        assert_eq!(
            (reply.status, reply.error(), &reply.json["field"]),
            (422, "invalid_permissions", &json!("permissions"))
        );
    }
    let body = json!({"role": "user", "permissions": {"courses": ["a"]}});
    assert_eq!(admin.request("PUT", &path, Some(body), &[]).await?.status, 200);

    // A node with a cached profile learns of the change long before the cache expires.
    let api = stack.tenant_api(0);
    let name = async || {
        let reply = api.get("acme.example.com", &token, "/api/me").await.ok()?;
        Some(reply.json["user"]["name"].as_str()?.to_owned())
    };
    wait::until(SOON, "the node to serve", async || name().await.filter(|name| name == "ann")).await?;
    let body = json!({"name": "Ann Anders", "username": "ann"});
    let reply = admin.request("PATCH", &format!("/admin/users/{ann}"), Some(body), &[]).await?;
    assert_eq!((reply.status, &reply.json["name"]), (200, &json!("Ann Anders")), "{}", reply.text);
    let changed = Instant::now();
    wait::until(SOON, "the node to know", async || name().await.filter(|name| name == "Ann Anders")).await?;
    ensure!(
        changed.elapsed() < Duration::from_secs(8),
        "the node read the change by itself and received no event of it"
    );
    Ok(())
}

fn ids(list: &Value) -> Vec<&str> {
    list["users"].as_array().into_iter().flatten().filter_map(|user| user["user_id"].as_str()).collect()
}
