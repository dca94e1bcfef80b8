//! The health endpoint shows each injected fault, and no longer shows it after the repair.
//!
//! Two tests run side by side, because every check waits for a new state.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::Admin;
use harness::servers::Server;
use harness::stack::{Broker, Role, Service, Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};

/// Waits until the health is `overall` and, unless it is healthy, one of its reasons contains `reason`.
async fn shows(admin: &Admin, overall: &str, reason: &str) -> Result<Value> {
    wait::until_ok(SOON, &format!("the health to be {overall}, {reason:?}"), async || {
        let health: Value = admin.get("/admin/health").await?;
        let reasons = health["reasons"].as_array().cloned().unwrap_or_default();
        let named = reasons.iter().any(|text| text.as_str().is_some_and(|text| text.contains(reason)));
        ensure!(
            health["overall_status"] == overall && named != reason.is_empty(),
            "{} {reasons:?}",
            health["overall_status"]
        );
        Ok(health)
    })
    .await
}

fn tenant<'h>(health: &'h Value, id: &str) -> Result<&'h Value> {
    let tenants = health["tenant_databases"].as_array().context("tenant_databases is a list")?;
    tenants.iter().find(|tenant| tenant["tenant_id"] == id).with_context(|| format!("no {id} in {tenants:?}"))
}

#[tokio::test]
async fn health_shows_faults_of_tenants_servers_and_workers() -> Result<()> {
    let mut options = StackOptions::for_test("health-tenants")?.with_env("provisioner", "HEALTH_EVERY", "1");
    options.more_servers = vec!["eu2".into()];
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    let mut system = world::system(&stack).await?;
    world::both_servers(&stack).await?;
    let (mut here, mut there) = (None, None);
    for id in ["one", "two", "three"] {
        let created = admin.create_active_tenant(id, None, SOON).await?;
        let server = created.database.map(|database| database["server"].clone());
        if server == Some(json!("eu2")) { there = Some(id) } else { here = Some(id) }
    }
    let (here, there) = (here.context("a tenant here")?, there.context("a tenant there")?);
    let (user, _) = world::user(&admin, "ann", &[(here, "admin")]).await?;
    world::plant_order(&stack, here, &user, "o-1").await?;

    // A check counts nothing. What the statistics have counted is shown.
    admin.create_active_tenant("four", None, SOON).await?;
    let control = async |args: &[&str]| stack.run(Role::ControlPlane, args, &Vec::new()).await;
    control(&["schedule", "run", "daily-statistics"]).await?;
    let health = wait::until_ok(SOON, "all tenants to be checked, and one to be counted", async || {
        let health = shows(&admin, "healthy", "").await?;
        ensure!(health["tenant_summary"]["healthy"] == 5, "{}", health["tenant_summary"]);
        ensure!(tenant(&health, here)?["total_orders"] == 1, "{health}");
        Ok(health)
    })
    .await?;
    let found = tenant(&health, here)?;
    assert_eq!((&found["status"], &found["total_study_records"]), (&json!("healthy"), &json!(0)));
    assert_eq!(
        (&health["system_database"]["status"], &health["system_database"]["active_tenants"]),
        (&json!("healthy"), &json!(5))
    );
    let pools = &health["connection_pools"];
    ensure!(pools["nodes"][0]["tenant_connections"]["limit"] == 100 && pools["system_pool"]["limit"] == 16, "{pools}");
    ensure!(health["relay"]["lag_events"] == 0 && health["broker"]["queues"][0]["consumers"] == 1, "{health}");
    pages(&admin).await?;

    // Faults of one tenant: a locked account, and later a lost database.
    let mut root = world::root(&stack).await?;
    let account = format!("SELECT db_username FROM saas_tenant_databases WHERE tenant_id = '{here}'");
    let account: String = sqlx::query_scalar(&account).fetch_one(&mut system).await?;
    let alter = |what: &str| format!("ALTER USER '{account}'@'%' ACCOUNT {what}");
    sqlx::raw_sql(&alter("LOCK")).execute(&mut root).await?;
    let health = shows(&admin, "degraded", "1 tenant databases are not healthy").await?;
    assert_eq!(tenant(&health, here)?["error"], "the account of the tenant's user is locked");
    assert_eq!(tenant(&health, there)?["status"], "healthy");
    let page: Value = admin.get("/admin/health?status=unhealthy").await?;
    assert_eq!(page["tenant_databases"].as_array().map(Vec::len), Some(1), "{page}");
    sqlx::raw_sql(&alter("UNLOCK")).execute(&mut root).await?;
    shows(&admin, "healthy", "").await?;

    // Faults of the other tenants' server.
    stack.more_servers.get_mut("eu2").context("eu2")?.pause()?;
    let health = shows(&admin, "degraded", "database server eu2").await?;
    assert_eq!(
        (&tenant(&health, there)?["status"], &tenant(&health, here)?["status"]),
        (&json!("unhealthy"), &json!("healthy"))
    );
    stack.more_servers.get_mut("eu2").context("eu2")?.resume()?;
    shows(&admin, "healthy", "").await?;
    stack.more_servers.get_mut("eu2").context("eu2")?.kill9()?;
    shows(&admin, "degraded", "database server eu2 cannot be reached").await?;
    stack.more_servers.get_mut("eu2").context("eu2")?.restart().await?;
    shows(&admin, "healthy", "").await?;

    // Faults of the workers.
    stack.provisioners[0].stop().await?;
    shows(&admin, "degraded", "no provisioner checks the tenant databases of server main").await?;
    stack.provisioners[0].restart(&[]).await?;
    shows(&admin, "healthy", "").await?;

    sqlx::raw_sql(&format!("DROP DATABASE ai_shifu_tenant_{here}")).execute(&mut root).await?;
    let health = shows(&admin, "degraded", "1 tenant databases are not healthy").await?;
    // MySQL refuses the login to a missing database like a login without rights. The message is the same for both.
    assert_eq!(tenant(&health, here)?["error"], "the database is not there");
    Ok(())
}

