//! The main job: an admin creates a tenant, workers provision it, and nodes serve its users.

use crate::invariants;
use crate::world::{self, SOON, order_bids};
use anyhow::Result;
use harness::servers::Server;
use serde_json::json;

#[tokio::test]
async fn a_new_tenant_is_served_by_domain_subdomain_and_header() -> Result<()> {
    let stack = world::start("served").await?;
    let admin = stack.admin();
    let reply = admin
        .post(
            "/admin/tenants",
            json!({"tenant_id": "acme", "tenant_name": "Acme 学校", "tenant_domain": "Learn.Acme.com."}),
        )
        .await?;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let operation_id = reply.operation_id()?.to_owned();
    assert_eq!(reply.header("location"), Some(format!("/admin/operations/{operation_id}").as_str()));
    assert_eq!(reply.json["tenant"]["state"], "provisioning");
    assert_eq!(reply.json["tenant"]["tenant_domain"], "learn.acme.com");

    let operation = admin.wait_for_operation(&operation_id, SOON).await?;
    let steps: Vec<_> = operation.steps.iter().map(|step| (step.name.as_str(), step.status.as_str())).collect();
    let names = ["create_database", "create_user", "apply_schema", "seed_config", "verify_login"];
    assert_eq!(steps, names.map(|name| (name, "succeeded")));
    let tenant = admin.tenant("acme").await?;
    assert_eq!((tenant.state.as_str(), tenant.status), ("active", 1));
    let kinds: Vec<_> = admin.events("acme").await?.into_iter().map(|event| event.kind).collect();
    let expected = ["tenant.created", "tenant.domain_registered", "tenant.database_provisioned", "tenant.activated"];
    assert_eq!(kinds, expected);

    let (user_id, token) = world::user(&admin, "ann", &[("acme", "admin")]).await?;
    world::plant_order(&stack, "acme", &user_id, "order-1").await?;
    let api = stack.tenant_api(0);
    let bearer = format!("Bearer {token}");
    let forms: [&[(&str, &str)]; 5] = [
        &[("Host", "learn.acme.com")],
        &[("Host", "LEARN.ACME.COM:8080")],
        &[("Host", "acme.saas.example")],
        &[("X-Tenant-ID", "acme")],
        &[("Tenant-ID", "acme"), ("Host", "unknown.example.org")],
    ];
    for form in forms {
        let mut headers = form.to_vec();
        headers.push(("Authorization", &bearer));
        let reply = harness::wait::until_ok(SOON, "the node to know the tenant", async || {
            let reply = api.request("GET", "/api/orders", &headers).await?;
            anyhow::ensure!(reply.status == 200, "{form:?}: {}", reply.text);
            Ok(reply)
        })
        .await?;
        assert_eq!(reply.json["tenant_id"], "acme", "{form:?}");
        assert_eq!(order_bids(&reply), ["order-1"], "{form:?}");
        assert_eq!(reply.json["orders"][0]["paid_price"], "12.30");
    }
    for (carrier, value) in [("Token", token.clone()), ("Cookie", format!("a=b; token={token}"))] {
        let reply = api.request("GET", "/api/orders", &[("X-Tenant-ID", "acme"), (carrier, &value)]).await?;
        assert_eq!(reply.status, 200, "{carrier}: {}", reply.text);
    }
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_new_tenant_has_its_name_in_its_configuration() -> Result<()> {
    let stack = harness::stack::Stack::start(world::without_nodes("seeded")?).await?;
    let created = stack.admin().create_tenant("acme", "Acme 学校", None).await?;
    stack.admin().wait_for_operation(&created.operation_id, SOON).await?;
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT config_key, config_value FROM `ai_shifu_tenant_acme`.tenant_config ORDER BY id")
            .fetch_all(&mut world::root(&stack).await?)
            .await?;
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[0], ("tenant.name".into(), "Acme 学校".into()));
    Ok(())
}

