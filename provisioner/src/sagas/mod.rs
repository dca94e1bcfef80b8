//! The sagas: what each kind of job does, step by step, and how that is undone.
//!
//! A kind of job is a folder here that exports its `SAGA`; [`saga()`] is the one table of them. Kinds share code
//! through [`shared`] alone and never import each other. The [`engine`] runs any saga and names none.
//!
//! **Guarantees.** A job ends in one of two ways: every step succeeded and the outcome is appended, or every step was
//! undone and the failure is appended with its reason; each in one transaction with the end of the job. A failed
//! attempt is repeated with growing waits as long as the job's patience lasts, if the failure may pass. Past its point
//! of no return a job is repeated until it succeeds. An undo that fails is repeated until it succeeds, too: no job is
//! called failed while something of it is left behind. The one exception is the copy that a move has made on a server
//! which stays away (`moving::prepare_target`).

mod audit;
mod backup;
mod collect;
mod configure;
mod context;
mod enforce;
mod engine;
mod error;
mod migrate;
mod moving;
mod progress;
mod provision;
mod prune;
mod purge;
mod restore;
mod restore_elsewhere;
mod restore_new;
mod restore_test;
mod rotate;
mod saga;
mod shared;

pub use context::{Context, TenantJob, Tools};
pub use error::StepError;
pub use shared::credential::forget_next as forget_rotation;

use engine::Ended;
use kernel::jobs::{JobError, JobKind, Lease};
use saga::Saga;

/// The actor of the events that jobs append.
const ACTOR: &str = "provisioner";

/// The saga of each kind of job.
fn saga(kind: JobKind) -> &'static Saga {
    match kind {
        JobKind::Provision => &provision::SAGA,
        JobKind::Enforce => &enforce::SAGA,
        JobKind::Configure => &configure::SAGA,
        JobKind::Purge => &purge::SAGA,
        JobKind::Rotate => &rotate::SAGA,
        JobKind::Move => &moving::SAGA,
        JobKind::FinishMove => &moving::FINISH,
        JobKind::Migrate => &migrate::SAGA,
        JobKind::Audit => &audit::SAGA,
        JobKind::Restore => &restore::SAGA,
        JobKind::RestoreNew => &restore_new::SAGA,
        JobKind::RestoreElsewhere => &restore_elsewhere::SAGA,
        JobKind::Backup => &backup::SAGA,
        JobKind::RestoreTest => &restore_test::SAGA,
        JobKind::Prune => &prune::SAGA,
        JobKind::Collect => &collect::SAGA,
    }
}

/// Makes one attempt of the job under `lease`.
pub async fn run(tools: &Tools, lease: &Lease) -> Result<Ended, JobError> {
    engine::run(saga(lease.kind), tools, lease).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_kind_has_work_and_steps_of_unique_names() {
        for kind in JobKind::ALL {
            let saga = saga(*kind);
            assert!(!saga.steps.is_empty() || saga.server_work.is_some(), "{kind} does nothing");
            let names: HashSet<_> = saga.steps.iter().map(|step| step.name).collect();
            assert_eq!(names.len(), saga.steps.len(), "{kind}: failpoints and operations tell steps by their names");
        }
    }
}
