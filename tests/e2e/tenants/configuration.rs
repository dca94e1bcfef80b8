//! The configuration of the system and of tenants: types, secrets, and when nodes act on a change.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::Admin;
use harness::wait;
use serde_json::{Value, json};

const HOST: &str = "acme.example.com";
const SECRET: &str = "sk-live-hunter2-0123456789";

#[tokio::test]
async fn tenant_configuration_reaches_its_database_and_users() -> Result<()> {
    let mut stack = world::start("tenant-config").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("acme", "admin")]).await?;

    for (key, body, code) in [
        ("tenant.theme_color", json!({"value": 3, "config_type": "string"}), "invalid_value"),
        ("features.beta", json!({"value": "yes", "config_type": "boolean"}), "invalid_value"),
        ("tenant.key", json!({"value": "x", "secret": true}), "invalid_secret"),
        ("Tenant", json!({"value": "x"}), "invalid_config_key"),
    ] {
        let reply = put(&admin, key, body.clone()).await?;
        assert_eq!((reply.status, reply.error()), (422, code), "{key} {body}");
    }
    let missing = admin.request("GET", "/admin/tenants/acme/config/tenant.nothing", None, &[]).await?;
    assert_eq!((missing.status, missing.error()), (404, "config_not_found"));

    // Without a worker, a change is stored and not applied. The next job then applies all changes.
    stack.provisioners[0].kill9()?;
    let asked = [
        ("tenant.theme_color", json!({"value": "#ff0000"})),
        ("features.beta", json!({"value": true})),
        ("tenant.limits", json!({"value": {"rows": [1, 2.5]}, "description": "for the pages"})),
        ("payment.secret", json!({"value": SECRET, "secret": true})),
    ];
    let mut operations = Vec::new();
    for (key, body) in asked {
        let reply = put(&admin, key, body).await?;
        ensure!(reply.status == 202, "{key}: {}", reply.text);
        operations.push(reply.operation_id()?.to_owned());
    }
    let reply = admin.request("DELETE", "/admin/tenants/acme/config/tenant.logo_url", None, &[]).await?;
    ensure!(reply.status == 202, "{}", reply.text);
    operations.push(reply.operation_id()?.to_owned());
    let waiting: Value = admin.get("/admin/tenants/acme/config/features.beta").await?;
    assert_eq!((&waiting["value"], &waiting["applied"]), (&json!(true), &json!(false)));
    stack.provisioners[0].restart(&[]).await?;
    for operation in &operations {
        admin.wait_for_operation(operation, SOON).await?;
    }

    let listed: Value = admin.get("/admin/tenants/acme/config").await?;
    let entries = listed["config"].as_array().context("entries")?;
    ensure!(entries.len() == 4 && entries.iter().all(|entry| entry["applied"] == true), "{listed}");
    let secret = entries.iter().find(|entry| entry["config_key"] == "payment.secret").context("the secret entry")?;
    assert_eq!((&secret["value"], &secret["secret"]), (&Value::Null, &json!(true)));

    let config = stack.tenant_api(0).get(HOST, &token, "/api/config").await?.json;
    let config = &config["config"];
    assert_eq!(config["tenant.theme_color"], "#ff0000");
    assert_eq!(config["features.beta"], true);
    assert_eq!(config["tenant.limits"], json!({"rows": [1, 2.5]}));
    ensure!(config.get("tenant.logo_url").is_none() && config.get("payment.secret").is_none(), "{config}");

    // The tenant's application reads the secret in its own database. It can be read nowhere else.
    let (stored,): (String,) = sqlx::query_as(
        "SELECT config_value FROM `ai_shifu_tenant_acme`.tenant_config WHERE config_key = 'payment.secret'",
    )
    .fetch_one(&mut world::root(&stack).await?)
    .await?;
    assert_eq!(stored, SECRET);
    let events =
        serde_json::to_string(&admin.events("acme").await?.iter().map(|event| &event.data).collect::<Vec<_>>())?;
    ensure!(events.contains("#ff0000") && !events.contains(SECRET), "{events}");
    let (sealed,): (String,) = sqlx::query_as(
        "SELECT CONCAT(COALESCE(config_value, ''), sealed_value) FROM saas_tenant_settings
         WHERE config_key = 'payment.secret'",
    )
    .fetch_one(&mut world::system(&stack).await?)
    .await?;
    ensure!(sealed.starts_with("v1.") && !sealed.contains("hunter2"), "{sealed}");
    Ok(())
}