#[tokio::test]
async fn health_shows_faults_of_nodes_broker_and_jobs() -> Result<()> {
    let mut options = StackOptions::for_test("health-parts")?.with_env("provisioner", "HEALTH_EVERY", "1");
    options.broker = Broker::Own;
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    let here = "acme";
    admin.create_active_tenant(here, None, SOON).await?;
    shows(&admin, "healthy", "").await?;

    // Faults of a node.
    stack.data_planes[0].kill9()?;
    shows(&admin, "degraded", "data node data-plane gives no sign of life").await?;
    stack.data_planes[0].restart(&[]).await?;
    shows(&admin, "healthy", "").await?;

    // Faults of the broker, and with it of the relay.
    stack.rabbitmq.as_mut().context("an own broker")?.kill9()?;
    shows(&admin, "degraded", "the broker does not answer").await?;
    let renamed =
        admin.request("PATCH", &format!("/admin/tenants/{here}"), Some(json!({"tenant_name": "New"})), &[]).await?;
    assert_eq!(renamed.status, 200, "{}", renamed.text);
    let health = shows(&admin, "degraded", "the relay has not published").await?;
    ensure!(health["relay"]["lag_events"] == 1, "{}", health["relay"]);
    stack.rabbitmq.as_mut().context("an own broker")?.restart().await?;
    shows(&admin, "healthy", "").await?;

    // A fault of the relay alone: another process holds its lease and does nothing.
    let lease = async |set: &str| -> Result<()> {
        let update = format!("UPDATE saas_leases SET {set} WHERE name = 'relay'");
        sqlx::raw_sql(&update).execute(&mut world::system(&stack).await?).await.map(drop).map_err(Into::into)
    };
    lease("owner = 'somebody', epoch = epoch + 1, lease_until = UTC_TIMESTAMP(6) + INTERVAL 1 DAY").await?;
    let path = format!("/admin/tenants/{here}");
    let renamed = admin.request("PATCH", &path, Some(json!({"tenant_name": "Newer"})), &[]).await?;
    assert_eq!(renamed.status, 200, "{}", renamed.text);
    let health = shows(&admin, "degraded", "the relay has not published").await?;
    assert_eq!(health["reasons"].as_array().map(Vec::len), Some(1), "{}", health["reasons"]);
    ensure!(health["relay"]["lag_events"] == 1 && health["broker"]["status"] == "healthy", "{health}");
    lease("lease_until = UTC_TIMESTAMP(6)").await?;
    let health = shows(&admin, "healthy", "").await?;
    assert_eq!(health["relay"]["lag_events"], 0);

    // Faults of the system database. The endpoint still answers, also callers without a valid token, and tells them no
    // more than this.
    stack.mariadb.as_mut().context("an own MariaDB")?.pause()?;
    let health = shows(&admin, "critical", "the system database does not answer").await?;
    assert_eq!((&health["system_database"]["status"], &health["tenant_databases"]), (&json!("unhealthy"), &json!([])));
    stack.mariadb.as_mut().context("an own MariaDB")?.resume()?;
    shows(&admin, "healthy", "").await?;
    stack.mariadb.as_mut().context("an own MariaDB")?.kill9()?;
    shows(&admin, "critical", "the system database does not answer").await?;
    for service in [&stack.control_planes[0], &stack.provisioners[0], &stack.data_planes[0]] {
        says_nothing_of_a_database(service).await?;
    }
    stack.mariadb.as_mut().context("an own MariaDB")?.restart().await?;
    shows(&admin, "healthy", "").await?;
    let stranger = admin.with_token("adm_x_y").request("GET", "/admin/health", None, &[]).await?;
    assert_eq!(stranger.status, 401, "{}", stranger.text);

    // A job that cannot succeed, because another database has the name.
    let mut root = world::root(&stack).await?;
    sqlx::raw_sql("CREATE DATABASE ai_shifu_tenant_taken; CREATE TABLE ai_shifu_tenant_taken.t (id INT)")
        .execute(&mut root)
        .await?;
    admin.create_tenant("taken", "T", None).await?;
    let health = shows(&admin, "degraded", "1 jobs failed in the last 10 minutes").await?;
    ensure!(health["jobs"]["failed"] == 1 && health["tenant_summary"]["healthy"] == 2, "{health}");
    a_queue_without_workers(&mut stack, &admin).await
}

