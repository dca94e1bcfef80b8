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

pub use engine::run;
pub use error::StepError;

use crate::backup::{BackupStore, Retention, job};
use crate::server::account::{self, Account};
use crate::server::{Mark, Server, Session};
use kernel::crypto::KeyRing;
use kernel::domain::{Tenant, TenantId};
use kernel::jobs::{JobKind, Lease};
use kernel::store::Store;
use std::sync::Arc;
use std::time::Duration;

/// Longest time for one step; DDL of 21 tables takes a tenth of a second on an idle server.
const STEP_DEADLINE: Duration = Duration::from_secs(60);
/// The same for a step that reads all rows of a tenant.
const WITH_THE_DATA: Duration = Duration::from_secs(6 * 3600);
/// Who appends what jobs do.
const ACTOR: &str = "provisioner";

/// What every job of one database server uses.
pub struct Tools {
    /// The event store.
    pub store: Store,
    /// Seals tenants' passwords.
    pub keys: KeyRing,
    /// The database server.
    pub server: Arc<Server>,
    /// All that this process administers, this one among them: a tenant can be moved to one of these.
    pub servers: Arc<[Arc<Server>]>,
    /// This installation's id, for marks.
    pub installation: String,
    /// From where tenants' users may log in.
    pub account_host: String,
    /// Where backups are; `None`: nowhere.
    pub backups: Option<BackupStore>,
    /// How long they are kept.
    pub retention: Retention,
    /// Whether a purge takes a last one.
    pub backup_before_purge: Option<Retention>,
}

impl Tools {
    /// A tenant's two user names in this installation.
    pub fn usernames(&self, tenant_id: &TenantId) -> [String; 2] {
        account::usernames(&self.installation, tenant_id)
    }
}

/// What a step works on.
pub struct Context<'a> {
    /// What every job uses.
    pub tools: &'a Tools,
    /// The right to do it.
    pub lease: &'a Lease,
    /// The tenant as it was when this attempt began.
    pub tenant: &'a Tenant,
    /// The administrator's connection, with the tenant's lock.
    pub session: &'a mut Session,
    /// Most connections of the tenant's user, by its plan when this attempt began.
    pub max_connections: u32,
    /// This is not the job's first attempt: what is found may be its own.
    pub repeated: bool,
}

impl Context<'_> {
    /// The mark that this tenant's database bears, without a schema.
    pub fn mark(&self) -> Mark {
        Mark::new(&self.tools.installation, &self.tenant.tenant_id)
    }

    /// The tenant's two user names; rotation alternates between them.
    pub fn usernames(&self) -> [String; 2] {
        self.tools.usernames(&self.tenant.tenant_id)
    }

    /// Name of the tenant's database.
    pub fn database(&self) -> &str {
        &self.tenant.database.name
    }
}

impl<'c> Context<'c> {
    /// An account of the tenant.
    pub fn account<'u>(&self, username: &'u str) -> Account<'u>
    where
        'c: 'u,
    {
        let Context { tools, tenant, .. } = *self;
        Account {
            username,
            host: &tools.account_host,
            database: &tenant.database.name,
            max_connections: self.max_connections,
        }
    }
}

