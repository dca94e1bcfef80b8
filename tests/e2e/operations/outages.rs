//! Servers fail and come back. Nothing accepted is lost, and whatever does not need the server continues.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::servers::Server;
use harness::stack::{Broker, Stack};
use harness::wait;
use serde_json::json;

#[tokio::test]
async fn tenants_are_provisioned_without_the_broker() -> Result<()> {
    let mut options = world::without_nodes("broker-killed")?;
    options.broker = Broker::Own;
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    stack.rabbitmq.as_mut().context("an own broker")?.kill9()?;
    // Workers poll for jobs, so provisioning continues.
    for n in 0..3 {
        let created = admin.create_tenant(&format!("without-{n}"), "T", None).await?;
        admin.wait_for_operation(&created.operation_id, SOON).await?;
    }
    let mut system = world::system(&stack).await?;
    let cursor = "SELECT CAST(position AS SIGNED) FROM saas_leases WHERE name = 'relay'";
    let head = "SELECT CAST(position AS SIGNED) FROM saas_heads WHERE name = 'events'";
    ensure!(
        world::number(&mut system, cursor).await? < world::number(&mut system, head).await?,
        "nothing was published"
    );
    stack.rabbitmq.as_mut().context("an own broker")?.restart().await?;
    admin.create_active_tenant("after", None, SOON).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_broker_that_refuses_a_queue_ends_no_process() -> Result<()> {
    let mut options = harness::stack::StackOptions::for_test("broker-full")?;
    options.broker = Broker::Own;
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    // The services come back to a broker with room for the shared queues, and for no queue of their own.
    let broker = stack.rabbitmq.as_ref().context("an own broker")?;
    broker.control(&["set_vhost_limits", "--vhost", "/", "{\"max-queues\": 3}"]).await?;
    broker.control(&["close_all_connections", "the test"]).await?;
    for part in ["control-plane", "data-plane"] {
        wait::until_ok(SOON, "the service to report the broker", async || {
            let service = if part == "data-plane" { &stack.data_planes[0] } else { &stack.control_planes[0] };
            let ready: serde_json::Value = reqwest::get(format!("{}/readyz", service.url())).await?.json().await?;
            let broker = &ready["parts"]["broker"];
            ensure!(broker["status"] == "degraded" && broker["reason"].to_string().contains("limit"), "{ready}");
            Ok(())
        })
        .await?;
    }
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    world::served(&stack.tenant_api(0), "acme.example.com", &token).await?;
    for service in stack.services() {
        ensure!(service.is_alive(), "{} has ended", service.name());
    }
    let broker = stack.rabbitmq.as_ref().context("an own broker")?;
    broker.control(&["clear_vhost_limits", "--vhost", "/"]).await?;
    wait::until_ok(SOON, "the broker to be used again", async || {
        let url = stack.data_planes[0].url();
        let ready: serde_json::Value = reqwest::get(format!("{url}/readyz")).await?.json().await?;
        ensure!(ready["parts"]["broker"]["status"] == "healthy", "{ready}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tenants_are_served_without_redis() -> Result<()> {
    let mut stack = world::start("redis-gone").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    let (user, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    world::plant_order(&stack, "acme", &user, "o-1").await?;
    let api = stack.tenant_api(0);
    let served =
        async || api.get("acme.example.com", &token, "/api/orders").await.ok().filter(|reply| reply.status == 200);
    wait::until(SOON, "the node to serve", &served).await?;
    stack.redis.as_mut().context("an own Redis")?.kill9()?;
    for _ in 0..50 {
        let reply = api.get("acme.example.com", &token, "/api/orders").await?;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    admin.create_active_tenant("later", Some("later.example.com"), SOON).await?;
    admin.put_member("later", &user, "user").await?;
    world::served(&api, "later.example.com", &token).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_restart_of_the_system_database_loses_no_tenant() -> Result<()> {
    let mut stack = world::start("db-restarted").await?;
    let admin = stack.admin();
    let mut accepted = Vec::new();
    for round in 0..3 {
        for n in 0..4 {
            accepted.push(admin.create_tenant(&format!("t-{round}-{n}"), "T", None).await?.operation_id);
        }
        // The kill comes in the middle of their provisioning.
        let mariadb = stack.mariadb.as_mut().context("an own MariaDB")?;
        mariadb.kill9()?;
        let away = admin.post("/admin/tenants", json!({"tenant_id": "away", "tenant_name": "T"})).await?;
        assert_eq!((away.status, away.error()), (503, "unavailable"), "{}", away.text);
        assert!(away.header("retry-after").is_some());
        mariadb.restart().await?;
        wait::until_ok(SOON, "the admin API to answer again", async || admin.tenant("default").await).await?;
    }
    for operation in &accepted {
        admin.wait_for_operation(operation, SOON).await?;
    }
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_node_without_system_database_serves_known_tenants() -> Result<()> {
    // The tenant is on another server than the system database, which is then killed.
    let mut options = harness::stack::StackOptions::for_test("cut-off")?;
    options.more_servers = vec!["eu2".into()];
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    let mut system = world::system(&stack).await?;
    world::both_servers(&stack).await?;
    // The control plane places tenants on the server with the fewest, so one of these is on the other server.
    let mut on_the_other_server = None;
    for id in ["acme-1", "acme-2", "acme-3"] {
        let tenant = admin.create_active_tenant(id, None, SOON).await?;
        if tenant.database.is_some_and(|database| database["server"] == "eu2") {
            on_the_other_server = Some(id);
        }
    }
    let id = on_the_other_server.context("a tenant on the other server")?;
    let reply = admin.post(&format!("/admin/tenants/{id}/domains"), json!({"domain": "acme.example.com"})).await?;
    assert_eq!((reply.status, &reply.json["primary"]), (201, &json!(true)), "{}", reply.text);
    let (_, token) = world::user(&admin, "ann", &[(id, "user")]).await?;
    let api = stack.tenant_api(0);
    world::served(&api, "acme.example.com", &token).await?;
    // The node must have seen the last event before the database fails, or it would need to read again what it learned
    // earlier.
    let head =
        world::number(&mut system, "SELECT CAST(position AS SIGNED) FROM saas_heads WHERE name = 'events'").await?;
    wait::until(SOON, "the node to be at the head", async || {
        let metrics = stack.data_planes[0].metrics().await.ok()?;
        metrics.lines().any(|line| line == format!("node_position {head}")).then_some(())
    })
    .await?;
    assert_eq!(api.get("acme.example.com", &token, "/api/orders").await?.status, 200);
    stack.mariadb.as_mut().context("an own MariaDB")?.kill9()?;
    wait::holds_for(std::time::Duration::from_secs(6), "the known tenant to be served", async || {
        api.get("acme.example.com", &token, "/api/orders").await.is_ok_and(|reply| reply.status == 200)
    })
    .await?;
    stack.mariadb.as_mut().context("an own MariaDB")?.restart().await?;
    wait::until_ok(SOON, "the admin API to answer again", async || admin.tenant("default").await).await?;
    Ok(())
}
