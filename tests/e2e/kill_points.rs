//! kill -9 before and after every step: every accepted tenant ends active, or failed with a reason and without residue.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result};
use harness::services::Role;
use harness::stack::Stack;
use harness::wait;
use serde_json::json;

const STEPS: [&str; 5] = ["create_database", "create_user", "apply_schema", "seed_config", "verify_login"];

/// Kills the provisioner at each point once, each time with a fresh tenant, then lets a clean one finish.
async fn kill_at(name: &str, points: Vec<(String, String)>, ends: &str) -> Result<()> {
    let mut stack = Stack::start(world::without_nodes(name)?).await?;
    let admin = stack.admin();
    let mut operations = Vec::new();
    for (number, (point, more)) in points.iter().enumerate() {
        let failpoints = format!("{point}=kill{more}");
        stack.provisioners[0].restart(&[("FAILPOINTS", Some(&failpoints))]).await?;
        let created = admin.create_tenant(&format!("t-{number}"), "T", None).await?;
        operations.push(created.operation_id);
        let provisioner = &mut stack.provisioners[0];
        // A job left by the kill before may be the one that meets this point; what counts is that it is met.
        wait::until(SOON, &format!("a kill at {point}"), async || (!provisioner.is_alive()).then_some(())).await?;
    }
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    for operation in &operations {
        let ended = admin.wait_for_end(operation, SOON).await?;
        let expected = if ends == "any" { ended.status.as_str() } else { ends };
        assert_eq!(ended.status, expected, "{:?}", ended.error);
    }
    invariants::check(&stack).await
}

#[tokio::test]
async fn provisioner_killed_around_every_step() -> Result<()> {
    let mut points: Vec<_> =
        STEPS.iter().flat_map(|step| ["before", "after"].map(|when| format!("provision.{step}.{when}"))).collect();
    points.extend(
        ["provision.recorded", "append.before_lock", "append.before_commit", "append.after_commit"].map(String::from),
    );
    kill_at("kill-steps", points.into_iter().map(|point| (point, String::new())).collect(), "succeeded").await
}

#[tokio::test]
async fn provisioner_killed_while_undoing_every_step() -> Result<()> {
    let points = STEPS
        .iter()
        .map(|step| (format!("provision.{step}.undo"), ",provision.seed_config=error".to_owned()))
        .collect();
    // A job whose undo had not been begun when the clean process took it over succeeds; a begun undo is finished.
    kill_at("kill-undo", points, "any").await
}

#[tokio::test]
async fn every_step_that_fails_is_undone_without_residue() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("step-fails")?).await?;
    let admin = stack.admin();
    for step in STEPS {
        stack.provisioners[0].restart(&[("FAILPOINTS", Some(&format!("provision.{step}=error")))]).await?;
        let id = step.replace('_', "-");
        let created = admin.create_tenant(&id, "T", Some(&format!("{id}.example.com"))).await?;
        let ended = admin.wait_for_end(&created.operation_id, SOON).await?;
        assert_eq!(ended.status, "failed");
        assert!(ended.error.unwrap_or_default().contains(step));
        let tenant = admin.tenant(&id).await?;
        assert_eq!(tenant.state, "failed");
        let undone = ended.steps.iter().all(|step| step.status == "undone");
        assert!(undone, "{:?}", ended.steps);
    }
    invariants::check(&stack).await?;
    // Nothing left behind is in the way of another try.
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    for step in STEPS {
        let id = step.replace('_', "-");
        let reply = admin.post(&format!("/admin/tenants/{id}/retry"), json!({})).await?;
        admin.wait_for_operation(reply.json["operation_id"].as_str().context("an operation")?, SOON).await?;
    }
    invariants::check(&stack).await
}

#[tokio::test]
async fn control_plane_killed_between_commit_and_publish() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("kill-control")?).await?;
    let admin = stack.admin();
    let points = ["append.before_commit", "append.after_commit", "relay.before_publish", "relay.after_confirm"];
    let mut operations = Vec::new();
    for (number, point) in points.iter().enumerate() {
        stack.control_planes[0].restart(&[("FAILPOINTS", Some(&format!("{point}=kill")))]).await?;
        let (id, key) = (format!("t-{number}"), format!("key-{number}"));
        let body = json!({"tenant_id": id, "tenant_name": "T"});
        let first = admin.request("POST", "/admin/tenants", Some(body.clone()), &[("Idempotency-Key", &key)]).await;
        let control = &mut stack.control_planes[0];
        wait::until(SOON, &format!("a kill at {point}"), async || (!control.is_alive()).then_some(())).await?;
        control.restart(&[("FAILPOINTS", None)]).await?;
        // Whether the first request took effect is unknown to its caller; asking again with its key tells.
        let again = admin.request("POST", "/admin/tenants", Some(body), &[("Idempotency-Key", &key)]).await?;
        assert_eq!(again.status, 202, "{point}: {}", again.text);
        if let Ok(first) = first {
            assert_eq!(first.json, again.json, "{point}: accepted means accepted");
        }
        operations.push(again.json["operation_id"].as_str().context("an operation")?.to_owned());
    }
    for operation in &operations {
        admin.wait_for_operation(operation, SOON).await?;
    }
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_stopped_worker_does_nothing_after_it_was_replaced() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("zombie")?).await?;
    let admin = stack.admin();
    stack.provisioners[0].restart(&[("FAILPOINTS", Some("provision.apply_schema.before=slow:1500"))]).await?;
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
    assert_eq!(ended.attempts, 2, "the second worker took it over");
    let before = admin.events("slow").await?;
    stack.provisioners[0].resume()?;
    let log = |stack: &Stack| {
        stack.provisioners[0].log_text().matches("a job was let go").count()
            + stack.provisioners[0].log_text().matches("a job ends").count()
    };
    let seen = log(&stack);
    wait::until(SOON, "the stopped worker to notice", async || (log(&stack) > seen).then_some(())).await?;
    let after = admin.events("slow").await?;
    assert_eq!(before.len(), after.len(), "the stopped worker recorded something");
    invariants::check(&stack).await
}
