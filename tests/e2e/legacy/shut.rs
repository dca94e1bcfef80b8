//! While the default tenant is shut for the last pass, no job opens it. A command that is killed meanwhile leaves it
//! shut, says so, and the next command takes over.

use super::writers::start_held;
use super::{Old, REFUSED};
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::legacy::schema::Generation;
use harness::stack::Stack;
use harness::wait;
use serde_json::json;
use sqlx::ConnectOptions;
use std::time::Duration;

async fn is_shut(stack: &Stack) -> Result<()> {
    let login = world::login(stack, "default").await?.connect().await;
    ensure!(login.is_err(), "the account of the default tenant is not locked");
    Ok(())
}

async fn is_open(stack: &Stack, when: &str) -> Result<()> {
    let state = stack.admin().tenant("default").await?.state;
    ensure!(state == "active", "{when}: the default tenant is {state}");
    world::login(stack, "default").await?.connect().await.with_context(|| format!("{when}: the account is locked"))?;
    Ok(())
}

#[tokio::test]
async fn no_job_opens_the_tenant_during_the_last_pass() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-jobs")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 2000).await?;
    old.done(&stack, &["import"]).await?;
    let (held, mut cutover) = start_held(&stack, &old, &["cutover", "--skip-backup"], "legacy.before_switch")?;
    wait::until_ok(SOON, "the last pass", async || is_shut(&stack).await).await?;

    // An audit with repair finds a locked account of a tenant that may log in.
    let audit = stack.admin().post("/admin/audit", json!({"repair": true})).await?;
    ensure!(audit.status == 202, "{}", audit.text);
    let waits = "SELECT COUNT(*) FROM saas_operations
                 WHERE kind = 'audit' AND tenant_id = 'default' AND error LIKE '%provisioner legacy%'";
    wait::until(SOON, "the audit of the tenant to wait for the command", async || {
        world::number(&mut world::system(&stack).await.ok()?, waits).await.ok().filter(|jobs| *jobs == 1)
    })
    .await?;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        is_shut(&stack).await?;
    }
    drop(held);
    let ended = super::ended(&mut cutover).await?;
    ensure!(ended.success(), "a job ended the lock of the command: {ended:?}");
    is_open(&stack, "after the cut-over").await
}

#[tokio::test]
async fn a_killed_last_pass_is_taken_over() -> Result<()> {
    let stack = Stack::start(world::without_nodes("legacy-taken-over")?).await?;
    let old = Old::filled(&stack, Generation::September2025, 2000).await?;
    let killed = async |args: &[&str], point: &str| -> Result<()> {
        let mut env = old.env();
        env.push(("FAILPOINTS".to_owned(), format!("{point}=kill")));
        super::run(&stack, args, &env).await?.killed()
    };
    let status = async || old.done(&stack, &["status"]).await;
    ensure!(status().await?["stage"] == json!(null), "nothing is imported");
    old.done(&stack, &["import"]).await?;
    let shown = status().await?;
    ensure!(shown["stage"] == "imported" && shown["shut"] == false, "{shown}");

    // An ordinary sync opens the tenant that a killed last pass has left shut.
    killed(&["sync", "--final"], "legacy.shut").await?;
    is_shut(&stack).await?;
    let shown = status().await?;
    ensure!(shown["shut"] == true && shown["next"].as_str().is_some_and(|next| next.contains("again")), "{shown}");
    old.done(&stack, &["sync"]).await?;
    is_open(&stack, "after a sync").await?;

    // The same command finishes what the killed one has begun.
    killed(&["sync", "--final"], "legacy.shut").await?;
    old.done(&stack, &["sync", "--final"]).await?;
    is_open(&stack, "after another last pass").await?;
    killed(&["cutover", "--skip-backup"], "legacy.before_switch").await?;
    is_shut(&stack).await?;
    ensure!(status().await?["stage"] == "imported");

    // From the moment that the switch is recorded, the next command finishes it.
    killed(&["cutover", "--skip-backup"], "legacy.switch_recorded").await?;
    let shown = status().await?;
    ensure!(shown["stage"] == "cut_over" && shown["shut"] == true, "{shown}");
    old.run(&stack, &["cutover", "--skip-backup"]).await?.expect(REFUSED)?;
    is_open(&stack, "after the switch").await?;
    let shown = status().await?;
    ensure!(shown["stage"] == "cut_over" && shown["shut"] == false, "{shown}");
    old.assert_equal(&stack, "after the switch").await
}
