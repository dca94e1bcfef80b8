//! A worker that has lost its job writes nothing more into the system database, also not while it undoes or repairs.
//! Locks at a database server belong to one installation, and refusals of the system database end a job.

use crate::invariants;
use crate::operations::audit;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::stack::{Role, Stack};
use harness::wait;
use serde_json::json;
use sqlx::{Connection, MySqlConnection};
use std::time::Duration;

/// A lease that ends long after the test, so that a worker does not notice by itself that it has lost its job.
const LONG_LEASE: &str = "300";

/// Ends the job as another worker would that has taken it over and has undone it.
async fn take_over(system: &mut MySqlConnection, operation: &str) -> Result<()> {
    let ended = sqlx::query(
        "UPDATE saas_operations SET epoch = epoch + 1, status = 'failed', error = 'undone by another worker',
                owner = NULL, lease_until = NULL, finished_at = UTC_TIMESTAMP(6) WHERE operation_id = ?",
    )
    .bind(operation)
    .execute(system)
    .await?;
    ensure!(ended.rows_affected() == 1, "there is no operation {operation}");
    Ok(())
}

/// Starts the first provisioner again, with one worker that stops at `point`.
async fn stop_at(stack: &mut Stack, points: &str) -> Result<()> {
    let env = [("FAILPOINTS", Some(points)), ("PROVISIONER_WORKERS", Some("1")), ("JOB_LEASE", Some(LONG_LEASE))];
    stack.provisioners[0].restart(&env).await
}

