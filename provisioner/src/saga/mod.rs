//! A saga: steps that are each check -> act -> verify, repeatable, with an undo; and the engine that runs them.
//!
//! **Guarantees.** A job ends in one of two ways: every step succeeded and the outcome is appended, or every step was undone
//! and the failure is appended with its reason; each in one transaction with the end of the job. A failed attempt is
//! repeated with growing waits for as long as the job's patience lasts, if the failure may pass. An undo that fails is
//! repeated for ever: a job is not called failed while something of it is left behind, but for a copy on a server that stays away
//! ([`moving::prepare_target`]). Jobs whose work has no way back
//! ([`Saga::way_back`]) are repeated for ever instead: a suspended tenant is not left with an open account.

mod audit;
mod configure;
mod context;
mod elsewhere;
mod enforce;
mod engine;
mod error;
mod migrate;
mod moving;
mod progress;
mod provision;
mod purge;
mod restore;
pub mod rotate;
mod step;

pub use context::{Context, Tools};
pub use engine::run;
pub use error::StepError;
pub use step::Step;

use kernel::jobs::JobKind;

/// Who appends what jobs do.
const ACTOR: &str = "provisioner";

/// What a kind of job consists of.
#[derive(Clone, Copy, Debug)]
pub struct Saga {
    /// Its steps, in order.
    pub steps: &'static [Step],
    /// Whether it can be given up and undone.
    pub way_back: bool,
}

impl Saga {
    /// The saga of a kind of job.
    pub fn of(kind: JobKind) -> Self {
        match kind {
            JobKind::Provision => Self { steps: &PROVISION, way_back: true },
            JobKind::Enforce => Self { steps: &[Step::Enforce], way_back: false },
            JobKind::Configure => Self { steps: &[Step::ApplyConfig], way_back: false },
            JobKind::Purge => Self { steps: &PURGE, way_back: false },
            // Until the switch; the engine asks.
            JobKind::Rotate => Self { steps: &ROTATE, way_back: true },
            // Until the tenant is on the other server; the engine asks.
            JobKind::Move => Self { steps: &MOVE, way_back: true },
            // Given up after a while, as is an audit; what was added stays, and is in nobody's way.
            JobKind::Migrate => Self { steps: &[Step::MigrateSchema], way_back: true },
            // There is nothing to undo.
            JobKind::Audit => Self { steps: &AUDIT, way_back: true },
            // Until what was replaced is dropped; the engine asks.
            JobKind::Restore => Self { steps: &RESTORE, way_back: true },
            JobKind::RestoreNew => Self { steps: &RESTORE_NEW, way_back: true },
            // Until the tenant is here; the engine asks.
            JobKind::RestoreElsewhere => Self { steps: &RESTORE_ELSEWHERE, way_back: true },
            // Of a server: without steps of a tenant.
            JobKind::Backup | JobKind::RestoreTest => Self { steps: &[], way_back: true },
        }
    }
}

const PROVISION: [Step; 5] =
    [Step::CreateDatabase, Step::CreateUser, Step::ApplySchema, Step::SeedConfig, Step::VerifyLogin];
/// The last one, because the tenant may have been suspended meanwhile, and the new user was made open.
const ROTATE: [Step; 6] =
    [Step::PrepareUser, Step::VerifyNext, Step::Switch, Step::AwaitNodes, Step::RetireUser, Step::Enforce];
const RESTORE: [Step; 5] = [Step::LoadBackup, Step::SwapDatabase, Step::DropReplaced, Step::ApplyConfig, Step::Enforce];
const RESTORE_NEW: [Step; 8] = [
    Step::CreateDatabase,
    Step::CreateUser,
    Step::LoadBackup,
    Step::SwapDatabase,
    Step::DropReplaced,
    Step::CopyMembers,
    Step::Enforce,
    Step::VerifyLogin,
];
const RESTORE_ELSEWHERE: [Step; 8] = [
    Step::AwaitRefusal,
    Step::ShutFormer,
    Step::LoadHere,
    Step::VerifyHere,
    Step::Arrive,
    Step::SettleHere,
    Step::Enforce,
    Step::ApplyConfig,
];
const MOVE: [Step; 10] = [
    Step::PrepareTarget,
    Step::Close,
    Step::AwaitClosed,
    Step::LockSource,
    Step::Copy,
    Step::Compare,
    Step::VerifyTarget,
    Step::Relocate,
    Step::Settle,
    Step::DropSource,
];
const AUDIT: [Step; 3] = [Step::Look, Step::Repair, Step::Confirm];
const PURGE: [Step; 5] = [Step::LastBackup, Step::DropDatabase, Step::DropUser, Step::Forget, Step::VerifyAbsent];
