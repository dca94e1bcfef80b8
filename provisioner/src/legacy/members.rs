//! Makes every user a member of the default tenant, once, by the ordinary event `tenant.member_changed`.
//!
//! A member's id has 1 to 36 printable ASCII characters. Rows of `user_info` with another id (empty, with blanks) are
//! copied and get no membership. Ids are compared to the byte: ids that differ in case are those of different users. A
//! membership that exists stays as it is, with its role. Members whose user is gone are removed.

use super::LegacyError;
use super::destination::Destination;
use crate::tables::progress::Progress;
use clap::ValueEnum;
use kernel::domain::{Command, Role, UserId};
use kernel::store::CommandError;
use serde::Serialize;

/// Events of one unit of work, which holds the lock of the log's head for some tens of milliseconds.
const AT_ONCE: u32 = 500;

/// The actor of the events that the migrator appends.
pub const ACTOR: &str = "legacy-migrator";

/// Condition that `user_id` of the row `u` can be a member's id. The comparison of lengths admits ASCII only, so that
/// the collation of the regular expression cannot match a letter that looks alike.
pub const FIT: &str =
    "u.user_id <> '' AND LENGTH(u.user_id) = CHAR_LENGTH(u.user_id) AND u.user_id NOT REGEXP '[^!-~]'";

/// The role of users who were administrators of the old system. Every other user gets the role `user`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AdminsBecome {
    /// The role of every other user. An operator grants rights again where they are due.
    #[default]
    User,
    /// Administrator of the default tenant.
    Admin,
}

/// Memberships that were recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Members {
    /// Users who became members.
    pub joined: u64,
    /// Members who were removed.
    pub left: u64,
}

/// Makes memberships complete. It may be repeated, and is cheap when they are complete.
pub async fn complete(
    destination: &Destination,
    admins: AdminsBecome,
    progress: &Progress,
) -> Result<Members, LegacyError> {
    let mut members = Members::default();
    let mut after = None;
    loop {
        let missing = missing(destination, after).await?;
        let Some((last, ..)) = missing.last() else { break };
        after = Some(*last);
        let join = missing.iter().filter_map(|(_, user_id, is_admin)| {
            let role = if *is_admin && admins == AdminsBecome::Admin { Role::Admin } else { Role::User };
            let user_id: UserId = user_id.parse().ok()?;
            Some(Command::ChangeMember { user_id, role, permissions: None })
        });
        let joined = record(destination, join.collect()).await?;
        members.joined += joined;
        progress.add(joined, 0);
        if missing.len() < AT_ONCE as usize {
            break;
        }
    }
    loop {
        let gone: Vec<(String,)> = sqlx::query_as(
            "SELECT m.user_id FROM saas_tenant_users m
             LEFT JOIN user_info u ON u.user_id = m.user_id AND CAST(u.user_id AS BINARY) = m.user_key
             WHERE m.tenant_id = ? AND m.deleted = 0 AND u.id IS NULL LIMIT ?",
        )
        .bind(destination.tenant.tenant_id.as_str())
        .bind(AT_ONCE)
        .fetch_all(destination.store.pool())
        .await?;
        let leave = gone.iter().filter_map(|(user_id,)| Some(Command::RemoveMember { user_id: user_id.parse().ok()? }));
        let leave: Vec<_> = leave.collect();
        if leave.is_empty() {
            return Ok(members);
        }
        members.left += record(destination, leave).await?;
    }
}

/// The first rows after `after` whose users should be members and are not. Users of other tenants only should not.
async fn missing(destination: &Destination, after: Option<i64>) -> Result<Vec<(i64, String, bool)>, LegacyError> {
    let earlier = FIT.replace("u.", "e.");
    let query = format!(
        "SELECT u.id, u.user_id, u.is_admin FROM user_info u
         LEFT JOIN saas_tenant_users m
              ON m.tenant_id = ? AND m.user_key = CAST(u.user_id AS BINARY) AND m.deleted = 0
         WHERE (? IS NULL OR u.id > ?) AND {FIT} AND m.id IS NULL
           AND NOT EXISTS (SELECT 1 FROM saas_tenant_users o WHERE o.user_id = u.user_id AND o.deleted = 0
                               AND o.user_key = CAST(u.user_id AS BINARY))
           AND NOT EXISTS (SELECT 1 FROM user_info e WHERE e.user_id = u.user_id AND e.id < u.id AND {earlier}
                               AND CAST(e.user_id AS BINARY) = CAST(u.user_id AS BINARY))
         ORDER BY u.id LIMIT ?"
    );
    let rows = sqlx::query_as(&query)
        .bind(destination.tenant.tenant_id.as_str())
        .bind(after)
        .bind(after)
        .bind(AT_ONCE)
        .fetch_all(destination.store.pool())
        .await?;
    Ok(rows)
}

/// Executes the commands. They are decided once more if another process has changed the tenant in between.
async fn record(destination: &Destination, commands: Vec<Command>) -> Result<u64, LegacyError> {
    if commands.is_empty() {
        return Ok(0);
    }
    let mut retried = false;
    loop {
        let mut unit = destination.store.begin().await?;
        let done: Result<usize, CommandError> =
            match unit.execute_all(&destination.tenant.tenant_id, ACTOR, commands.clone()).await {
                Ok(appended) => unit.commit().await.map(|()| appended).map_err(CommandError::from),
                Err(error) => {
                    unit.rollback().await?;
                    Err(error)
                }
            };
        match done {
            Ok(appended) => return Ok(appended as u64),
            Err(error) if error.is_conflict() && !retried => retried = true,
            Err(error) => return Err(error.into()),
        }
    }
}

/// How complete the memberships are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Completeness {
    /// Users who should be members.
    pub users: u64,
    /// How many of them are.
    pub members: u64,
    /// Members without a user.
    pub without_user: u64,
}

impl Completeness {
    pub fn is_complete(self) -> bool {
        self.users == self.members && self.without_user == 0
    }
}

/// Counts users and members.
pub async fn count(destination: &Destination) -> Result<Completeness, LegacyError> {
    let tenant_id = destination.tenant.tenant_id.as_str();
    let pool = destination.store.pool();
    let different = "SELECT CAST(COUNT(DISTINCT CAST(u.user_id AS BINARY)) AS UNSIGNED) FROM user_info u";
    let users = format!("{different} WHERE {FIT}");
    let members = format!(
        "{different} JOIN saas_tenant_users m
           ON m.tenant_id = ? AND m.user_key = CAST(u.user_id AS BINARY) AND m.deleted = 0 WHERE {FIT}"
    );
    let without_user = "SELECT CAST(COUNT(*) AS UNSIGNED) FROM saas_tenant_users m
                        LEFT JOIN user_info u ON u.user_id = m.user_id AND CAST(u.user_id AS BINARY) = m.user_key
                        WHERE m.tenant_id = ? AND m.deleted = 0 AND u.id IS NULL";
    Ok(Completeness {
        users: sqlx::query_scalar(&users).fetch_one(pool).await?,
        members: sqlx::query_scalar(&members).bind(tenant_id).fetch_one(pool).await?,
        without_user: sqlx::query_scalar(without_user).bind(tenant_id).fetch_one(pool).await?,
    })
}
