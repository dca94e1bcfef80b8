//! Members: which user has which role in a tenant. Every change is an event of the tenant.

use super::users::require_user;
use super::{Refusal, Write};
use kernel::domain::{Command, Role, TenantId, UserId};
use kernel::http::Code;
use kernel::store::UnitOfWork;
use serde_json::Value;
use sqlx::{MySql, QueryBuilder};
use std::collections::{HashMap, HashSet};

/// A membership: the user's role in a tenant, and the user's permissions there.
#[derive(Clone, PartialEq)]
pub struct Membership {
    pub role: Role,
    pub permissions: Option<Value>,
}

impl Membership {
    fn given_to(&self, user_id: &UserId) -> Command {
        Command::ChangeMember { user_id: user_id.clone(), role: self.role, permissions: self.permissions.clone() }
    }
}

/// Adds a user to a tenant, or changes the user's role and permissions. A membership that is equal already stays as it
/// is.
pub struct PutMember {
    pub tenant_id: TenantId,
    pub user_id: UserId,
    pub membership: Membership,
}

impl Write for PutMember {
    type Done = ();

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<(), Refusal> {
        if unit.tenant(&self.tenant_id).await?.is_none() {
            return Err(Code::TenantNotFound.into());
        }
        require_user(unit, &self.user_id).await?;
        let now = memberships(unit, &self.tenant_id, &[&self.user_id]).await?.remove(self.user_id.as_str());
        if now != Some(Some(self.membership.clone())) {
            unit.execute(&self.tenant_id, actor, self.membership.given_to(&self.user_id)).await?;
        }
        Ok(())
    }
}

/// Adds many users to a tenant, or changes their roles and permissions, in one unit.
pub struct PutMembers {
    pub tenant_id: TenantId,
    /// Each user at most once.
    pub members: Vec<(UserId, Membership)>,
}

/// What became of a user of [`PutMembers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberPut {
    Changed,
    /// The user had this membership already.
    Unchanged,
    /// There is no such user.
    NoSuchUser,
}

impl Write for PutMembers {
    /// In the order of `members`.
    type Done = Vec<MemberPut>;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Vec<MemberPut>, Refusal> {
        if unit.tenant(&self.tenant_id).await?.is_none() {
            return Err(Code::TenantNotFound.into());
        }
        let ids: Vec<_> = self.members.iter().map(|(user_id, _)| user_id).collect();
        let (users, mut now) = (existing(unit, &ids).await?, memberships(unit, &self.tenant_id, &ids).await?);
        let mut commands = Vec::new();
        let done = self.members.iter().map(|(user_id, membership)| {
            if !users.contains(user_id.as_str()) {
                return MemberPut::NoSuchUser;
            }
            if now.remove(user_id.as_str()) == Some(Some(membership.clone())) {
                return MemberPut::Unchanged;
            }
            commands.push(membership.given_to(user_id));
            MemberPut::Changed
        });
        let done = done.collect();
        unit.execute_all(&self.tenant_id, actor, commands).await?;
        Ok(done)
    }
}

/// Removes a user from a tenant.
pub struct RemoveMember {
    pub tenant_id: TenantId,
    pub user_id: UserId,
}

impl Write for RemoveMember {
    type Done = ();

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<(), Refusal> {
        if unit.tenant(&self.tenant_id).await?.is_none() {
            return Err(Code::TenantNotFound.into());
        }
        if memberships(unit, &self.tenant_id, &[&self.user_id]).await?.is_empty() {
            return Err(Code::UserNotFound.into());
        }
        unit.execute(&self.tenant_id, actor, Command::RemoveMember { user_id: self.user_id.clone() }).await?;
        Ok(())
    }
}

/// Those of the users that exist.
async fn existing(unit: &mut UnitOfWork, users: &[&UserId]) -> Result<HashSet<String>, sqlx::Error> {
    let mut query = QueryBuilder::<MySql>::new("SELECT user_id FROM user_info WHERE user_id IN (");
    push_ids(&mut query, users);
    let rows: Vec<(String,)> = query.build_query_as().persistent(false).fetch_all(unit.connection()).await?;
    Ok(rows.into_iter().map(|(user_id,)| user_id).collect())
}

/// The memberships of these users by user id. A membership that this version of the program cannot read is `None`.
async fn memberships(
    unit: &mut UnitOfWork,
    tenant_id: &TenantId,
    users: &[&UserId],
) -> Result<HashMap<String, Option<Membership>>, sqlx::Error> {
    let mut query = QueryBuilder::<MySql>::new(
        "SELECT user_id, COALESCE(role, ''), CAST(permissions AS CHAR) FROM saas_tenant_users
         WHERE deleted = 0 AND status = 1 AND tenant_id = ",
    );
    query.push_bind(tenant_id.as_str()).push(" AND user_key IN (");
    push_ids(&mut query, users);
    // The statement for one user is prepared once for all calls.
    let query = query.build_query_as().persistent(users.len() == 1);
    let rows: Vec<(String, String, Option<String>)> = query.fetch_all(unit.connection()).await?;
    let read = |role: String, permissions: Option<String>| {
        let permissions = permissions.map(|json| serde_json::from_str(&json)).transpose().ok()?;
        Some(Membership { role: role.parse().ok()?, permissions })
    };
    Ok(rows.into_iter().map(|(user_id, role, permissions)| (user_id, read(role, permissions))).collect())
}

/// A list of ids without its opening parenthesis. The list has at least one id, which no user has.
fn push_ids<'a>(query: &mut QueryBuilder<'a, MySql>, users: &[&'a UserId]) {
    let mut ids = query.separated(", ");
    ids.push("''");
    for user_id in users {
        ids.push_bind(user_id.as_str());
    }
    ids.push_unseparated(")");
}
