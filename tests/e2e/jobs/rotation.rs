//! A tenant's database gets another credential. No request fails, and nothing of the former one is left.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::kill;
use harness::load::Load;
use harness::stack::{Role, Stack, StackOptions};
use harness::wait;
use serde_json::json;
use sqlx::ConnectOptions;
use std::time::Duration;

const TENANTS: [&str; 3] = ["t-0", "t-1", "t-2"];
const CLIENTS: usize = 6;
const ROUNDS: usize = 3;
const STEPS: [&str; 6] = ["prepare_user", "verify_next", "switch", "await_nodes", "retire_user", "enforce"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_under_load_fail_no_request() -> Result<()> {
    let stack = Stack::start(StackOptions::for_test("rotation")?).await?;
    let admin = stack.admin();
    let token = world::fleet(&stack, &TENANTS).await?;
    let api = stack.tenant_api(0);
    let mut load = Load::new();
    for client in 0..CLIENTS {
        load.client(world::orders(&api, &token, move |_| TENANTS[client % TENANTS.len()].to_owned()));
    }
    let mut root = world::root(&stack).await?;
    for round in 0..ROUNDS {
        load.check()?;
        let mut former = Vec::new();
        for id in TENANTS {
            former.push(world::login(&stack, id).await?);
        }
        let mut operations = Vec::new();
        for id in TENANTS {
            operations.push(world::rotate(&admin, id).await?);
        }
        for operation in &operations {
            let ended = admin.wait_for_operation(operation, SOON).await?;
            let steps: Vec<_> = ended.steps.iter().map(|step| step.name.as_str()).collect();
            assert_eq!(steps, STEPS);
        }
        for (id, former) in TENANTS.iter().zip(&former) {
            let now = world::login(&stack, id).await?;
            ensure!(now.get_username() != former.get_username(), "round {round}: {id} has its former user");
            ensure!(former.connect().await.is_err(), "round {round}: the former credential of {id} logs in");
            ensure!(now.connect().await.is_ok(), "round {round}: the credential of {id} does not log in");
            let left = world::sessions_of(&mut root, former.get_username()).await?;
            ensure!(left == 0, "round {round}: the former user of {id} has {left} sessions");
        }
    }
    ensure!(load.end().await?.served > 100, "there was too little load");
    let kinds: Vec<_> = admin.events("t-0").await?.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds[kinds.len() - 2..], ["tenant.database_rotation_requested", "tenant.database_rotated"]);
    check_nothing_is_pending(&stack).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_rotation_killed_at_every_step_converges() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("rotation-killed")?).await?;
    let admin = stack.admin();
    let points = kill::around_all("rotate", &STEPS);
    for number in 0..points.len() {
        admin.create_active_tenant(&format!("t-{number}"), None, SOON).await?;
    }
    let mut former = Vec::new();
    for number in 0..points.len() {
        former.push(world::login(&stack, &format!("t-{number}")).await?);
    }
    let operations = kill::at_each(
        &mut stack,
        Role::Provisioner,
        &points,
        async |_: &mut Stack, number: usize| world::rotate(&admin, &format!("t-{number}")).await,
        async |stack: &mut Stack, number: usize| {
            // Whatever the job has done so far, the stored credential works.
            let login = world::login(stack, &format!("t-{number}")).await?.connect().await;
            ensure!(login.is_ok(), "t-{number} is locked out");
            Ok(())
        },
    )
    .await?;
    for (number, (operation, former)) in operations.iter().zip(&former).enumerate() {
        admin.wait_for_operation(operation, SOON).await?;
        let now = world::login(&stack, &format!("t-{number}")).await?;
        ensure!(now.get_username() != former.get_username(), "{}", points[number]);
        ensure!(now.connect().await.is_ok() && former.connect().await.is_err(), "{}", points[number]);
        let switches = admin.events(&format!("t-{number}")).await?;
        let switches = switches.iter().filter(|event| event.kind == "tenant.database_rotated").count();
        assert_eq!(switches, 1, "{}", points[number]);
    }
    check_nothing_is_pending(&stack).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_failed_rotation_changes_nothing_and_no_node_blocks_it() -> Result<()> {
    let mut stack = Stack::start(StackOptions::for_test("rotation-failed")?).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", None, SOON).await?;
    let former = world::login(&stack, "acme").await?;
    stack.provisioners[0].restart(&[("FAILPOINTS", Some("rotate.verify_next=error"))]).await?;
    let ended = admin.wait_for_end(&world::rotate(&admin, "acme").await?, SOON).await?;
    assert_eq!(ended.status, "failed");
    assert_eq!(world::login(&stack, "acme").await?.get_username(), former.get_username());
    check_nothing_is_pending(&stack).await?;
    invariants::check(&stack).await?;

    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    // The node is paused. The provisioner must assume that it still serves with the former credential.
    stack.data_planes[0].pause()?;
    let operation = world::rotate(&admin, "acme").await?;
    let reply = admin.post("/admin/tenants/acme/database/rotate", json!({})).await?;
    assert_eq!((reply.status, reply.error()), (409, "operation_in_progress"), "{}", reply.text);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(admin.operation(&operation).await?.status, "running", "the node has not answered");
    ensure!(former.connect().await.is_ok(), "the former credential works until then");
    // The wait for nodes does not delay a suspension.
    admin.post("/admin/tenants/acme/suspend", json!({"reason": "unpaid"})).await?;
    wait::until(Duration::from_secs(3), "the suspension to hold", async || {
        let now = world::login(&stack, "acme").await.ok()?;
        (now.connect().await.is_err() && former.connect().await.is_err()).then_some(())
    })
    .await?;
    admin.wait_for_operation(&operation, SOON).await?;
    ensure!(world::login(&stack, "acme").await?.connect().await.is_err(), "the rotation unlocked a suspended tenant");
    let reply = admin.post("/admin/tenants/acme/database/rotate", json!({})).await?;
    assert_eq!((reply.status, reply.error()), (409, "invalid_state"), "{}", reply.text);
    stack.data_planes[0].resume()?;
    admin.post("/admin/tenants/acme/resume", json!({})).await?;
    invariants::check(&stack).await
}

async fn check_nothing_is_pending(stack: &Stack) -> Result<()> {
    let mut system = world::system(stack).await?;
    ensure!(
        world::number(&mut system, "SELECT COUNT(*) FROM saas_next_credentials").await? == 0,
        "a credential of an unfinished rotation is stored"
    );
    Ok(())
}
