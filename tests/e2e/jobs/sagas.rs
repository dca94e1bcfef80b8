//! Every step of every saga fails once. Every undo fails once, and is repeated after a kill between the undo and its
//! record.
//!
//! The kinds are those that the admin API requests for a tenant; [`crate::jobs::backups`] and
//! [`crate::jobs::statistics`] have the others. The steps are those that the provisioner itself reports for a clean run,
//! so no new step is left out.
//! [`crate::jobs::kill_points`], [`crate::jobs::rotation`], [`crate::tenants::deletion`] and
//! [`crate::operations::audit`] kill the provisioner before and after each step.

mod job;

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::{Admin, Operation};
use harness::kill;
use harness::stack::{Role, Stack};
use harness::wait;
use job::Job;
use kernel::jobs::JobKind;
use serde_json::json;
use std::time::Duration;

/// Time in which a job must report the failure that the test causes.
const FAILS: Duration = Duration::from_secs(20);
/// The kinds of jobs that can be undone.
const UNDONE: [JobKind; 5] = [JobKind::Provision, JobKind::Rotate, JobKind::Move, JobKind::Migrate, JobKind::Audit];

/// The kinds that this test covers: all that the admin API requests for a tenant.
fn kinds() -> Vec<JobKind> {
    JobKind::ALL.iter().copied().filter(|kind| job::is_of_the_api(*kind)).collect()
}

/// The names of the steps of a kind of job, as the provisioner runs them. Leaves the tenant `<name>-<kind>` behind.
pub async fn steps(stack: &Stack, kind: JobKind, name: &str) -> Result<Vec<String>> {
    let job = Job::prepare(stack, kind, name).await?;
    let ended = stack.admin().wait_for_operation(&job.begin(stack).await?, SOON).await?;
    let steps: Vec<String> = ended.steps.into_iter().map(|step| step.name).collect();
    ensure!(!steps.is_empty(), "{kind} has no step");
    Ok(steps)
}

/// A short name for the tenants of a step: the id of a tenant has 32 characters at most.
fn named(what: &str, ordinal: usize) -> String {
    format!("{what}-{ordinal}")
}

/// Waits until the job has failed at its step: it has ended, or will be tried again.
async fn failure(admin: &Admin, operation: &str, step: &str) -> Result<Operation> {
    wait::until_ok(FAILS, &format!("{step} to fail"), async || {
        let operation = admin.operation(operation).await?;
        let error = operation.error.clone().unwrap_or_default();
        ensure!(error.contains(step) && error.contains("made to fail"), "{}: {error}", operation.status);
        Ok(operation)
    })
    .await
}

/// The failed operation of a kind that can be undone. `None` if the job has not failed a moment after its first
/// failure.
async fn verdict(admin: &Admin, kind: JobKind, operation: &str) -> Option<Operation> {
    if !UNDONE.contains(&kind) {
        return None;
    }
    let failed = async || admin.operation(operation).await.ok().filter(|operation| operation.status == "failed");
    wait::until(Duration::from_secs(2), "the job to fail", failed).await.ok()
}

async fn all_steps(stack: &Stack, kinds: &[JobKind]) -> Result<Vec<(JobKind, Vec<String>)>> {
    let mut all = Vec::new();
    for kind in kinds {
        all.push((*kind, steps(stack, *kind, "steps").await?));
    }
    Ok(all)
}

#[tokio::test]
async fn a_saga_whose_step_fails_is_undone_or_finished() -> Result<()> {
    let mut stack = Stack::start(world::with_second_server("sagas-fail")?).await?;
    world::place_on_main(&stack).await?;
    let admin = stack.admin();
    let sagas = all_steps(&stack, &kinds()).await?;
    let rounds = sagas.iter().map(|(_, steps)| steps.len()).max().unwrap_or(0);
    let mut jobs = Vec::new();
    for round in 0..rounds {
        for (kind, steps) in sagas.iter().filter(|(_, steps)| round < steps.len()) {
            jobs.push((round, steps[round].clone(), Job::prepare(&stack, *kind, &named("fail", round)).await?));
        }
    }
    world::idle(&stack).await?;
    let mut seen = (0, 0);
    for round in 0..rounds {
        let now: Vec<_> = jobs.iter().filter(|(number, ..)| *number == round).collect();
        // One step of each kind fails at a time, so the failures do not meet.
        let points: Vec<String> = now.iter().map(|(_, step, job)| format!("{}.{step}=error", job.kind)).collect();
        stack.provisioners[0].restart(&[("FAILPOINTS", Some(&points.join(",")))]).await?;
        let mut begun = Vec::new();
        for (_, step, job) in &now {
            begun.push((step, job, job.begin(&stack).await?));
        }
        let mut unfinished = Vec::new();
        for (step, job, operation) in begun {
            let met = failure(&admin, &operation, step).await.with_context(|| format!("{} of {}", step, job.tenant))?;
            match verdict(&admin, job.kind, &operation).await {
                Some(ended) => {
                    let all = ended.steps.iter().all(|step| step.status == "undone");
                    ensure!(all, "{}: {:?}", job.tenant, ended.steps);
                    job.undone(&stack).await?;
                    seen.0 += 1;
                }
                None => {
                    ensure!(met.status != "succeeded", "{} succeeded without its step {step}", job.tenant);
                    unfinished.push((job, operation));
                }
            }
        }
        // A job past its point of no return is finished as soon as it can be.
        stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
        for (job, operation) in unfinished {
            admin.wait_for_operation(&operation, SOON).await?;
            job.succeeded(&stack).await?;
            seen.1 += 1;
        }
    }
    let total: usize = sagas.iter().map(|(_, steps)| steps.len()).sum();
    ensure!(seen.0 + seen.1 == total, "{seen:?} of {total}");
    // A rotation and a move are undone up to their point of no return, and finished after it.
    let of = |wanted| sagas.iter().find(|(kind, _)| *kind == wanted).map_or(0, |(_, steps)| steps.len());
    ensure!(
        seen.0 == of(JobKind::Provision) + of(JobKind::Migrate) + of(JobKind::Audit) + 2 + 7,
        "undone and finished: {seen:?}"
    );
    invariants::check(&stack).await?;
    for (_, _, job) in jobs.iter().filter(|(.., job)| job.kind == JobKind::Provision) {
        let reply = admin.post(&format!("/admin/tenants/{}/retry", job.tenant), json!({})).await?;
        admin.wait_for_operation(reply.operation_id()?, SOON).await?;
        job.succeeded(&stack).await?;
    }
    invariants::check(&stack).await
}