#[tokio::test]
async fn the_system_configuration_is_typed_and_guarded() -> Result<()> {
    let stack = world::start("system-config").await?;
    let admin = stack.admin();
    let put =
        async |key: &str, body: Value| admin.request("PUT", &format!("/admin/config/{key}"), Some(body), &[]).await;
    for (key, body, status, code) in [
        ("system.multi_tenant_enabled", json!({"value": "false"}), 422, "invalid_value"),
        ("system.multi_tenant_enabled", json!({"value": 1, "config_type": "number"}), 422, "invalid_config_type"),
        ("database.default_max_connections", json!({"value": 0}), 422, "invalid_value"),
        ("routing.unknown_host", json!({"value": "maybe"}), 422, "invalid_value"),
        ("system.default_tenant", json!({"value": "nobody"}), 422, "invalid_value"),
        ("system.installation_id", json!({"value": "x"}), 409, "config_read_only"),
        ("system.typing_eror", json!({"value": "x"}), 404, "config_not_found"),
    ] {
        let reply = put(key, body.clone()).await?;
        assert_eq!((reply.status, reply.error()), (status, code), "{key} {body}: {}", reply.text);
    }
    let made =
        put("app.banner", json!({"value": {"text": "hi"}, "create": true, "description": "of the pages"})).await?;
    assert_eq!((made.status, &made.json["config_type"]), (200, &json!("json")), "{}", made.text);
    let read: Value = admin.get("/admin/config/app.banner").await?;
    assert_eq!((&read["value"], &read["description"]), (&json!({"text": "hi"}), &json!("of the pages")));
    let all: Value = admin.get("/admin/config").await?;
    let id =
        all["config"].as_array().into_iter().flatten().find(|entry| entry["config_key"] == "system.installation_id");
    assert_eq!(id.context("the installation's id")?["read_only"], true);

    // A running node acts on a switch.
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("default", "user"), ("acme", "user")]).await?;
    let api = stack.tenant_api(0);
    let served = async |tenant: &str| {
        wait::until(SOON, tenant, async || {
            let reply = api.get(HOST, &token, "/api/orders").await.ok()?;
            (reply.json["tenant_id"] == tenant).then_some(())
        })
        .await
    };
    served("acme").await?;
    assert_eq!(put("system.multi_tenant_enabled", json!({"value": false})).await?.status, 200);
    served("default").await?;
    assert_eq!(put("system.multi_tenant_enabled", json!({"value": true})).await?.status, 200);
    served("acme").await?;

    // The default tenant stays, and only a tenant that serves can become it.
    let deleted = async |tenant: &str| admin.request("DELETE", &format!("/admin/tenants/{tenant}"), None, &[]).await;
    let refused = deleted("default").await?;
    assert_eq!((refused.status, refused.error()), (409, "tenant_is_default"), "{}", refused.text);
    let default = json!({"value": "acme"});
    admin.post("/admin/tenants/acme/suspend", json!({"reason": "unpaid"})).await?.expect::<Value>(200)?;
    let refused = put("system.default_tenant", default.clone()).await?;
    assert_eq!((refused.status, refused.error()), (422, "invalid_value"), "{}", refused.text);
    admin.post("/admin/tenants/acme/resume", json!({})).await?.expect::<Value>(200)?;
    assert_eq!(put("system.default_tenant", default).await?.status, 200);
    assert_eq!(deleted("acme").await?.error(), "tenant_is_default");
    assert_eq!(deleted("default").await?.status, 202);
    // An older version has deleted the default tenant.
    let older = "UPDATE saas_system_config SET config_value = 'default' WHERE config_key = 'system.default_tenant'";
    sqlx::query(older).execute(&mut world::system(&stack).await?).await?;
    assert_eq!(admin.post("/admin/tenants/default/purge", json!({})).await?.error(), "tenant_is_default");
    Ok(())
}

async fn put(admin: &Admin, key: &str, body: Value) -> Result<harness::clients::Reply> {
    admin.request("PUT", &format!("/admin/tenants/acme/config/{key}"), Some(body), &[]).await
}