/// A step of a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The tenant's database exists, with our mark.
    CreateDatabase,
    /// The tenant's user exists, with the kept password and rights on this database only.
    CreateUser,
    /// All tables exist.
    ApplySchema,
    /// `tenant_config` has its default rows.
    SeedConfig,
    /// The tenant's user can log in, and has no right beyond.
    VerifyLogin,
    /// The tenant's account is locked and without sessions, or open, as the tenant's present state says.
    Enforce,
    /// `tenant_config` is what it was asked to be.
    ApplyConfig,
    /// A last backup is whole, if that is wanted.
    LastBackup,
    /// The tenant's database is gone.
    DropDatabase,
    /// The tenant's users and their sessions are gone.
    DropUser,
    /// No credential is kept.
    Forget,
    /// Nothing is left, looked at once more.
    VerifyAbsent,
    /// The idle user exists, with a new password.
    PrepareUser,
    /// The new credential logs in.
    VerifyNext,
    /// The new credential is in use.
    Switch,
    /// Every node knows it.
    AwaitNodes,
    /// The former user is gone.
    RetireUser,
    /// The backup is loaded beside the data in use, and is what it says.
    LoadBackup,
    /// The members of the other tenant are this one's too, if that is wanted.
    CopyMembers,
    /// The loaded data is in use.
    SwapDatabase,
    /// What was in use before is gone.
    DropReplaced,
    /// The other server has an empty database and a locked user for the tenant.
    PrepareTarget,
    /// Nodes are told to refuse the tenant.
    Close,
    /// Every node does.
    AwaitClosed,
    /// Nobody can write where the tenant is.
    LockSource,
    /// The other server has all tables and rows.
    Copy,
    /// They are equal.
    Compare,
    /// The tenant can log in at the other server.
    VerifyTarget,
    /// The tenant is there.
    Relocate,
    /// Mark and account there are what they are to be.
    Settle,
    /// Nothing of the tenant is left on its former server.
    DropSource,
    /// The tenant's database has the newest schema.
    MigrateSchema,
    /// Every node refuses the tenant, whose server is lost.
    AwaitRefusal,
    /// If the former server answers, nobody can write there.
    ShutFormer,
    /// The backup is loaded on this server, and is what it says.
    LoadHere,
    /// The tenant can log in here.
    VerifyHere,
    /// The tenant is here.
    Arrive,
    /// The mark here is what it is to be.
    SettleHere,
    /// What differs from the events is kept.
    Look,
    /// What is safe to repair is repaired.
    Repair,
    /// What is repaired is an event.
    Confirm,
}

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