#[tokio::test]
async fn an_undo_that_fails_is_repeated_until_nothing_is_left() -> Result<()> {
    let mut stack = Stack::start(world::with_second_server("undo-fails")?).await?;
    world::place_on_main(&stack).await?;
    let admin = stack.admin();
    let sagas = all_steps(&stack, &UNDONE).await?;
    let mut jobs = Vec::new();
    for (kind, steps) in &sagas {
        for ordinal in 0..steps.len() {
            let job = Job::prepare(&stack, *kind, &named("undo", ordinal)).await?;
            jobs.push((ordinal, failing(*kind, steps), steps[ordinal].clone(), job));
        }
    }
    let rounds = jobs.iter().map(|(ordinal, ..)| ordinal + 1).max().unwrap_or(0);
    let mut begun = Vec::new();
    for round in 0..rounds {
        let now: Vec<_> = jobs.iter().filter(|(number, ..)| *number == round).collect();
        let points: Vec<String> = now
            .iter()
            .map(|(_, failing, step, job)| format!("{0}.{failing}=error,{0}.{step}.undone=error", job.kind))
            .collect();
        stack.provisioners[0].restart(&[("FAILPOINTS", Some(&points.join(",")))]).await?;
        let mut met = Vec::new();
        for (_, failing, step, job) in &now {
            met.push((failing, step, job, job.begin(&stack).await?));
        }
        for (failing, step, job, operation) in met {
            failure(&admin, &operation, failing).await?;
            // The undo is attempted at least twice. The job is not called failed while something may be left.
            let again = wait::until_ok(FAILS, &format!("undoing {step} to be repeated"), async || {
                let operation = admin.operation(&operation).await?;
                ensure!(operation.attempts >= 2, "{} attempts", operation.attempts);
                Ok(operation)
            })
            .await?;
            ensure!(again.status == "running", "{}: {} while undoing {step} fails", job.tenant, again.status);
            begun.push((operation, job));
        }
    }
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    undone(&stack, &begun).await
}

#[tokio::test]
async fn every_undo_is_repeated_after_a_kill_around_it() -> Result<()> {
    let mut stack = Stack::start(world::with_second_server("undo-killed")?).await?;
    world::place_on_main(&stack).await?;
    let sagas = all_steps(&stack, &UNDONE).await?;
    let mut jobs = Vec::new();
    for (kind, steps) in &sagas {
        // The first two steps of a move have an undo.
        let with_undo = if *kind == JobKind::Move { 2 } else { steps.len() };
        for (ordinal, step) in steps.iter().enumerate().take(with_undo) {
            for point in ["undo", "undone"] {
                let job = Job::prepare(&stack, *kind, &named(point, ordinal)).await?;
                jobs.push((failing(*kind, steps), format!("{kind}.{step}.{point}"), job));
            }
        }
    }
    let points: Vec<String> =
        jobs.iter().map(|(failing, point, job)| format!("{}.{failing}=error,{point}", job.kind)).collect();
    let begun = kill::at_each(
        &mut stack,
        Role::Provisioner,
        &points,
        async |stack: &mut Stack, number: usize| jobs[number].2.begin(stack).await,
        kill::later,
    )
    .await?;
    // A job that an earlier kill left may be the one that met the point. A job whose undo had not begun then succeeds.
    let mut ended = Vec::new();
    for (operation, (.., job)) in begun.into_iter().zip(&jobs) {
        match stack.admin().wait_for_end(&operation, SOON).await?.status.as_str() {
            "failed" => ended.push((operation, job)),
            _ => job.succeeded(&stack).await?,
        }
    }
    ensure!(ended.len() > jobs.len() / 2, "only {} of {} were undone", ended.len(), jobs.len());
    undone(&stack, &ended).await
}

/// The step whose failure undoes the most: the last one before the point of no return.
fn failing(kind: JobKind, steps: &[String]) -> String {
    let undoable = match kind {
        JobKind::Rotate => 2,
        JobKind::Move => 7,
        _ => steps.len(),
    };
    steps[..undoable].last().cloned().unwrap_or_default()
}

async fn undone(stack: &Stack, jobs: &[(String, &Job)]) -> Result<()> {
    for (operation, job) in jobs {
        let ended = stack.admin().wait_for_end(operation, SOON).await?;
        ensure!(ended.status == "failed", "{}: {}", job.tenant, ended.status);
        ensure!(ended.error.as_deref().is_some_and(|error| error.contains("made to fail")), "{:?}", ended.error);
        job.undone(stack).await?;
    }
    let mut system = world::system(stack).await?;
    let left = world::number(&mut system, "SELECT COUNT(*) FROM saas_next_credentials").await?;
    ensure!(left == 0, "{left} credentials of undone rotations are still stored");
    invariants::check(stack).await
}
