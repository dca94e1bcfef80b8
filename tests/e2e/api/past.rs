//! The admin API shows a tenant as it was at each of its positions and times.

use crate::world::{self, SOON};
use anyhow::{Context, Result};
use harness::stack::Stack;
use serde_json::{Value, json};

#[tokio::test]
async fn a_tenant_is_shown_as_it_was_at_any_position_and_time() -> Result<()> {
    let stack = Stack::start(world::without_nodes("past")?).await?;
    let admin = stack.admin();
    let mut known: Vec<Value> = Vec::new();
    let created = admin.create_tenant("acme", "Acme", Some("acme.example.com")).await?;
    admin.wait_for_operation(&created.operation_id, SOON).await?;
    known.push(admin.get("/admin/tenants/acme").await?);
    for (method, path, body) in [
        ("PATCH", "", json!({"tenant_name": "学校", "plan_type": "standard"})),
        ("POST", "/domains", json!({"domain": "second.example.com"})),
        ("POST", "/suspend", json!({"reason": "unpaid"})),
        ("DELETE", "/domains/acme.example.com", Value::Null),
        ("POST", "/resume", Value::Null),
    ] {
        let body = Some(body).filter(|body| !body.is_null());
        let reply = admin.request(method, &format!("/admin/tenants/acme{path}"), body, &[]).await?;
        assert!(reply.status < 300, "{path}: {}", reply.text);
        known.push(admin.get("/admin/tenants/acme").await?);
    }

    // Every answer about the past equals the answer that was given then.
    for then in &known {
        let position = &then["position"];
        assert_eq!(&admin.get::<Value>(&format!("/admin/tenants/acme?at={position}")).await?, then);
        let time = then["updated_at"].as_str().context("a time")?;
        assert_eq!(&admin.get::<Value>(&format!("/admin/tenants/acme?at={time}")).await?, then);
    }
    let first = admin.events("acme").await?[0].position;
    let accepted = admin.get::<Value>(&format!("/admin/tenants/acme?at={first}")).await?;
    assert_eq!((&accepted["state"], &accepted["domains"]), (&json!("provisioning"), &json!([])));

    let last = known.last().context("the present")?;
    for later in ["999999", "2999-01-01T00:00:00Z", "2999-01-01T00:00:00%2B08:00"] {
        assert_eq!(&admin.get::<Value>(&format!("/admin/tenants/acme?at={later}")).await?, last);
    }
    for (path, status, code) in [
        (format!("acme?at={}", first - 1), 404, "tenant_not_found"),
        ("acme?at=0".into(), 404, "tenant_not_found"),
        ("acme?at=2001-01-01T00:00:00Z".into(), 404, "tenant_not_found"),
        ("nobody?at=3".into(), 404, "tenant_not_found"),
        ("acme?at=yesterday".into(), 422, "invalid_at"),
        ("acme?at=".into(), 422, "invalid_at"),
        ("acme?at=-1".into(), 422, "invalid_at"),
    ] {
        let reply = admin.request("GET", &format!("/admin/tenants/{path}"), None, &[]).await?;
        assert_eq!((reply.status, reply.error()), (status, code), "{path}");
    }

    // An event of a newer version is not skipped, because the answer would be a state that never was.
    let mut system = world::system(&stack).await?;
    sqlx::query("UPDATE saas_events SET event_type = 'tenant.teleported' WHERE tenant_id = 'acme' AND version = 6")
        .execute(&mut system)
        .await?;
    let fine = known[0]["position"].as_u64().context("a position")?;
    assert_eq!(admin.get::<Value>(&format!("/admin/tenants/acme?at={fine}")).await?, known[0]);
    let reply = admin.request("GET", "/admin/tenants/acme?at=999999", None, &[]).await?;
    assert_eq!((reply.status, reply.error()), (500, "internal"));
    assert!(!reply.text.contains("teleported"), "{}", reply.text);
    let log = stack.control_planes[0].log_text();
    assert!(
        log.contains("(tenant.teleported) cannot be read by this version"),
        "the control plane's log names the event"
    );
    Ok(())
}
