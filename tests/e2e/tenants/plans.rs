//! A changed plan takes effect at once, on nodes and at the database server, without a restart.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::clients::{Admin, Reply, TenantApi};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};
use std::time::Duration;

/// The bound for all knowledge of nodes, plus what a busy machine may take.
const BOUND: Duration = Duration::from_millis(2500);

async fn put(admin: &Admin, plan: &str, body: Value) -> Result<Reply> {
    admin.request("PUT", &format!("/admin/plans/{plan}"), Some(body), &[]).await
}

async fn answers(api: &TenantApi, tenant: &str, token: &str, count: usize) -> Result<Vec<Reply>> {
    let mut replies = Vec::new();
    for _ in 0..count {
        replies.push(api.get(&format!("{tenant}.example.com"), token, "/api/orders").await?);
    }
    Ok(replies)
}

/// Waits until the server allows the tenant's user so many connections.
async fn at_the_server(stack: &Stack, tenant: &str, connections: i64) -> Result<()> {
    let name = format!("SELECT db_username FROM saas_tenant_databases WHERE tenant_id = '{tenant}'");
    let user: String = sqlx::query_scalar(&name).fetch_one(&mut world::system(stack).await?).await?;
    let mut root = world::root(stack).await?;
    let limit = format!("SELECT CAST(max_user_connections AS SIGNED) FROM mysql.user WHERE user = '{user}'");
    wait::until_ok(SOON, "the limit at the server", async || {
        let now = world::number(&mut root, &limit).await?;
        ensure!(now == connections, "it is {now}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_changed_plan_takes_effect_without_a_restart() -> Result<()> {
    let options = StackOptions::for_test("plans")?.with_env("provisioner", "STORAGE_MEASURE_EVERY", "1");
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    for tenant in ["acme", "a-b"] {
        admin.create_active_tenant(tenant, Some(&format!("{tenant}.example.com")), SOON).await?;
    }
    let (_, token) = world::user(&admin, "ann", &[("acme", "user"), ("a-b", "user")]).await?;
    let api = stack.tenant_api(0);
    wait::until(SOON, "the node to serve", async || {
        let replies = answers(&api, "a-b", &token, 1).await.ok()?;
        (replies[0].status == 200).then_some(())
    })
    .await?;
    at_the_server(&stack, "acme", 50).await?;

    let trial = json!({"description": "A month", "request_concurrency": 4, "request_queue": 4, "request_rate": 2,
                       "request_burst": 2, "max_connections": 3, "storage_bytes": 1000});
    let made = put(&admin, "trial", trial.clone()).await?;
    assert_eq!((made.status, &made.json["tenants"], &made.json["request_rate"]), (201, &json!(0), &json!(2)));
    let given = json!({"plan_type": "trial"});
    assert_eq!(admin.request("PATCH", "/admin/tenants/acme", Some(given), &[]).await?.status, 200);
    let limited = wait::until_ok(BOUND, "the rate to count", async || {
        let replies = answers(&api, "acme", &token, 4).await?;
        let limited = replies.into_iter().find(|reply| reply.status == 429);
        limited.ok_or_else(|| anyhow::anyhow!("no request was refused"))
    })
    .await?;
    assert_eq!((limited.error(), limited.header("retry-after")), ("rate_limited", Some("1")), "{}", limited.text);
    let others = answers(&api, "a-b", &token, 40).await?;
    assert!(others.iter().all(|reply| reply.status == 200), "another tenant is not limited");
    at_the_server(&stack, "acme", 3).await?;

    // The files of the tenant are larger than 1000 bytes. The provisioner reports that and does nothing else.
    let used: Value = wait::until_ok(SOON, "a measurement", async || {
        let used: Value = admin.get("/admin/tenants/acme/limits").await?;
        ensure!(used["storage"]["over_limit"] == json!(true), "{used}");
        Ok(used)
    })
    .await?;
    ensure!(used["storage"]["bytes"].as_u64() > Some(100_000), "{used}");
    let expected = json!({"max_connections": 3, "request_concurrency": 4, "request_queue": 4, "request_rate": 2,
                          "request_burst": 2, "storage_bytes": 1000});
    assert_eq!(used["limits"], expected);
    let used: Value = admin.get("/admin/tenants/a-b/limits").await?;
    assert_eq!((&used["storage"]["over_limit"], &used["limits"]["max_connections"]), (&json!(false), &json!(50)));
    wait::until_ok(SOON, "the report", async || {
        let metrics = stack.provisioners[0].metrics().await?;
        ensure!(metrics.contains("tenants_over_storage{server=\"main\"} 1"), "no metric");
        ensure!(stack.provisioners[0].log_text().contains("uses more storage"), "no line in the log");
        Ok(())
    })
    .await?;

    // A changed plan needs neither a restart nor an event.
    let before = admin.tenant("acme").await?.version;
    let mut wider = trial.clone();
    (wider["request_rate"], wider["request_burst"], wider["max_connections"]) = (Value::Null, Value::Null, json!(5));
    let changed = put(&admin, "trial", wider).await?;
    assert_eq!((changed.status, &changed.json["tenants"]), (200, &json!(1)), "{}", changed.text);
    wait::until_ok(BOUND, "no rate to count", async || {
        let replies = answers(&api, "acme", &token, 20).await?;
        ensure!(replies.iter().all(|reply| reply.status == 200), "a request was refused");
        Ok(())
    })
    .await?;
    at_the_server(&stack, "acme", 5).await?;
    assert_eq!(admin.tenant("acme").await?.version, before);

    // A plan in use cannot be deleted. The connection limit of a plan without one is that of the creation.
    let refused = admin.request("DELETE", "/admin/plans/trial", None, &[]).await?;
    assert_eq!((refused.status, refused.error(), &refused.json["tenants"]), (409, "plan_in_use", &json!(1)));
    let basic = json!({"plan_type": "basic"});
    assert_eq!(admin.request("PATCH", "/admin/tenants/acme", Some(basic), &[]).await?.status, 200);
    assert_eq!(admin.request("DELETE", "/admin/plans/trial", None, &[]).await?.status, 204);
    assert_eq!(admin.request("DELETE", "/admin/plans/trial", None, &[]).await?.error(), "plan_not_found");
    at_the_server(&stack, "acme", 50).await?;
    let plans: Value = admin.get("/admin/plans").await?;
    let names = plans["plans"].as_array().map(|all| all.iter().map(|plan| plan["plan_type"].as_str()).collect());
    assert_eq!(names, Some(vec![Some("basic"), Some("enterprise"), Some("standard")]), "{plans}");
    assert_eq!(plans["plans"][0]["tenants"], json!(3));
    // The plan of new tenants stays, also while no tenant has it.
    for tenant in ["acme", "a-b", "default"] {
        let standard = json!({"plan_type": "standard"});
        let path = format!("/admin/tenants/{tenant}");
        assert_eq!(admin.request("PATCH", &path, Some(standard), &[]).await?.status, 200);
    }
    let refused = admin.request("DELETE", "/admin/plans/basic", None, &[]).await?;
    assert_eq!((refused.status, refused.error()), (409, "plan_in_use"), "{}", refused.text);
    bad_input(&admin).await?;
    world::idle(&stack).await?;
    invariants::check(&stack).await
}

async fn bad_input(admin: &Admin) -> Result<()> {
    let with = |field: &str, value: Value| {
        let mut body = json!({"request_concurrency": 4, "request_queue": 4});
        body[field] = value;
        body
    };
    for (plan, body, code, field) in [
        ("Gold", with("request_rate", json!(1)), "invalid_plan_type", "plan_type"),
        ("gold", with("request_concurrency", json!(0)), "invalid_request_concurrency", "request_concurrency"),
        ("gold", with("request_rate", json!(0)), "invalid_request_rate", "request_rate"),
        ("gold", with("request_burst", json!(5)), "invalid_request_burst", "request_burst"),
        ("gold", with("max_connections", json!(0)), "invalid_max_connections", "max_connections"),
        ("gold", with("storage_bytes", json!(0)), "invalid_storage_bytes", "storage_bytes"),
        ("gold", with("request_queue", json!(-1)), "invalid_body", "request_queue"),
        ("gold", with("price", json!(1)), "invalid_body", "price"),
        ("gold", with("description", json!("x".repeat(201))), "invalid_description", "description"),
    ] {
        let refused = put(admin, plan, body).await?;
        let answer = (refused.status, refused.error(), refused.json["field"].as_str());
        assert_eq!(answer, (422, code, Some(field)), "{}", refused.text);
    }
    let unknown = json!({"plan_type": "gold"});
    let refused = admin.request("PATCH", "/admin/tenants/acme", Some(unknown), &[]).await?;
    assert_eq!((refused.status, refused.error()), (422, "invalid_plan_type"));
    assert_eq!(admin.request("GET", "/admin/tenants/nobody/limits", None, &[]).await?.status, 404);
    Ok(())
}
