//! Self sign-up: a user, a tenant, and the user as the tenant's admin, in one unit.

use super::users::insert_user;
use super::{CreateTenant, Created, IssueToken, IssuedToken, NewUser, Refusal, SignUpAllowance, Write};
use chrono::{DateTime, Utc};
use kernel::domain::{Command, Role, Tenant, UserId};
use kernel::store::UnitOfWork;
use serde::Serialize;
use std::net::IpAddr;
use utoipa::ToSchema;
use uuid::Uuid;

/// Signs a stranger up. The user's values are not compared with those of other users: a stranger may not learn of them.
pub struct SignUp {
    pub user: NewUser,
    pub tenant: CreateTenant,
    /// The stranger's address, for the allowance.
    pub address: IpAddr,
    pub allowance: SignUpAllowance,
}

/// What signing up gave.
#[derive(Serialize, ToSchema)]
pub struct SignedUp {
    tenant: Tenant,
    #[schema(value_type = String, format = "uuid")]
    operation_id: Uuid,
    user_id: UserId,
    /// The user's session token, shown this once. The tenant API answers 503 with `Retry-After` until the tenant is
    /// ready.
    token: String,
    expires_at: DateTime<Utc>,
}

impl Write for SignUp {
    type Done = SignedUp;

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<SignedUp, Refusal> {
        let Created { tenant, operation_id } = self.tenant.run(unit, actor).await?;
        self.allowance.take(unit.connection(), self.address).await?;
        let user_id = insert_user(unit, &self.user).await?;
        let member = Command::ChangeMember { user_id: user_id.clone(), role: Role::Admin, permissions: None };
        unit.execute(&self.tenant.tenant_id, actor, member).await?;
        let IssuedToken { user_id, token, expires_at } = IssueToken::for_default_time(user_id).run(unit, actor).await?;
        Ok(SignedUp { tenant, operation_id, user_id, token, expires_at })
    }
}