impl Step {
    /// Its name in operations.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateDatabase => "create_database",
            Self::CreateUser => "create_user",
            Self::ApplySchema => "apply_schema",
            Self::SeedConfig => "seed_config",
            Self::VerifyLogin => "verify_login",
            Self::Enforce => "enforce",
            Self::ApplyConfig => "apply_config",
            Self::LastBackup => "last_backup",
            Self::DropDatabase => "drop_database",
            Self::DropUser => "drop_user",
            Self::Forget => "forget",
            Self::VerifyAbsent => "verify_absent",
            Self::PrepareUser => "prepare_user",
            Self::VerifyNext => "verify_next",
            Self::Switch => "switch",
            Self::AwaitNodes => "await_nodes",
            Self::RetireUser => "retire_user",
            Self::LoadBackup => "load_backup",
            Self::CopyMembers => "copy_members",
            Self::SwapDatabase => "swap_database",
            Self::DropReplaced => "drop_replaced",
            Self::PrepareTarget => "prepare_target",
            Self::Close => "close",
            Self::AwaitClosed => "await_nodes",
            Self::LockSource => "lock_source",
            Self::Copy => "copy",
            Self::Compare => "compare",
            Self::VerifyTarget => "verify_target",
            Self::Relocate => "relocate",
            Self::Settle => "settle",
            Self::DropSource => "drop_source",
            Self::MigrateSchema => "migrate_schema",
            Self::AwaitRefusal => "await_nodes",
            Self::ShutFormer => "shut_former",
            Self::LoadHere => "load_backup",
            Self::VerifyHere => "verify_login",
            Self::Arrive => "relocate",
            Self::SettleHere => "settle",
            Self::Look => "look",
            Self::Repair => "repair",
            Self::Confirm => "confirm",
        }
    }

    /// Longest time for it.
    pub fn deadline(self) -> Duration {
        match self {
            Self::LoadBackup | Self::LoadHere | Self::LastBackup => job::DEADLINE,
            Self::Copy | Self::Compare | Self::MigrateSchema => WITH_THE_DATA,
            _ => STEP_DEADLINE,
        }
    }

    async fn act(self, context: &mut Context<'_>) -> Result<(), StepError> {
        match self {
            Self::CreateDatabase => provision::create_database::act(context).await,
            Self::CreateUser => provision::create_user::act(context).await,
            Self::ApplySchema => provision::apply_schema::act(context).await,
            Self::SeedConfig => provision::seed_config::act(context).await,
            Self::VerifyLogin => provision::verify_login::act(context).await,
            Self::Enforce => enforce::act(context).await,
            Self::ApplyConfig => configure::act(context).await,
            Self::LastBackup => purge::last_backup::act(context).await,
            Self::DropDatabase => purge::drop_database::act(context).await,
            Self::DropUser => purge::drop_user::act(context).await,
            Self::Forget => purge::forget::act(context).await,
            Self::VerifyAbsent => purge::verify_absent::act(context).await,
            Self::PrepareUser => rotate::prepare_user::act(context).await,
            Self::VerifyNext => rotate::verify_next::act(context).await,
            Self::Switch => rotate::switch::act(context).await,
            Self::AwaitNodes => rotate::await_nodes::act(context).await,
            Self::RetireUser => rotate::retire_user::act(context).await,
            Self::LoadBackup => restore::load_backup::act(context).await,
            Self::CopyMembers => restore::copy_members::act(context).await,
            Self::SwapDatabase => restore::swap_database::act(context).await,
            Self::DropReplaced => restore::drop_replaced::act(context).await,
            Self::PrepareTarget => moving::prepare_target::act(context).await,
            Self::Close => moving::close::act(context).await,
            Self::AwaitClosed => moving::await_closed::act(context).await,
            Self::LockSource => moving::lock_source::act(context).await,
            Self::Copy => moving::copy::act(context).await,
            Self::Compare => moving::compare::act(context).await,
            Self::VerifyTarget => moving::verify_target::act(context).await,
            Self::Relocate => moving::relocate::act(context).await,
            Self::Settle => moving::settle::act(context).await,
            Self::DropSource => moving::drop_source::act(context).await,
            Self::MigrateSchema => migrate::act(context).await,
            Self::AwaitRefusal => elsewhere::await_refusal::act(context).await,
            Self::ShutFormer => elsewhere::shut_former::act(context).await,
            Self::LoadHere => elsewhere::load_here::act(context).await,
            Self::VerifyHere => elsewhere::verify_here::act(context).await,
            Self::Arrive => elsewhere::arrive::act(context).await,
            Self::SettleHere => elsewhere::settle_here::act(context).await,
            Self::Look => audit::look::act(context).await,
            Self::Repair => audit::repair::act(context).await,
            Self::Confirm => audit::confirm::act(context).await,
        }
    }

    async fn undo(self, context: &mut Context<'_>) -> Result<(), StepError> {
        match self {
            Self::CreateDatabase => provision::create_database::undo(context).await,
            Self::CreateUser => provision::create_user::undo(context).await,
            // What these made goes with the database; the login left nothing.
            Self::ApplySchema | Self::SeedConfig | Self::VerifyLogin => Ok(()),
            Self::PrepareUser => rotate::prepare_user::undo(context).await,
            Self::LoadBackup => restore::load_backup::undo(context).await,
            Self::SwapDatabase => restore::swap_database::undo(context).await,
            // Nothing to undo before the switch; after it nothing is undone.
            Self::VerifyNext | Self::Switch | Self::AwaitNodes | Self::RetireUser => Ok(()),
            // Never undone: they make true what is decided already.
            Self::Enforce
            | Self::ApplyConfig
            | Self::DropReplaced
            | Self::CopyMembers
            | Self::LastBackup
            | Self::DropDatabase
            | Self::DropUser
            | Self::Forget
            | Self::VerifyAbsent => Ok(()),
            Self::PrepareTarget => moving::prepare_target::undo(context).await,
            Self::Close => moving::close::undo(context).await,
            // What these did at the source is undone with the closing, what they did at the target goes with it.
            Self::AwaitClosed | Self::LockSource | Self::Copy | Self::Compare | Self::VerifyTarget => Ok(()),
            // From there on nothing is undone.
            Self::Relocate | Self::Settle | Self::DropSource => Ok(()),
            // What was added is in nobody's way, and what is left to add is added by the next one.
            Self::MigrateSchema => Ok(()),
            Self::AwaitRefusal => elsewhere::await_refusal::undo(context).await,
            Self::ShutFormer => elsewhere::shut_former::undo(context).await,
            Self::LoadHere => elsewhere::load_here::undo(context).await,
            Self::VerifyHere | Self::Arrive | Self::SettleHere => Ok(()),
            // What was repaired is right.
            Self::Look | Self::Repair | Self::Confirm => Ok(()),
        }
    }
}
