//! Members: which user has which role in a tenant. Every change is an event of the tenant.

use super::users::require_user;
use super::{Refusal, Write};
use kernel::domain::{Command, Role, TenantId, UserId};
use kernel::http::Code;
use kernel::store::UnitOfWork;
use serde_json::Value;

/// Adds a user to a tenant, or changes the user's role and permissions. A membership that is equal already stays as it
/// is.
pub struct PutMember {
    pub tenant_id: TenantId,
    pub user_id: UserId,
    pub role: Role,
    pub permissions: Option<Value>,
}

impl Write for PutMember {
    type Done = ();

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<(), Refusal> {
        if unit.tenant(&self.tenant_id).await?.is_none() {
            return Err(Code::TenantNotFound.into());
        }
        require_user(unit, &self.user_id).await?;
        let now = membership(unit, &self.tenant_id, &self.user_id).await?;
        if now.as_ref() != Some(&(self.role.as_str().to_owned(), self.permissions.clone())) {
            let command = Command::ChangeMember {
                user_id: self.user_id.clone(),
                role: self.role,
                permissions: self.permissions.clone(),
            };
            unit.execute(&self.tenant_id, actor, command).await?;
        }
        Ok(())
    }
}

/// Removes a user from a tenant.
pub struct RemoveMember {
    pub tenant_id: TenantId,
    pub user_id: UserId,
}

impl Write for RemoveMember {
    type Done = ();

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<(), Refusal> {
        if unit.tenant(&self.tenant_id).await?.is_none() {
            return Err(Code::TenantNotFound.into());
        }
        if membership(unit, &self.tenant_id, &self.user_id).await?.is_none() {
            return Err(Code::UserNotFound.into());
        }
        unit.execute(&self.tenant_id, actor, Command::RemoveMember { user_id: self.user_id.clone() }).await?;
        Ok(())
    }
}

async fn membership(
    unit: &mut UnitOfWork,
    tenant_id: &TenantId,
    user_id: &UserId,
) -> Result<Option<(String, Option<Value>)>, sqlx::Error> {
    // Exactly this user: the column's collation holds ids that differ in case equal.
    let row: Option<(String, Option<String>)> = sqlx::query_as(
        "SELECT role, CAST(permissions AS CHAR) FROM saas_tenant_users
         WHERE tenant_id = ? AND user_id = ? AND BINARY user_id = ? AND deleted = 0 AND status = 1",
    )
    .bind(tenant_id.as_str())
    .bind(user_id.as_str())
    .bind(user_id.as_str())
    .fetch_optional(unit.connection())
    .await?;
    Ok(row.map(|(role, permissions)| (role, permissions.and_then(|json| serde_json::from_str(&json).ok()))))
}
