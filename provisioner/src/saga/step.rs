//! The steps of all sagas: their names, how long they may take, what they do and how that is undone.

use super::{
    Context, StepError, audit, configure, elsewhere, enforce, migrate, moving, provision, purge, restore, rotate,
};
use crate::backup::job;
use std::time::Duration;

/// Longest time for one step; DDL of 21 tables takes a tenth of a second on an idle server.
const STEP_DEADLINE: Duration = Duration::from_secs(60);
/// The same for a step that reads all rows of a tenant.
const WITH_THE_DATA: Duration = Duration::from_secs(6 * 3600);

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

    /// Does it, or sees that it is done.
    pub(super) async fn act(self, context: &mut Context<'_>) -> Result<(), StepError> {
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

    /// Takes it back, as far as there is a way back.
    pub(super) async fn undo(self, context: &mut Context<'_>) -> Result<(), StepError> {
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