/// Jobs may wait for long in a lane that queues, as long as a worker works in it.
async fn a_queue_without_workers(stack: &mut Stack, admin: &Admin) -> Result<()> {
    let mut system = world::system(stack).await?;
    stack.provisioners[0].stop().await?;
    let idle = "no worker of server main works in the lane bulk";
    let enqueue = "INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, lane, status,
                                                next_attempt_at, give_up_at, created_at)
                   VALUES (UUID(), 'acme', 'main', 'enforce', 'bulk', 'pending', UTC_TIMESTAMP(6) - INTERVAL ? SECOND,
                           UTC_TIMESTAMP(6) + INTERVAL 1 HOUR, UTC_TIMESTAMP(6) - INTERVAL ? SECOND)";
    sqlx::query(enqueue).bind(300).bind(300).execute(&mut system).await?;
    let stale = shows(admin, "degraded", "no provisioner checks the tenant databases of server main").await?;
    ensure!(stale["jobs"]["idle_lanes"] == 0, "five minutes are no alarm: {}", stale["reasons"]);
    sqlx::query(enqueue).bind(700).bind(700).execute(&mut system).await?;
    let health = shows(admin, "degraded", idle).await?;
    ensure!(health["jobs"]["idle_lanes"] == 1 && health["jobs"]["overdue"] == 0, "{}", health["jobs"]);
    wait::until_ok(SOON, "the metric to say so", async || {
        let metrics = stack.control_planes[0].metrics().await?;
        ensure!(metrics.lines().any(|line| line == "job_lanes_idle 1"), "job_lanes_idle is not 1");
        Ok(())
    })
    .await?;
    // A worker has the tenant in another lane: the jobs wait for that one.
    let work = "UPDATE saas_operations SET status = 'running', attempts = attempts + 1,
                       lease_until = UTC_TIMESTAMP(6) + INTERVAL ? SECOND
                WHERE kind = ? AND tenant_id = 'acme' LIMIT 1";
    sqlx::query(work).bind(60).bind("provision").execute(&mut system).await?;
    wait::until_ok(SOON, "the alarm to end", async || {
        let health: Value = admin.get("/admin/health").await?;
        ensure!(health["jobs"]["idle_lanes"] == 0, "{}", health["reasons"]);
        Ok(())
    })
    .await?;
    sqlx::query(work).bind(0).bind("provision").execute(&mut system).await?;
    shows(admin, "degraded", idle).await?;
    // A worker ended another job of the queue a moment ago.
    sqlx::query(
        "UPDATE saas_operations SET status = 'succeeded', attempts = 1, finished_at = UTC_TIMESTAMP(6)
         WHERE lane = 'bulk' AND status = 'pending' ORDER BY next_attempt_at DESC LIMIT 1",
    )
    .execute(&mut system)
    .await?;
    wait::until_ok(SOON, "the alarm to end", async || {
        let health: Value = admin.get("/admin/health").await?;
        ensure!(health["jobs"]["idle_lanes"] == 0, "{}", health["reasons"]);
        Ok(())
    })
    .await
}

/// Strangers can read `/readyz`, so it shows none of the words of a database or of the system.
async fn says_nothing_of_a_database(service: &Service) -> Result<()> {
    wait::until_ok(SOON, "a part to be unhealthy", async || {
        let ready: Value = reqwest::get(format!("{}/readyz", service.url())).await?.json().await?;
        let parts = ready["parts"].as_object().context("parts")?;
        ensure!(parts.values().any(|part| part["status"] != "healthy"), "{} reports {ready}", service.name());
        for word in ["os error", "error communicating", "error returned", "sqlx", "127.0.0.1"] {
            ensure!(!ready.to_string().contains(word), "{} reports {ready}", service.name());
        }
        Ok(())
    })
    .await
}

/// Pages of one tenant each contain every tenant once.
async fn pages(admin: &Admin) -> Result<()> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page: Value = admin.get(&format!("/admin/health?limit=1{cursor}")).await?;
        let tenants = page["tenant_databases"].as_array().context("a page")?;
        seen.extend(tenants.iter().map(|tenant| tenant["tenant_id"].as_str().unwrap_or_default().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["default", "one", "two", "three", "four"]);
    for (query, code) in
        [("limit=0", "invalid_limit"), ("cursor=x", "invalid_cursor"), ("status=ill", "invalid_status")]
    {
        let reply = admin.request("GET", &format!("/admin/health?{query}"), None, &[]).await?;
        assert_eq!((reply.status, reply.error()), (422, code), "{query}");
    }
    Ok(())
}
