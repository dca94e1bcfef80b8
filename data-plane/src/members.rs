//! [`Members`]: which role a user has in a tenant.
//!
//! Memberships come from the system database and are cached in memory, within bounds. **Guarantees.**
//! * A changed membership takes effect with the follower's next refresh, which forgets just that membership. A read
//!   that began before the change is never used after it.
//! * While nothing changes, a membership is read once an hour. So other events of a tenant cost no look-up, and while
//!   the system database cannot be reached, known members continue for up to an hour.
//! * Ids are compared byte for byte, by `user_key`, because the collation of `user_id` treats `U1` and `u1` as equal.

use crate::cache::Cache;
use crate::lookups::{Asker, Lookups, bounded, count_lookup};
use crate::values::Moment;
use kernel::domain::{Role, TenantId, UserId};
use kernel::http::ApiError;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a membership is used without reading it again. So a row that was changed by hand counts some day, and a
/// node that is cut off from the system database does not serve a removed member for ever.
const LIFETIME: Duration = Duration::from_secs(3600);

/// How long "this user is no member" is cached if no event invalidates it.
const NO_MEMBER: Duration = Duration::from_secs(5);

/// The most memberships in the cache. One with long permissions counts as several.
const MOST: u64 = 200_000;

/// A membership.
pub struct Member {
    pub role: Role,
    pub permissions: Option<Value>,
    pub joined_at: Moment,
    /// Characters of the permissions.
    length: usize,
}

#[derive(Clone)]
struct Known {
    /// `None`: the user is no member.
    member: Option<Arc<Member>>,
    read: Instant,
}

type Key = (Arc<TenantId>, Arc<UserId>);

/// Looks up memberships, and caches them.
pub struct Members {
    lookups: Arc<Lookups>,
    known: Cache<Key, Known>,
}

impl Members {
    /// Starts with an empty cache.
    pub fn new(lookups: Arc<Lookups>) -> Self {
        let weigh = |known: &Known| {
            let length = known.member.as_ref().map_or(0, |member| member.length);
            1 + u32::try_from(length / 256).unwrap_or(u32::MAX - 1)
        };
        Self { lookups, known: Cache::new(MOST, LIFETIME, weigh) }
    }

    /// Forgets one membership, because it has changed.
    pub fn forget(&self, tenant_id: &TenantId, user_id: &UserId) {
        self.known.forget(&(Arc::new(tenant_id.clone()), Arc::new(user_id.clone())));
    }

    /// Forgets all memberships, because it is not known which ones have changed.
    pub fn forget_all(&self) {
        self.known.forget_all();
    }

    /// The membership of a user in a tenant; `None`: the user is no member.
    pub async fn find(
        &self,
        tenant_id: &Arc<TenantId>,
        user_id: &Arc<UserId>,
    ) -> Result<Option<Arc<Member>>, ApiError> {
        let key = (Arc::clone(tenant_id), Arc::clone(user_id));
        let known = self.known(&key);
        count_lookup("member", known.is_some());
        if let Some(known) = known {
            return Ok(known.member);
        }
        let _turn = self.lookups.turn(Asker::Known, &key).await?;
        // Another request may have looked it up while this one waited.
        if let Some(known) = self.known(&key) {
            return Ok(known.member);
        }
        let (reading, read) = (self.known.begin(key), Instant::now());
        let member = self.read(tenant_id, user_id).await?.map(Arc::new);
        reading.store(Known { member: member.clone(), read });
        Ok(member)
    }

    fn known(&self, key: &Key) -> Option<Known> {
        self.known.get(key).filter(|known| known.member.is_some() || known.read.elapsed() < NO_MEMBER)
    }

    async fn read(&self, tenant: &TenantId, user: &UserId) -> Result<Option<Member>, ApiError> {
        let row: Option<(Option<String>, Option<String>, Moment)> = bounded(
            sqlx::query_as(
                "SELECT role, CAST(permissions AS CHAR), joined_at FROM saas_tenant_users
                 WHERE tenant_id = ? AND user_key = CAST(? AS BINARY) AND deleted = 0 AND status = 1",
            )
            .bind(tenant.as_str())
            .bind(user.as_str())
            .fetch_optional(self.lookups.pool()),
        )
        .await?;
        Ok(row.and_then(|(role, permissions, joined_at)| {
            let role = role.unwrap_or_default();
            let role = role
                .parse()
                .inspect_err(|_| tracing::error!(%tenant, role, "the node refuses a member whose role is unknown"));
            let length = permissions.as_ref().map_or(0, String::len);
            let permissions = permissions.and_then(|text| serde_json::from_str(&text).ok());
            Some(Member { role: role.ok()?, permissions, joined_at, length })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookups::tests::unanswered;

    fn plant(members: &Members, user: &str, role: Option<Role>, read: Instant) {
        let key = (Arc::new("t1".parse().unwrap()), Arc::new(user.parse().unwrap()));
        let member = |role| Arc::new(Member { role, permissions: None, joined_at: Moment(None), length: 0 });
        members.known.begin(key).store(Known { member: role.map(member), read });
    }

    #[tokio::test]
    async fn a_changed_membership_is_read_again_and_no_other() {
        let members = Members::new(Arc::new(unanswered()));
        let tenant: Arc<TenantId> = Arc::new("t1".parse().unwrap());
        let role = async |user: &str| {
            let found = members.find(&tenant, &Arc::new(user.parse().unwrap())).await;
            found.map(|member| member.map(|member| member.role)).map_err(|error| error.code())
        };
        for user in ["u1", "u2"] {
            plant(&members, user, Some(Role::User), Instant::now());
        }
        members.forget(&tenant, &"u1".parse().unwrap());
        assert!(role("u1").await.is_err());
        assert_eq!(role("u2").await, Ok(Some(Role::User)));
        assert!(role("U2").await.is_err(), "another user");
        members.forget_all();
        assert!(role("u2").await.is_err());
    }

    #[tokio::test]
    async fn that_a_user_is_no_member_is_cached_for_a_moment() {
        let members = Members::new(Arc::new(unanswered()));
        let (tenant, user) = (Arc::new("t1".parse().unwrap()), Arc::new("u1".parse().unwrap()));
        plant(&members, "u1", None, Instant::now());
        assert!(members.find(&tenant, &user).await.unwrap().is_none());
        plant(&members, "u1", None, Instant::now() - NO_MEMBER);
        assert!(members.find(&tenant, &user).await.is_err(), "it is read again");
    }
}
