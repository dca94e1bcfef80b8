//! Runs a job's steps, or undoes them, and appends what came of it.

use super::progress::Progress;
use super::{ACTOR, Context, Saga, Step, StepError, Tools, audit, elsewhere, moving, purge, restore, rotate};
use crate::backup::job as backup;
use crate::server::Session;
use kernel::database::migrate::tenant_schema;
use kernel::domain::{Command, Rejection, Tenant, TenantId};
use kernel::error::chain;
use kernel::jobs::{JobError, JobKind, Lease, StepRecord};
use kernel::process::failpoint;
use kernel::process::retry::wait_after;
use kernel::store::CommandError;
use std::fmt;
use std::time::Duration;
use tracing::Instrument;

/// Longest time for the survey of a server: ten thousand tenants take seconds on MariaDB and a minute on MySQL.
const SURVEY_DEADLINE: Duration = Duration::from_secs(600);
/// Waits between attempts.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Until somebody who is waited for is asked again.
const NOT_YET: Duration = Duration::from_millis(200);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The job is done.
    Succeeded,
    /// The job has failed and nothing of it is left.
    Failed,
    /// There will be another attempt.
    Again,
}

impl Outcome {
    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Again => "again",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One attempt of the job under `lease`.
pub async fn run(tools: &Tools, lease: &Lease) -> Result<Outcome, JobError> {
    let Some(tenant_id) = &lease.tenant_id else { return for_server(tools, lease).await };
    let Saga { steps, way_back } = Saga::of(lease.kind);
    let Some(tenant) = tools.store.tenant(tenant_id).await? else {
        tracing::error!(%tenant_id, "a job names a tenant that does not exist");
        return end(tools, lease, None, Err("there is no such tenant")).await;
    };
    // Asked for before the tenant was moved. What is asked for is the same; it is another server's work now.
    let leads_elsewhere = matches!(lease.kind, JobKind::Move | JobKind::RestoreElsewhere);
    if !leads_elsewhere && tenant.database.server != tools.server.id {
        lease.hand_over(tools.store.pool(), &tenant.database.server).await?;
        return Ok(Outcome::Again);
    }
    if lease.undoing {
        let reason = lease.error.clone().unwrap_or_else(|| "the reason was not kept".into());
        return undo(tools, lease, &tenant, steps, &reason).await;
    }
    let mut progress = Progress::new(tools.store.pool(), lease);
    let error = match forward(tools, lease, &tenant, steps, &mut progress).await {
        Ok(()) => return end(tools, lease, Some(&tenant), Ok(progress.unshown())).await,
        Err(StepError::Job(error)) => return Err(error),
        Err(error) => error,
    };
    let reason = error.reason(&tools.server.id);
    if matches!(error, StepError::NotYet(_)) {
        lease.retry_after(tools.store.pool(), NOT_YET, &reason, false).await?;
        return Ok(Outcome::Again);
    }
    let way_back = way_back && !is_past_return(tools, lease, tenant_id).await?;
    tracing::warn!(%tenant_id, attempt = lease.attempts, cause = %chain(&error), "an attempt failed");
    if !way_back || (error.may_pass() && !lease.last_attempt) {
        let wait = wait_after(lease.attempts, FIRST_WAIT, LONGEST_WAIT);
        lease.retry_after(tools.store.pool(), wait, &reason, false).await?;
        return Ok(Outcome::Again);
    }
    undo(tools, lease, &tenant, steps, &reason).await
}

/// Whether a job that could be undone has come so far that it is only ever finished.
async fn is_past_return(tools: &Tools, lease: &Lease, tenant_id: &TenantId) -> Result<bool, JobError> {
    match lease.kind {
        JobKind::Rotate => rotate::is_switched(tools, tenant_id).await,
        JobKind::Move => moving::is_moved(tools, tenant_id).await,
        JobKind::RestoreElsewhere => elsewhere::is_here(tools, tenant_id).await,
        JobKind::Restore | JobKind::RestoreNew => Ok(restore::restored(tools, lease).await?.is_some()),
        _ => Ok(false),
    }
}

/// One attempt of a job that is no tenant's. It changes nothing that would have to be undone.
async fn for_server(tools: &Tools, lease: &Lease) -> Result<Outcome, JobError> {
    let backup = matches!(lease.kind, JobKind::Backup | JobKind::RestoreTest);
    let acted = if backup {
        tokio::time::timeout(backup::DEADLINE, backup::act(tools, lease, tools.retention)).await
    } else {
        tokio::time::timeout(SURVEY_DEADLINE, audit::survey::act(tools, lease)).await
    };
    let error = match acted {
        Ok(Ok(())) if backup => return end(tools, lease, None, Ok(&[])).await,
        Ok(Ok(())) => return Ok(Outcome::Succeeded),
        Ok(Err(StepError::Job(error))) => return Err(error),
        Ok(Err(error)) => error,
        Err(_) => StepError::Transient(format!("the {} took too long", lease.kind)),
    };
    let server = &tools.server.id;
    let reason = error.reason(server);
    tracing::warn!(server, attempt = lease.attempts, cause = %chain(&error), "an attempt failed");
    if error.may_pass() && !lease.last_attempt {
        let wait = wait_after(lease.attempts, FIRST_WAIT, LONGEST_WAIT);
        lease.retry_after(tools.store.pool(), wait, &reason, false).await?;
        return Ok(Outcome::Again);
    }
    end(tools, lease, None, Err(&reason)).await
}

async fn forward(
    tools: &Tools,
    lease: &Lease,
    tenant: &Tenant,
    steps: &[Step],
    progress: &mut Progress<'_>,
) -> Result<(), StepError> {
    let mut session = Session::open(&tools.server, &tenant.tenant_id).await?;
    let max_connections = tools.store.connections_of(tenant).await.map_err(JobError::from)?;
    let repeated = lease.attempts > 1;
    let mut context = Context { tools, lease, tenant, session: &mut session, max_connections, repeated };
    for (ordinal, step) in numbered(steps) {
        progress.begin(ordinal, step.name());
        progress.show_while(failpoint::hit(&format!("{}.{}.before", lease.kind, step.name()))).await?;
        let span = tracing::info_span!("step", step = step.name());
        let acting = tokio::time::timeout(step.deadline(), step.act(&mut context)).instrument(span);
        let acted = match progress.show_while(acting).await? {
            Ok(_) if failpoint::fails(&format!("{}.{}", lease.kind, step.name())) => {
                Err(StepError::Permanent(format!("the step {} was made to fail", step.name())))
            }
            Ok(acted) => acted,
            Err(_) => Err(StepError::Transient(format!("the step {} took too long", step.name()))),
        };
        if let Err(error) = acted {
            progress.end("failed");
            progress.show().await?;
            return Err(error);
        }
        progress.end("succeeded");
        progress.show_while(failpoint::hit(&format!("{}.{}.after", lease.kind, step.name()))).await?;
    }
    failpoint::hit(&format!("{}.recorded", lease.kind)).await;
    session.close().await;
    Ok(())
}

fn numbered(steps: &[Step]) -> Vec<(u16, Step)> {
    (0..).zip(steps.iter().copied()).collect()
}

/// Undoes the steps, last one first, then ends the job as failed. Every step is undone, also those that were not begun:
/// an attempt that was killed may have acted without recording it.
async fn undo(
    tools: &Tools,
    lease: &Lease,
    tenant: &Tenant,
    steps: &[Step],
    reason: &str,
) -> Result<Outcome, JobError> {
    lease.begin_undo(tools.store.pool(), reason).await?;
    match unwind(tools, lease, tenant, steps).await {
        Ok(()) => end(tools, lease, Some(tenant), Err(reason)).await,
        Err(StepError::Job(error)) => Err(error),
        Err(error) => {
            tracing::error!(tenant_id = %tenant.tenant_id, cause = %chain(&error), "undoing failed; it will be tried again");
            let wait = wait_after(lease.attempts, FIRST_WAIT, LONGEST_WAIT);
            lease.retry_after(tools.store.pool(), wait, reason, true).await?;
            Ok(Outcome::Again)
        }
    }
}

async fn unwind(tools: &Tools, lease: &Lease, tenant: &Tenant, steps: &[Step]) -> Result<(), StepError> {
    let mut session = Session::open(&tools.server, &tenant.tenant_id).await?;
    let max_connections = tools.store.connections_of(tenant).await.map_err(JobError::from)?;
    let repeated = lease.attempts > 1;
    let mut context = Context { tools, lease, tenant, session: &mut session, max_connections, repeated };
    let mut progress = Progress::new(tools.store.pool(), lease);
    for (ordinal, step) in numbered(steps).into_iter().rev() {
        failpoint::hit(&format!("{}.{}.undo", lease.kind, step.name())).await;
        progress.begin(ordinal, step.name());
        let undone = tokio::time::timeout(step.deadline(), step.undo(&mut context)).await;
        undone.unwrap_or_else(|_| Err(StepError::Transient(format!("undoing {} took too long", step.name()))))?;
        let undone = format!("{}.{}.undone", lease.kind, step.name());
        failpoint::hit(&undone).await;
        if failpoint::fails(&undone) {
            return Err(StepError::Permanent(format!("undoing {} was made to fail", step.name())));
        }
        progress.end("undone");
        progress.show().await?;
    }
    session.close().await;
    Ok(())
}

/// Appends the outcome and ends the job, in one transaction, with the steps that nobody has been shown yet; or, of a job
/// that failed, with the reason.
async fn end(
    tools: &Tools,
    lease: &Lease,
    tenant: Option<&Tenant>,
    result: Result<&[StepRecord], &str>,
) -> Result<Outcome, JobError> {
    let (unshown, failed) = result.map_or_else(|reason| (&[][..], Some(reason)), |unshown| (unshown, None));
    let mut retried = false;
    loop {
        let command = match tenant {
            Some(tenant) => outcome(tools, lease, tenant, failed).await?,
            None => None,
        };
        let mut unit = tools.store.begin().await?;
        let appended = match (tenant, command) {
            (Some(tenant), Some(command)) => unit.execute(&tenant.tenant_id, ACTOR, command).await.map(drop),
            _ => Ok(()),
        };
        let error = match appended {
            // The tenant has moved on by itself; the job has nothing more to say.
            Ok(()) | Err(CommandError::Rejected(Rejection::State(_))) => {
                if let (JobKind::Rotate, Some(tenant_id)) = (lease.kind, &lease.tenant_id) {
                    rotate::forget(unit.connection(), tenant_id).await?;
                }
                lease.record(unit.connection(), unshown).await?;
                lease.finish(unit.connection(), failed).await?;
                unit.commit().await?;
                return Ok(if failed.is_some() { Outcome::Failed } else { Outcome::Succeeded });
            }
            Err(error) => error,
        };
        unit.rollback().await?;
        match error {
            error if error.is_conflict() && !retried => retried = true,
            CommandError::Database(error) => return Err(error.into()),
            error => {
                tracing::error!(operation_id = %lease.operation_id, cause = %error, "the outcome could not be appended");
                let wait = wait_after(lease.attempts, FIRST_WAIT, LONGEST_WAIT);
                lease.retry_after(tools.store.pool(), wait, &error.to_string(), failed.is_some()).await?;
                return Ok(Outcome::Again);
            }
        }
    }
}

/// What the end of a job means for the tenant, if anything.
async fn outcome(
    tools: &Tools,
    lease: &Lease,
    tenant: &Tenant,
    failed: Option<&str>,
) -> Result<Option<Command>, JobError> {
    Ok(match (lease.kind, failed) {
        (JobKind::Provision | JobKind::RestoreNew, Some(reason)) => {
            Some(Command::FailProvisioning { reason: reason.to_owned() })
        }
        (JobKind::Provision, None) => Some(Command::CompleteProvisioning {
            server: tools.server.id.clone(),
            host: tools.server.host.clone(),
            port: tools.server.port,
            schema_version: tenant_schema(),
        }),
        (JobKind::RestoreNew, None) => {
            let (server, host, port) = (tools.server.id.clone(), tools.server.host.clone(), tools.server.port);
            let from = restore::restored(tools, lease).await?;
            from.map(|from| Command::CompleteProvisioningFromBackup { server, host, port, from })
        }
        (JobKind::Restore, None) => {
            let end_maintenance = restore::ends_maintenance(tools, lease).await?;
            let from = restore::restored(tools, lease).await?;
            from.map(|from| Command::CompleteRestore { from, end_maintenance })
        }
        // The data in use is what it was.
        (JobKind::Restore, Some(_)) => {
            let ends = restore::ends_maintenance(tools, lease).await?;
            ends.then_some(Command::SetMaintenance { enabled: false })
        }
        (JobKind::Purge, None) => {
            Some(Command::CompletePurge { certificate: purge::certificate(tools, tenant).await? })
        }
        // The switch, the move, the schema and the repairs are appended by their steps.
        (JobKind::Purge, Some(_))
        | (JobKind::Enforce | JobKind::Configure | JobKind::Rotate, _)
        | (JobKind::Move | JobKind::Migrate | JobKind::RestoreElsewhere | JobKind::Audit, _) => None,
        (JobKind::Backup | JobKind::RestoreTest, _) => None,
    })
}
