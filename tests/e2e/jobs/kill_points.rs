//! Processes are killed before and after every step. Every accepted tenant ends active, or failed with a reason and
//! without residue.

use crate::invariants;
use crate::jobs::sagas;
use crate::world::{self, SOON};
use anyhow::Result;
use harness::kill;
use harness::servers::mysql;
use harness::stack::Role;
use harness::stack::Stack;
use harness::wait;
use kernel::jobs::JobKind;
use serde_json::json;
use sqlx::Executor;

#[tokio::test]
async fn a_provisioner_killed_around_every_step_loses_no_tenant() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("kill-steps")?).await?;
    let admin = stack.admin();
    let steps = sagas::steps(&stack, JobKind::Provision, "steps").await?;
    let mut points = kill::around_all("provision", &steps);
    points.push("append.before_lock".into());
    let operations = kill::at_each(
        &mut stack,
        Role::Provisioner,
        &points,
        async |_: &mut Stack, number: usize| {
            Ok(admin.create_tenant(&format!("t-{number}"), "T", None).await?.operation_id)
        },
        kill::later,
    )
    .await?;
    for operation in &operations {
        admin.wait_for_operation(operation, SOON).await?;
    }
    invariants::check(&stack).await
}

/// MySQL has no statement that creates a database with its marker, so a kill can come between the two. On MariaDB a
/// database without a marker is always of another owner.
#[tokio::test]
async fn a_recorded_database_without_a_marker_is_completed() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("no-marker")?).await?;
    let admin = stack.admin();
    let created = kill::at(&mut stack, Role::Provisioner, "create_database.recorded", async |_: &mut Stack| {
        admin.create_tenant("acme", "Acme", None).await
    })
    .await?;
    let mut root = world::root(&stack).await?;
    root.execute("CREATE DATABASE ai_shifu_tenant_acme; CREATE DATABASE ai_shifu_tenant_beta").await?;
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    if mysql::selected().is_some() {
        admin.wait_for_operation(&created.operation_id, SOON).await?;
    } else {
        let ended = admin.wait_for_end(&created.operation_id, SOON).await?;
        anyhow::ensure!(ended.error.as_deref().unwrap_or_default().contains("is not this tenant's"), "{ended:?}");
        root.execute("DROP DATABASE ai_shifu_tenant_acme").await?;
    }

    // A database that was there before any job was about to make it belongs to another owner, and stays.
    let beta = admin.create_tenant("beta", "Beta", None).await?;
    let ended = admin.wait_for_end(&beta.operation_id, SOON).await?;
    anyhow::ensure!(ended.error.as_deref().unwrap_or_default().contains("is not this tenant's"), "{ended:?}");
    root.execute("DROP DATABASE ai_shifu_tenant_beta").await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_control_plane_killed_around_a_commit_loses_no_request() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("kill-control")?).await?;
    let admin = stack.admin();
    let points = ["append.before_commit", "append.after_commit", "relay.before_publish", "relay.after_confirm"];
    let mut operations = Vec::new();
    for (number, point) in points.iter().enumerate() {
        let (id, key) = (format!("t-{number}"), format!("key-{number}"));
        let body = json!({"tenant_id": id, "tenant_name": "T"});
        let first = kill::at(&mut stack, Role::ControlPlane, point, async |stack: &mut Stack| {
            stack.control_planes[0].wait_ready().await?;
            let key = [("Idempotency-Key", key.as_str())];
            Ok(admin.request("POST", "/admin/tenants", Some(body.clone()), &key).await)
        })
        .await?;
        stack.control_planes[0].restart(&[("FAILPOINTS", None)]).await?;
        // The caller does not know whether its first request took effect. The same request with the same key shows it.
        let again = admin.request("POST", "/admin/tenants", Some(body), &[("Idempotency-Key", &key)]).await?;
        assert_eq!(again.status, 202, "{point}: {}", again.text);
        if let Ok(first) = first {
            assert_eq!(first.json, again.json, "{point}: the repeated request has the first answer");
        }
        operations.push(again.operation_id()?.to_owned());
    }
    for operation in &operations {
        admin.wait_for_operation(operation, SOON).await?;
    }
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_paused_worker_records_nothing_once_it_is_replaced() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("zombie")?).await?;
    let admin = stack.admin();
    let (held, points) = world::held_at("provision.apply_schema.before")?;
    stack.provisioners[0].restart(&[("FAILPOINTS", Some(&points))]).await?;
    let created = admin.create_tenant("slow", "Slow", None).await?;
    wait::until_ok(SOON, "the schema step to begin", async || {
        let operation = admin.operation(&created.operation_id).await?;
        anyhow::ensure!(operation.steps.iter().any(|step| step.name == "apply_schema"), "{:?}", operation.steps);
        Ok(())
    })
    .await?;
    stack.provisioners[0].pause()?;
    stack.add(Role::Provisioner).await?;
    let ended = admin.wait_for_operation(&created.operation_id, SOON).await?;
    assert_eq!(ended.attempts, 2, "the second provisioner took the job over");
    let before = admin.events("slow").await?;
    let log = |stack: &Stack| {
        stack.provisioners[0].log_text().matches("the worker has lost the job").count()
            + stack.provisioners[0].log_text().matches("a job ends").count()
    };
    let seen = log(&stack);
    drop(held);
    stack.provisioners[0].resume()?;
    wait::until(SOON, "the stopped provisioner to notice that it lost the job", async || {
        (log(&stack) > seen).then_some(())
    })
    .await?;
    let after = admin.events("slow").await?;
    assert_eq!(before.len(), after.len(), "the stopped provisioner recorded something");
    invariants::check(&stack).await
}