async fn reached(stack: &Stack, operation: &str, step: &str) -> Result<()> {
    let admin = stack.admin();
    wait::until_ok(SOON, &format!("{operation} to undo {step}"), async || {
        let operation = admin.operation(operation).await?;
        let undoing = operation.error.as_deref().unwrap_or_default().contains("made to fail");
        let undone = |name: &str| operation.steps.iter().any(|step| step.name == name && step.status == "undone");
        ensure!(undoing && undone(step), "{:?} {:?}", operation.error, operation.steps);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_that_lost_its_job_undoes_nothing_more() -> Result<()> {
    let mut stack = Stack::start(world::with_second_server("lost-leases")?).await?;
    world::place_on_main(&stack).await?;
    let admin = stack.admin();
    let mut system = world::system(&stack).await?;
    admin.create_active_tenant("moved", None, SOON).await?;

    // The worker has dropped the user of the tenant, and is about to empty the stored credential.
    let (held, hold) = world::held_at("create_user.dropped")?;
    stop_at(&mut stack, &format!("provision.verify_login=error,{hold}")).await?;
    let created = admin.create_tenant("acme", "Acme", None).await?;
    reached(&stack, &created.operation_id, "apply_schema").await?;
    take_over(&mut system, &created.operation_id).await?;
    // What the other worker appends with the end of the job.
    stack.add(Role::Provisioner).await?;
    let undone =
        "UPDATE saas_tenant_databases SET db_username = '', db_password_encrypted = '', updated_at = updated_at
                  WHERE tenant_id = 'acme'";
    sqlx::query(undone).execute(&mut system).await?;
    let job = kernel::jobs::NewJob::for_tenant(
        kernel::jobs::JobKind::Provision,
        &"acme".parse()?,
        "main",
        Duration::from_secs(60),
    );
    let again = kernel::jobs::enqueue(&mut system, &[job]).await?[0];
    admin.wait_for_operation(&again.to_string(), SOON).await?;
    let credential = world::login(&stack, "acme").await?;
    drop(held);
    lost(&stack, 0).await?;
    let still = world::login(&stack, "acme").await.context("the worker has emptied the credential")?;
    ensure!(still.get_username() == credential.get_username());
    still_logs_in(&stack, "acme").await?;

    // The worker is about to take back a move. Meanwhile the tenant's next move has begun.
    let (held, hold) = world::held_at("move.close.undo")?;
    stop_at(&mut stack, &format!("move.copy=error,{hold}")).await?;
    let (next_held, next_hold) = world::held_at("move.copy.before")?;
    stack.provisioners[1].stop().await?;
    let begin = async || {
        let reply = admin.post("/admin/tenants/moved/database/move", json!({"server": "eu2"})).await?;
        ensure!(reply.status == 202, "{}", reply.text);
        Ok::<_, anyhow::Error>(reply.operation_id()?.to_owned())
    };
    let first = begin().await?;
    reached(&stack, &first, "await_nodes").await?;
    take_over(&mut system, &first).await?;
    stack.provisioners[1].restart(&[("FAILPOINTS", Some(&next_hold))]).await?;
    let second = begin().await?;
    wait::until_ok(SOON, "the second move to reach its copy", async || {
        let operation = admin.operation(&second).await?;
        ensure!(operation.steps.iter().any(|step| step.name == "lock_source"), "{:?}", operation.steps);
        Ok(())
    })
    .await?;
    drop(held);
    lost(&stack, 1).await?;
    let cancelled = async || {
        let events = admin.events("moved").await?;
        Ok::<_, anyhow::Error>(events.iter().filter(|event| event.kind == "tenant.database_move_cancelled").count())
    };
    ensure!(cancelled().await? == 0, "the worker has taken back the move of another worker");
    drop(next_held);
    admin.wait_for_operation(&second, SOON).await?;
    ensure!(cancelled().await? == 0);
    invariants::check(&stack).await
}

async fn still_logs_in(stack: &Stack, tenant: &str) -> Result<()> {
    use sqlx::ConnectOptions;
    world::login(stack, tenant).await?.connect().await.map(drop).with_context(|| format!("{tenant} logs in"))
}

/// Waits until the first provisioner has noticed that it has lost a job, more often than `before`.
async fn lost(stack: &Stack, before: usize) -> Result<()> {
    wait::until(SOON, "the stopped worker to notice that it lost the job", async || {
        let noticed = stack.provisioners[0].log_text().matches("the worker has lost the job").count();
        (noticed > before).then_some(())
    })
    .await
}

#[tokio::test]
async fn sessions_of_others_are_left_alone_and_refusals_end_jobs() -> Result<()> {
    let options = world::without_nodes("locks")?.with_env("control-plane", "JOB_PATIENCE", "4");
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    for id in ["acme", "beta"] {
        admin.create_active_tenant(id, None, SOON).await?;
    }
    // Another program has a lock whose name could be that of a tenant.
    let mut other = world::root(&stack).await?;
    for name in ["tenant:acme", "audit:main", "restore-test:acme"] {
        let (locked,): (i64,) = sqlx::query_as("SELECT GET_LOCK(?, 0)").bind(name).fetch_one(&mut other).await?;
        ensure!(locked == 1, "{name}");
    }
    admin.wait_for_operation(&world::rotate(&admin, "acme").await?, SOON).await?;
    audit::finds_nothing(&admin).await?;
    other.ping().await.context("the connection of another program was killed")?;

    // Two audits of one server run beside each other.
    stack.provisioners[0].restart(&[("FAILPOINTS", Some("audit.surveyed=slow:2000"))]).await?;
    for repair in [false, true] {
        let asked = admin.post("/admin/audit", json!({"repair": repair})).await?;
        ensure!(asked.status < 300, "{}", asked.text);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    world::idle(&stack).await?;
    let log = stack.provisioners[0].log_text();
    // A busy machine may have made the worker lose a tenant's job; the survey of a server has no lock of a tenant.
    let mut killed = log.lines().filter(|line| line.contains("killing the connection"));
    ensure!(killed.all(|line| line.contains("tenant:")), "an audit has ended the session of another one");
    let mut system = world::system(&stack).await?;
    let again = "SELECT COUNT(*) FROM saas_operations WHERE kind = 'audit' AND attempts > 1";
    ensure!(world::number(&mut system, again).await? == 0, "an audit was begun again");

    // A refusal of the system database is shown in the operation, and ends it with its patience.
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    sqlx::query("RENAME TABLE saas_next_credentials TO saas_next_credentials_away").execute(&mut system).await?;
    let operation = world::rotate(&admin, "beta").await?;
    wait::until_ok(SOON, "the operation to show the refusal", async || {
        let operation = admin.operation(&operation).await?;
        let error = operation.error.unwrap_or_default();
        ensure!(error.contains("the system database refused a statement (error 1146)"), "{error}");
        Ok(())
    })
    .await?;
    let ended = admin.wait_for_end(&operation, SOON).await?;
    sqlx::query("RENAME TABLE saas_next_credentials_away TO saas_next_credentials").execute(&mut system).await?;
    ensure!(ended.status == "failed", "{ended:?}");
    ensure!(ended.error.as_deref().unwrap_or_default().contains("error 1146"), "{:?}", ended.error);
    admin.wait_for_operation(&world::rotate(&admin, "beta").await?, SOON).await?;

    // A creation is not called failed before its tenant is, however long the system database refuses that.
    sqlx::query("RENAME TABLE saas_server_objects TO saas_server_objects_away").execute(&mut system).await?;
    let operation = admin.create_tenant("full", "Full", None).await?.operation_id;
    let refused = format!(
        "SELECT COUNT(*) FROM saas_operations WHERE operation_id = '{operation}' AND (status = 'failed' OR
         (status = 'running' AND undoing = 1 AND owner IS NULL AND give_up_at < UTC_TIMESTAMP(6)))"
    );
    wait::until(SOON, "the creation to be undone in vain", async || {
        world::number(&mut system, &refused).await.ok().filter(|count| *count == 1)
    })
    .await?;
    let shown = admin.operation(&operation).await?;
    ensure!(shown.status == "running" && admin.tenant("full").await?.state == "provisioning", "{shown:?}");
    ensure!(shown.error.as_deref().unwrap_or_default().contains("error 1146"), "{shown:?}");
    sqlx::query("RENAME TABLE saas_server_objects_away TO saas_server_objects").execute(&mut system).await?;
    let ended = admin.wait_for_end(&operation, SOON).await?;
    ensure!(ended.status == "failed" && ended.error.as_deref().unwrap_or_default().contains("error 1146"), "{ended:?}");
    ensure!(admin.tenant("full").await?.state == "failed");
    invariants::check(&stack).await
}
