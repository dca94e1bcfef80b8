//! Runs a job: its steps, or their undo, and then the transaction that ends it. It knows sagas and names none.

use super::progress::Progress;
use super::saga::{Abandon, EndedBy, Saga, ServerWork, Step};
use super::shared::server_objects;
use super::{ACTOR, Context, StepError, TenantJob, Tools};
use crate::server::Session;
use kernel::domain::{Command, Rejection, Tenant};
use kernel::error::chain;
use kernel::jobs::{JobError, Lease, StepRecord};
use kernel::process::failpoint;
use kernel::process::retry::wait_after;
use kernel::store::CommandError;
use std::fmt;
use std::time::Duration;
use tracing::Instrument;

/// Waits between attempts grow from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Until a step that waits for something checks again.
const NOT_YET: Duration = Duration::from_millis(200);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The job is done.
    Succeeded,
    /// The job has failed and nothing of it is left.
    Failed,
    /// There will be another attempt.
    Again,
}

impl Ended {
    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Again => "again",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes one attempt of the job under `lease`, which is of the kind of `saga`. A refusal of the system database that
/// keeps the engine itself from its work is shown in the operation and repeated like any failure. It ends the job of a
/// server with its patience. The job of a tenant ends so only if its failure means nothing for the tenant
/// ([`Attempt::may_end_unsaid`]); any other is repeated until its outcome can be appended.
pub async fn run(saga: &Saga, tools: &Tools, lease: &Lease) -> Result<Ended, JobError> {
    match attempt(saga, tools, lease).await {
        Err(error) if error.is_refusal() => {
            report_refusal(lease, &error);
            match lease.last_attempt && lease.tenant_id.is_none() {
                true => end_without_tenant(tools, lease, Some(&error.reason())).await,
                false => retry(tools, lease, &error.reason(), lease.undoing).await,
            }
        }
        ended => ended,
    }
}

fn report_refusal(lease: &Lease, error: &JobError) {
    let operation_id = lease.operation_id;
    tracing::error!(%operation_id, cause = %chain(error), "the system database refused what a job needs");
}

async fn attempt(saga: &Saga, tools: &Tools, lease: &Lease) -> Result<Ended, JobError> {
    let Some(tenant_id) = &lease.tenant_id else {
        let Some(work) = &saga.server_work else {
            let reason = format!("a job of the kind {} names no tenant", lease.kind);
            tracing::error!(operation_id = %lease.operation_id, "{reason}");
            return end_without_tenant(tools, lease, Some(&reason)).await;
        };
        return run_for_server(work, tools, lease).await;
    };
    let Some(tenant) = tools.store.tenant(tenant_id).await? else {
        tracing::error!(%tenant_id, "a job names a tenant that does not exist");
        return end_without_tenant(tools, lease, Some("there is no such tenant")).await;
    };
    if saga.follows_tenant && tenant.database.server != tools.server.id {
        // The tenant was moved after the job had been enqueued.
        let brought_there =
            saga.handed_over_as.is_some() && saga.point_of_no_return.is_passed(tools, lease, &tenant).await?;
        let mut unit = lease.begin(&tools.store).await?;
        if brought_there {
            // A worker of an older program has not recorded it.
            server_objects::leave(&mut unit, &tenant, &tools.server.id).await?;
        }
        unit.hand_over(&tenant.database.server, saga.handed_over_as.unwrap_or(lease.kind)).await?;
        unit.commit().await?;
        return Ok(Ended::Again);
    }
    let attempt = Attempt { saga, tools, lease, tenant: &tenant };
    match attempt.run().await {
        Err(error) if error.is_refusal() && attempt.may_end_unsaid().await => {
            report_refusal(lease, &error);
            end_without_tenant(tools, lease, Some(&error.reason())).await
        }
        ended => ended,
    }
}

/// One attempt of a job for a database server.
async fn run_for_server(work: &ServerWork, tools: &Tools, lease: &Lease) -> Result<Ended, JobError> {
    let error = match tokio::time::timeout(work.deadline, (work.act)(tools, lease)).await {
        Ok(Ok(EndedBy::Engine)) => return end_without_tenant(tools, lease, None).await,
        Ok(Ok(EndedBy::Work)) => return Ok(Ended::Succeeded),
        Ok(Err(StepError::Job(error))) if !error.is_refusal() => return Err(error),
        Ok(Err(error)) => error,
        Err(_) => StepError::Transient(format!("the {} took too long", lease.kind)),
    };
    let server = &tools.server.id;
    let reason = error.reason(server);
    let operation_id = lease.operation_id;
    tracing::warn!(%operation_id, server, attempt = lease.attempts, cause = %chain(&error), "an attempt failed");
    if error.may_pass() && !lease.last_attempt {
        return retry(tools, lease, &reason, false).await;
    }
    end_without_tenant(tools, lease, Some(&reason)).await
}

/// Ends a job whose end means nothing for any tenant.
async fn end_without_tenant(tools: &Tools, lease: &Lease, failed: Option<&str>) -> Result<Ended, JobError> {
    let mut unit = lease.begin(&tools.store).await?;
    unit.finish(&[], failed).await?;
    unit.commit().await?;
    Ok(if failed.is_some() { Ended::Failed } else { Ended::Succeeded })
}

async fn retry(tools: &Tools, lease: &Lease, reason: &str, undoing: bool) -> Result<Ended, JobError> {
    let wait = wait_after(lease.attempts, FIRST_WAIT, LONGEST_WAIT);
    lease.retry_after(tools.store.pool(), wait, reason, undoing).await?;
    Ok(Ended::Again)
}

/// One attempt of a job for a tenant.
struct Attempt<'a> {
    saga: &'a Saga,
    tools: &'a Tools,
    lease: &'a Lease,
    tenant: &'a Tenant,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<Ended, JobError> {
        let Self { saga, tools, lease, tenant } = self;
        if lease.undoing {
            let reason = lease.error.clone().unwrap_or_else(|| "the reason was not stored".into());
            return self.undo(&reason).await;
        }
        let mut progress = Progress::new(tools.store.pool(), lease);
        let error = match self.forward(&mut progress).await {
            Ok(()) => return self.end(Ok(progress.unshown())).await,
            Err(StepError::Job(error)) if !error.is_refusal() => return Err(error),
            Err(error) => error,
        };
        let reason = error.reason(&tools.server.id);
        if matches!(error, StepError::NotYet(_)) {
            lease.retry_after(tools.store.pool(), NOT_YET, &reason, false).await?;
            return Ok(Ended::Again);
        }
        let only_forward = saga.point_of_no_return.is_passed(tools, lease, tenant).await?;
        let tenant_id = &tenant.tenant_id;
        tracing::warn!(%tenant_id, attempt = lease.attempts, cause = %chain(&error), "an attempt failed");
        if only_forward && !matches!(error, StepError::NotBegun(_)) {
            let abandon = saga.succeed_without_server.filter(|_| error.is_away());
            return match self.without_server(abandon).await? {
                Some(_) => self.end(Ok(&[])).await,
                None => retry(tools, lease, &reason, false).await,
            };
        }
        if error.may_pass() && !lease.last_attempt {
            return retry(tools, lease, &reason, false).await;
        }
        self.undo(&reason).await
    }

    /// Whether the job may end as failed, once its patience is over, although the system database refuses what its end
    /// or its undo needs: no state of the tenant waits for it, and what it leaves is a finding of an audit. A job that
    /// is past its point of no return, or whose kind appends the failure, never ends so.
    async fn may_end_unsaid(&self) -> bool {
        let Self { saga, tools, lease, tenant } = self;
        let passed = || saga.point_of_no_return.is_passed(tools, lease, tenant);
        lease.last_attempt && saga.outcome.failed.is_none() && !matches!(passed().await, Ok(true))
    }

    /// What may be left on the server of a job that ends without it. `None`: the job's patience lasts, or the job needs
    /// the server.
    async fn without_server(&self, abandon: Option<Abandon>) -> Result<Option<String>, JobError> {
        let (Some(abandon), true) = (abandon, self.lease.last_attempt) else { return Ok(None) };
        match abandon(self.job().await?).await {
            Ok(left) => Ok(left),
            Err(StepError::Job(error)) => Err(error),
            Err(error) => {
                let tenant_id = &self.tenant.tenant_id;
                tracing::error!(%tenant_id, cause = %chain(&error), "a job cannot end without its server");
                Ok(None)
            }
        }
    }

    async fn forward(&self, progress: &mut Progress<'_>) -> Result<(), StepError> {
        let kind = self.lease.kind;
        let mut session = self.tools.open(&self.tools.server, &self.tenant.tenant_id).await?;
        let mut context = self.context(&mut session).await?;
        for (ordinal, step) in self.numbered() {
            let point = format!("{kind}.{}", step.name);
            progress.begin(ordinal, step.name);
            progress.show_while(failpoint::hit(&format!("{point}.before"))).await?;
            let span = tracing::info_span!("step", step = step.name);
            let acting = tokio::time::timeout(step.deadline, (step.act)(&mut context)).instrument(span);
            let acted = match progress.show_while(acting).await? {
                Ok(_) if failpoint::fails(&point) => {
                    Err(StepError::Permanent(format!("the step {} was made to fail", step.name)))
                }
                Ok(acted) => acted,
                Err(_) => Err(StepError::Transient(format!("the step {} took too long", step.name))),
            };
            if let Err(error) = acted {
                progress.end("failed");
                progress.show().await?;
                return Err(error);
            }
            progress.end("succeeded");
            progress.show_while(failpoint::hit(&format!("{point}.after"))).await?;
        }
        failpoint::hit(&format!("{kind}.recorded")).await;
        session.close().await;
        Ok(())
    }

    /// Undoes the steps, last one first, then ends the job as failed. Every step is undone, also one that was not
    /// begun: an attempt that was killed may have acted without recording it.
    async fn undo(&self, reason: &str) -> Result<Ended, JobError> {
        self.lease.begin_undo(self.tools.store.pool(), reason).await?;
        match self.undo_and_end(reason).await {
            Err(error) if error.is_refusal() && !self.may_end_unsaid().await => {
                report_refusal(self.lease, &error);
                let refusal = error.reason();
                match reason.contains(&refusal) {
                    true => retry(self.tools, self.lease, reason, true).await,
                    false => retry(self.tools, self.lease, &format!("{reason}; undoing it: {refusal}"), true).await,
                }
            }
            ended => ended,
        }
    }

    async fn undo_and_end(&self, reason: &str) -> Result<Ended, JobError> {
        let error = match self.unwind().await {
            Ok(()) => return self.end(Err(reason)).await,
            Err(StepError::Job(error)) if !error.is_refusal() => return Err(error),
            Err(error) => error,
        };
        // What the system database refuses to the undo on the server, it may grant to the end without the server.
        let refused = matches!(error, StepError::Job(_));
        let abandon = self.saga.abandon.filter(|_| refused || error.is_away());
        if let Some(left) = self.without_server(abandon).await? {
            return self.end(Err(&format!("{reason}; {left}"))).await;
        }
        if let StepError::Job(error) = error {
            return Err(error);
        }
        let tenant_id = &self.tenant.tenant_id;
        tracing::error!(%tenant_id, cause = %chain(&error), "undoing failed; it will be tried again");
        retry(self.tools, self.lease, reason, true).await
    }

    async fn unwind(&self) -> Result<(), StepError> {
        let kind = self.lease.kind;
        let mut session = self.tools.open(&self.tools.server, &self.tenant.tenant_id).await?;
        let mut context = self.context(&mut session).await?;
        let mut progress = Progress::new(self.tools.store.pool(), self.lease);
        for (ordinal, step) in self.numbered().into_iter().rev() {
            let point = format!("{kind}.{}", step.name);
            failpoint::hit(&format!("{point}.undo")).await;
            progress.begin(ordinal, step.name);
            if let Some(undo) = step.undo {
                let undone = tokio::time::timeout(step.deadline, undo(&mut context)).await;
                undone.unwrap_or_else(|_| Err(StepError::Transient(format!("undoing {} took too long", step.name))))?;
            }
            let undone = format!("{point}.undone");
            failpoint::hit(&undone).await;
            if failpoint::fails(&undone) {
                return Err(StepError::Permanent(format!("undoing {} was made to fail", step.name)));
            }
            progress.end("undone");
            progress.show().await?;
        }
        session.close().await;
        Ok(())
    }

    async fn job(&self) -> Result<TenantJob<'_>, JobError> {
        let Self { tools, lease, tenant, .. } = *self;
        Ok(TenantJob { tools, lease, tenant, max_connections: tools.store.connections_of(tenant).await? })
    }

    async fn context<'s>(&'s self, session: &'s mut Session) -> Result<Context<'s>, StepError> {
        let TenantJob { tools, lease, tenant, max_connections } = self.job().await?;
        Ok(Context { tools, lease, tenant, session, max_connections })
    }

    fn numbered(&self) -> Vec<(u16, &'static Step)> {
        (0..).zip(self.saga.steps).collect()
    }

    /// Appends the outcome and ends the job, in one transaction: with the steps that have not been shown yet, or with
    /// the reason of the failure.
    async fn end(&self, result: Result<&[StepRecord], &str>) -> Result<Ended, JobError> {
        let Self { saga, tools, lease, tenant } = self;
        let (unshown, failed) = result.map_or_else(|reason| (&[][..], Some(reason)), |unshown| (unshown, None));
        let mut retried = false;
        loop {
            let command = self.outcome(failed).await?;
            let mut unit = lease.begin(&tools.store).await?;
            let appended = match command {
                Some(command) => unit.execute(&tenant.tenant_id, ACTOR, command).await.map(drop),
                None => Ok(()),
            };
            let error = match appended {
                // The tenant has changed its state by itself; the job has nothing more to say.
                Ok(()) | Err(CommandError::Rejected(Rejection::State(_))) => {
                    if let Some(cleanup) = saga.outcome.cleanup {
                        cleanup(unit.connection(), tenant).await?;
                    }
                    unit.finish(unshown, failed).await?;
                    unit.commit().await?;
                    return Ok(if failed.is_some() { Ended::Failed } else { Ended::Succeeded });
                }
                Err(error) => error,
            };
            unit.rollback().await?;
            match error {
                error if error.is_conflict() && !retried => retried = true,
                CommandError::Database(error) => return Err(error.into()),
                error => {
                    let operation_id = lease.operation_id;
                    tracing::error!(%operation_id, cause = %error, "the outcome could not be appended");
                    return retry(tools, lease, &error.to_string(), failed.is_some()).await;
                }
            }
        }
    }

    async fn outcome(&self, failed: Option<&str>) -> Result<Option<Command>, JobError> {
        let Self { saga, tools, lease, tenant } = self;
        match (failed, saga.outcome.succeeded, saga.outcome.failed) {
            (None, Some(succeeded), _) => succeeded(tools, lease, tenant).await,
            (Some(reason), _, Some(failed)) => failed(tools, lease, reason).await,
            (None, None, _) | (Some(_), _, None) => Ok(None),
        }
    }
}
