//! Ids are compared to the byte, names can be seen and read, and values come back as they were sent.

use super::writers::make_users;
use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::Admin;
use harness::clients::wire::Wire;
use harness::stack::{Role, Stack};
use harness::wait;
use serde_json::{Value, json};

#[tokio::test]
async fn different_names_differ_and_hidden_ones_are_refused() -> Result<()> {
    let stack = Stack::start(world::without_nodes("names")?).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", None, SOON).await?;
    ids_that_differ_in_case(&stack, &admin).await?;
    values_of_users(&stack, &admin).await?;
    ids_of_tenants(&admin).await?;
    numbers_and_long_secrets(&stack, &admin).await?;
    a_new_name(&stack, &admin).await?;
    invariants::check(&stack).await
}

/// Users whose ids differ in case have memberships of their own.
async fn ids_that_differ_in_case(stack: &Stack, admin: &Admin) -> Result<()> {
    let ids = ["Case-A", "case-a", "CASE-A"];
    make_users(stack, &ids.map(str::to_owned)).await?;
    for (id, role) in [(ids[0], "admin"), (ids[1], "viewer"), (ids[2], "user"), (ids[1], "user")] {
        admin.put_member("acme", id, role).await?;
    }
    let roles = async || -> Result<Vec<String>> {
        let list: Value = admin.get("/admin/tenants/acme/users").await?;
        let users = list["users"].as_array().cloned().unwrap_or_default();
        let mut roles: Vec<_> = users.iter().map(|user| format!("{} {}", user["user_id"], user["role"])).collect();
        roles.sort();
        Ok(roles)
    };
    let expected = [r#""CASE-A" "user""#, r#""Case-A" "admin""#, r#""case-a" "user""#];
    assert_eq!(roles().await?, expected);
    let removed = admin.request("DELETE", "/admin/tenants/acme/users/case-a", None, &[]).await?;
    assert_eq!(removed.status, 204);
    assert_eq!(roles().await?, expected[..2]);
    let tenants: Value = admin.get("/admin/users/case-a/tenants").await?;
    assert_eq!(tenants["tenants"], json!([]));
    let migrator = vec![("SYSTEM_DB_URL".to_owned(), stack.urls.system.migrator.clone())];
    stack.run(Role::ControlPlane, &["rebuild", "--check"], &migrator).await.map(drop)
}

/// A value is taken only by the same value, in any case. An email has a name and a host.
async fn values_of_users(stack: &Stack, admin: &Admin) -> Result<()> {
    // A row from before names were trimmed.
    let mut system = world::system(stack).await?;
    sqlx::query("INSERT INTO user_info (user_id, username) VALUES ('bea', 'bea ')").execute(&mut system).await?;
    let found: Value = admin.get("/admin/users?username=BEA").await?;
    assert_eq!(found["users"][0]["username"], json!("bea "), "{found}");
    for body in [
        json!({"username": "😀", "email": "jose@example.com", "mobile": " "}),
        json!({"username": "🎉", "email": "josé@example.com", "mobile": ""}),
        json!({"username": "Zoe", "mobile": "\u{3000}"}),
        json!({"username": "Zoé", "email": " zoe@学校.example "}),
    ] {
        let reply = admin.post("/admin/users", body.clone()).await?;
        assert_eq!(reply.status, 201, "{body}: {}", reply.text);
    }
    for (body, field) in [
        (json!({"username": "😀"}), "username"),
        (json!({"username": "ZOÉ"}), "username"),
        (json!({"username": "Zoe\u{301}"}), "username"),
        (json!({"username": "Bea"}), "username"),
        (json!({"username": "other", "email": "JOSÉ@example.com"}), "email"),
        (json!({"username": "other", "email": "zoe@学校.example"}), "email"),
    ] {
        let reply = admin.post("/admin/users", body.clone()).await?;
        assert_eq!((reply.status, &reply.json["field"]), (409, &json!(field)), "{body}: {}", reply.text);
    }
    let found: Value = admin.get("/admin/users?username=%F0%9F%8E%89").await?;
    assert_eq!(found["users"].as_array().map(Vec::len), Some(1), "{found}");
    let (hidden, turned) = ("a\u{200B}nn", "\u{202E}nna");
    for (body, code) in [
        (json!({"username": "other", "email": " @ "}), "invalid_email"),
        (json!({"username": "other", "email": "a b@example.com"}), "invalid_email"),
        (json!({"username": "other", "email": "ann@-x.com"}), "invalid_email"),
        (json!({"username": hidden}), "invalid_username"),
        (json!({"username": "other", "name": turned}), "invalid_name"),
        (json!({"username": "\u{3164}"}), "invalid_username"),
        (json!({"username": "a\u{200D}nn"}), "invalid_username"),
    ] {
        let reply = admin.post("/admin/users", body.clone()).await?;
        assert_eq!((reply.status, reply.error()), (422, code), "{body}: {}", reply.text);
    }
    Ok(())
}

/// A tenant can be reached at its id, and its name can be seen.
async fn ids_of_tenants(admin: &Admin) -> Result<()> {
    for (id, name, code) in [
        ("xn--abc", "Acme", "invalid_tenant_id"),
        ("v3--shop", "\u{202E}emcA", "invalid_tenant_name"),
        ("v3--shop", "\u{200B}", "invalid_tenant_name"),
    ] {
        let reply = admin.post("/admin/tenants", json!({"tenant_id": id, "tenant_name": name})).await?;
        assert_eq!((reply.status, reply.error()), (422, code), "{id}: {}", reply.text);
    }
    admin.create_active_tenant("v2--shop", Some("v2--shop.example.com"), SOON).await.map(drop)
}

/// A number that would become another one is refused. The longest secret value has room in its column.
async fn numbers_and_long_secrets(stack: &Stack, admin: &Admin) -> Result<()> {
    let mut wire = Wire::new(stack.control_plane_url());
    for (number, status) in [("12345678901234567890123", 422), ("0.30000000000000000001", 422), ("12.50", 200)] {
        let body = format!(r#"{{"value": {number}, "create": true}}"#);
        let request = format!(
            "PUT /admin/config/app.limit HTTP/1.1\r\nHost: x\r\nX-Admin-Token: {}\r\nContent-Length: {}\r\n\r\n{body}",
            stack.admin_token,
            body.len()
        );
        let answer = wire.send(request.as_bytes()).await?;
        assert_eq!(answer.status, status, "{number}: {}", answer.body);
    }
    let stored: Value = admin.get("/admin/config/app.limit").await?;
    assert_eq!(stored["value"], json!(12.5));
    let secret = "密".repeat(20_000);
    let path = "/admin/tenants/acme/config/payment.secret";
    let reply = admin.request("PUT", path, Some(json!({"value": secret, "secret": true})), &[]).await?;
    ensure!(reply.status == 202, "{}: {}", reply.status, reply.text);
    admin.wait_for_operation(reply.operation_id()?, SOON).await.map(drop)
}

/// The public configuration of a renamed tenant has the new name, unless an operator has set the entry.
async fn a_new_name(stack: &Stack, admin: &Admin) -> Result<()> {
    let mut root = world::root(stack).await?;
    let rename =
        async |name: &str| admin.request("PATCH", "/admin/tenants/acme", Some(json!({"tenant_name": name})), &[]).await;
    let query = "SELECT config_value FROM `ai_shifu_tenant_acme`.tenant_config WHERE config_key = 'tenant.name'";
    assert_eq!(rename(" Acme 学校 ").await?.status, 200);
    wait::until(SOON, "the new name in the tenant's database", async || {
        let name: Option<String> = sqlx::query_scalar(query).fetch_one(&mut root).await.ok()?;
        name.filter(|name| name == "Acme 学校")
    })
    .await?;
    let path = "/admin/tenants/acme/config/tenant.name";
    let reply = admin.request("PUT", path, Some(json!({"value": "On the pages"})), &[]).await?;
    admin.wait_for_operation(reply.operation_id()?, SOON).await?;
    assert_eq!(rename("Acme").await?.status, 200);
    world::idle(stack).await?;
    let name: Option<String> = sqlx::query_scalar(query).fetch_one(&mut root).await?;
    assert_eq!(name.context("an entry")?, "On the pages");
    Ok(())
}
