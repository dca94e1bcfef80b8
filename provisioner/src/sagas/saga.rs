//! The shape of a saga: what a kind of job tells the engine about itself.

use super::{Context, StepError, TenantJob, Tools};
use futures::future::BoxFuture;
use kernel::domain::{Command, Tenant};
use kernel::jobs::{JobError, JobKind, Lease};
use sqlx::MySqlConnection;
use std::time::Duration;

/// Longest time for one step; DDL of 21 tables takes a tenth of a second on an idle server.
const STEP_DEADLINE: Duration = Duration::from_secs(60);
/// Longest time for work that reads or writes all rows of a tenant of 100 GB.
pub const WITH_ALL_ROWS: Duration = Duration::from_secs(6 * 3600);

/// A kind of job.
pub struct Saga {
    /// The steps of a job for one tenant, in order.
    pub steps: &'static [Step],
    /// What a job of this kind does when it is for a database server instead of a tenant; `None`: there are no such
    /// jobs.
    pub server_work: Option<ServerWork>,
    /// Whether the job is handed to the server that its tenant is on. A job that itself brings the tenant to another
    /// server stays where it was enqueued.
    pub follows_tenant: bool,
    /// The kind that it is handed over as, if it has brought the tenant to that server itself; `None`: its own. What
    /// the tenant has on the server that it has left is recorded as left in the same transaction.
    pub handed_over_as: Option<JobKind>,
    /// From when on the job is only ever repeated until it succeeds.
    pub point_of_no_return: PointOfNoReturn,
    /// How the job is undone when its server stays away for longer than the job's patience, or the system database
    /// refuses what its undo needs; `None`: it waits for them.
    pub abandon: Option<Abandon>,
    /// How a job that can only succeed ends when its server stays away for longer than the job's patience; `None`: it
    /// waits for the server.
    pub succeed_without_server: Option<Abandon>,
    /// What the end of the job means for the tenant.
    pub outcome: Outcome,
}

impl Saga {
    /// A saga of these steps that can be undone until it ends, and whose end appends nothing.
    pub const fn of_tenant(steps: &'static [Step]) -> Self {
        Self {
            steps,
            server_work: None,
            follows_tenant: true,
            handed_over_as: None,
            point_of_no_return: PointOfNoReturn::AtEnd,
            abandon: None,
            succeed_without_server: None,
            outcome: Outcome::NOTHING,
        }
    }

    /// A kind of job that is only ever for a database server.
    pub const fn of_server(work: ServerWork) -> Self {
        Self { server_work: Some(work), ..Self::of_tenant(&[]) }
    }
}

/// What a step does, or how it is undone.
pub type Act = for<'a> fn(&'a mut Context<'_>) -> BoxFuture<'a, Result<(), StepError>>;

/// A step of a saga. It checks what is there, acts, and verifies; so it can be repeated after any failure or kill.
#[derive(Clone, Copy)]
pub struct Step {
    /// Its name in operations, metrics and failpoints.
    pub name: &'static str,
    /// Longest time for it, and for its undo.
    pub deadline: Duration,
    /// Does the work of the step, or finds that it is done.
    pub act: Act,
    /// Its compensation; `None`: it leaves nothing that would have to be undone.
    pub undo: Option<Act>,
}

impl Step {
    /// A step of at most a minute without an undo.
    pub const fn new(name: &'static str, act: Act) -> Self {
        Self { name, deadline: STEP_DEADLINE, act, undo: None }
    }

    /// The same step with another deadline.
    pub const fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The same step with an undo.
    pub const fn undone_by(self, undo: Act) -> Self {
        Self { undo: Some(undo), ..self }
    }
}

/// Does in the system database what the steps or their undo would have done there, and records what may be left on the
/// server. Returns that in a sentence for the operator; `None`: the job waits for its server all the same.
pub type Abandon = for<'a> fn(TenantJob<'a>) -> BoxFuture<'a, Result<Option<String>, StepError>>;

/// The work of a job that is for a database server. It changes nothing that would have to be undone.
pub struct ServerWork {
    /// Longest time for it.
    pub deadline: Duration,
    /// Does the work. A failure that may pass is tried again.
    pub act: for<'a> fn(&'a Tools, &'a Lease) -> BoxFuture<'a, Result<EndedBy, StepError>>,
}

/// What ends a job for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    Engine,
    /// The work itself, in the transaction that stored its results.
    Work,
}

/// From when on a job of a tenant is never undone. Whether a job is past that point is read from stored state, so a
/// worker that takes the job over gets the same answer.
pub enum PointOfNoReturn {
    /// The job can be given up and undone until it has ended.
    AtEnd,
    /// What the job makes true is decided already: it is repeated until it succeeds.
    AtStart,
    /// The function says whether the job is past it.
    Reached(for<'a> fn(&'a Tools, &'a Lease, &'a Tenant) -> BoxFuture<'a, Result<bool, JobError>>),
}

impl PointOfNoReturn {
    /// Whether the job is past it.
    pub async fn is_passed(&self, tools: &Tools, lease: &Lease, tenant: &Tenant) -> Result<bool, JobError> {
        match self {
            Self::AtEnd => Ok(false),
            Self::AtStart => Ok(true),
            Self::Reached(reached) => reached(tools, lease, tenant).await,
        }
    }
}

/// The command that the end of a job executes, in one transaction with that end.
pub type Ending = for<'a> fn(&'a Tools, &'a Lease, &'a Tenant) -> BoxFuture<'a, Result<Option<Command>, JobError>>;
/// The same for a job that failed, with the reason.
pub type Failing = for<'a> fn(&'a Tools, &'a Lease, &'a str) -> BoxFuture<'a, Result<Option<Command>, JobError>>;
/// What else is written in that transaction.
pub type Cleanup = for<'a> fn(&'a mut MySqlConnection, &'a Tenant) -> BoxFuture<'a, Result<(), sqlx::Error>>;

/// What the end of a job means for its tenant.
#[derive(Clone, Copy)]
pub struct Outcome {
    /// After all steps have succeeded; `None`: nothing, or a step has appended it.
    pub succeeded: Option<Ending>,
    /// After all steps have been undone; `None`: nothing. The job of a kind with such a command never ends as failed
    /// without it.
    pub failed: Option<Failing>,
    /// Rows that go with the end of the job, however it ended.
    pub cleanup: Option<Cleanup>,
}

impl Outcome {
    /// The end of the job appends no event.
    pub const NOTHING: Self = Self { succeeded: None, failed: None, cleanup: None };

    /// Whatever has failed, the tenant is served where it is once the job has ended. After a complete undo, this
    /// appends nothing more.
    pub const CANCELLED_MOVE: Self =
        Self { failed: Some(|_, _, _| Box::pin(async { Ok(Some(Command::CancelMove)) })), ..Self::NOTHING };
}
