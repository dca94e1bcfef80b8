//! What may be asked of the control plane, without HTTP.
//!
//! A command is a [`Write`]: it runs in one unit of work and returns what its caller wants to know. The handlers of the
//! admin API, the schedules and the command line perform the same commands, so each rule stands once.

mod allowance;
mod change;
mod create;
mod database;
mod deletion;
mod domains;
mod members;
mod operations;
mod plans;
mod retry;
mod sign_up;
mod system_config;
mod tenant_config;
mod tokens;
mod unit;
mod users;

pub use allowance::SignUpAllowance;
pub use change::ChangeTenant;
pub use create::{CreateTenant, Created};
pub use database::{MigrateSchema, MoveDatabase, RotateCredential};
pub use deletion::{DeleteTenant, PurgeTenant, RestoreTenant};
pub use domains::{
    ExpireDomainRequest, MakePrimaryDomain, RegisterDomain, RemoveDomain, ServeProvenDomain, database_time,
    not_requested,
};
pub use members::{MemberPut, Membership, PutMember, PutMembers, RemoveMember};
pub use operations::Started;
pub use plans::{PlanPut, PutPlan, RemovePlan, is_plan_name};
pub use retry::RetryTenant;
pub use sign_up::{SignUp, SignedUp};
pub use system_config::{PutSystemSetting, READ_ONLY, value_text};
pub use tenant_config::{ChangeTenantSetting, SettingChange};
pub use tokens::{DEFAULT_TTL, IssueToken, IssuedToken, RevokeToken};
pub use unit::{Refusal, Write, perform};
pub use users::{ChangeUser, NewUser, User, UserChange, find_user, push_same_value, require_user};