#[tokio::test]
async fn two_creations_of_one_id_or_domain_have_one_winner() -> Result<()> {
    let stack = harness::stack::Stack::start(world::without_nodes("winner")?).await?;
    let admin = stack.admin();
    let same_id = (0..16).map(|n| {
        let body = json!({"tenant_id": "twin", "tenant_name": format!("Twin {n}")});
        let admin = &admin;
        async move { admin.post("/admin/tenants", body).await }
    });
    let replies = futures::future::try_join_all(same_id).await?;
    assert_eq!(replies.iter().filter(|reply| reply.status == 202).count(), 1);
    for reply in replies.iter().filter(|reply| reply.status != 202) {
        assert_eq!((reply.status, reply.error()), (409, "tenant_exists"), "{}", reply.text);
    }
    let same_domain = (0..16).map(|n| {
        let domain = if n % 2 == 0 { "same.example.com" } else { "SAME.example.com." };
        let body = json!({"tenant_id": format!("twin-{n}"), "tenant_name": "Twin", "tenant_domain": domain});
        let admin = &admin;
        async move { admin.post("/admin/tenants", body).await }
    });
    let replies = futures::future::try_join_all(same_domain).await?;
    assert_eq!(replies.iter().filter(|reply| reply.status == 202).count(), 1);
    for reply in replies.iter().filter(|reply| reply.status != 202) {
        assert_eq!((reply.status, reply.error()), (409, "domain_taken"), "{}", reply.text);
        assert_eq!(reply.json["field"], "tenant_domain");
    }
    world::idle(&stack).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_answer() -> Result<()> {
    let stack = harness::stack::Stack::start(world::without_nodes("idempotent")?).await?;
    let admin = stack.admin();
    let body = json!({"tenant_id": "once", "tenant_name": "Once"});
    let key = [("Idempotency-Key", "k-1")];
    let together = (0..8).map(|_| admin.request("POST", "/admin/tenants", Some(body.clone()), &key));
    let replies = futures::future::try_join_all(together).await?;
    for reply in &replies {
        assert_eq!(reply.status, 202, "{}", reply.text);
        assert_eq!(reply.json, replies[0].json);
        assert_eq!(reply.header("location"), replies[0].header("location"));
    }
    let other = json!({"tenant_id": "once", "tenant_name": "Twice"});
    let reply = admin.request("POST", "/admin/tenants", Some(other), &key).await?;
    assert_eq!((reply.status, reply.error()), (422, "idempotency_key_reused"));
    assert_eq!(reply.json["field"], "Idempotency-Key");

    // A token is shown once, and again to a repetition of the same request.
    let (user_id, _) = world::user(&admin, "ann", &[]).await?;
    let path = format!("/admin/users/{user_id}/tokens");
    let first = admin.request("POST", &path, Some(json!({})), &[("Idempotency-Key", "k-2")]).await?;
    let again = admin.request("POST", &path, Some(json!({})), &[("Idempotency-Key", "k-2")]).await?;
    assert_eq!((first.status, &first.json), (201, &again.json));
    let operation = replies[0].operation_id()?;
    admin.wait_for_operation(operation, SOON).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_foreign_database_of_the_same_name_is_left_alone() -> Result<()> {
    let stack = harness::stack::Stack::start(world::without_nodes("foreign")?).await?;
    let mut root = world::root(&stack).await?;
    sqlx::raw_sql(
        "CREATE DATABASE `ai_shifu_tenant_taken`;
         CREATE TABLE `ai_shifu_tenant_taken`.precious (id INT PRIMARY KEY);
         INSERT INTO `ai_shifu_tenant_taken`.precious VALUES (7);
         CREATE DATABASE `ai_shifu_tenant_empty`",
    )
    .execute(&mut root)
    .await?;
    let admin = stack.admin();
    for id in ["taken", "empty"] {
        let created = admin.create_tenant(id, "Taken", None).await?;
        let operation = admin.wait_for_end(&created.operation_id, SOON).await?;
        assert_eq!(operation.status, "failed");
        assert!(operation.error.unwrap_or_default().contains("is not this tenant's"));
        assert_eq!(admin.tenant(id).await?.state, "failed");
    }
    assert_eq!(world::number(&mut root, "SELECT CAST(id AS SIGNED) FROM `ai_shifu_tenant_taken`.precious").await?, 7);

    // Without the obstacle, a retry succeeds.
    sqlx::raw_sql("DROP DATABASE `ai_shifu_tenant_taken`; DROP DATABASE `ai_shifu_tenant_empty`")
        .execute(&mut root)
        .await?;
    for id in ["taken", "empty"] {
        let reply = admin.post(&format!("/admin/tenants/{id}/retry"), json!({})).await?;
        assert_eq!(reply.status, 202, "{}", reply.text);
        admin.wait_for_operation(reply.operation_id()?, SOON).await?;
        assert_eq!(admin.tenant(id).await?.state, "active");
    }
    let reply = admin.post("/admin/tenants/taken/retry", json!({})).await?;
    assert_eq!((reply.status, reply.error(), &reply.json["state"]), (409, "invalid_state", &json!("active")));
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_slow_database_server_delays_only_its_own_tenants() -> Result<()> {
    let mut options = world::without_nodes("slow-server")?;
    options.more_servers = vec!["eu2".into()];
    let mut stack = harness::stack::Stack::start(options).await?;
    let admin = stack.admin();
    world::both_servers(&stack).await?;
    // The control plane places tenants on the server with the fewest, so they alternate.
    stack.more_servers.get_mut("eu2").map(|server| server.pause()).transpose()?;
    let mut created = Vec::new();
    for n in 0..12 {
        created.push(admin.create_tenant(&format!("t-{n}"), "T", None).await?);
    }
    let on = |server: &str| -> Vec<_> {
        let placed = |c: &&harness::clients::Created| c.tenant.database.as_ref().is_some_and(|d| d["server"] == server);
        created.iter().filter(placed).map(|c| c.operation_id.clone()).collect()
    };
    let (main, eu2) = (on("main"), on("eu2"));
    assert!(main.len() >= 5 && eu2.len() >= 5, "{} on main, {} on eu2", main.len(), eu2.len());
    for operation in &main {
        admin.wait_for_operation(operation, SOON).await?;
    }
    for operation in &eu2 {
        assert_ne!(admin.operation(operation).await?.status, "succeeded", "its server is stopped");
    }
    stack.more_servers.get_mut("eu2").map(|server| server.resume()).transpose()?;
    for operation in &eu2 {
        admin.wait_for_operation(operation, SOON * 2).await?;
    }
    Ok(())
}

#[tokio::test]
async fn several_workers_in_several_processes_share_the_work() -> Result<()> {
    let mut options = world::without_nodes("share")?;
    options.provisioners = 3;
    let stack = harness::stack::Stack::start(options).await?;
    let admin = stack.admin();
    let create = (0..30).map(|n| {
        let admin = &admin;
        async move { admin.create_tenant(&format!("t-{n}"), "T", None).await }
    });
    let created = futures::future::try_join_all(create).await?;
    for created in &created {
        let ended = admin.wait_for_operation(&created.operation_id, SOON).await?;
        assert_eq!(ended.attempts, 1, "the job ended at the first attempt");
    }
    for provisioner in &stack.provisioners {
        let done = provisioner.log_text().matches("\"outcome\":\"succeeded\"").count();
        assert!(done > 0, "{} worked on some of the creations", provisioner.name());
    }
    invariants::check(&stack).await
}
