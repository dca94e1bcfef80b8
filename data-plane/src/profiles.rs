//! [`Profiles`]: a user's names and addresses, from the system database.
//!
//! This is the only part of an answer that is not in the tenant's database, and no join can reach over both. The
//! look-ups are bounded ([`crate::lookups`]). **Guarantees.**
//! * A profile that the admin API changes takes effect with the follower's next refresh, which forgets just that
//!   profile. One that was changed in another way takes effect after [`FRESH`] from the second request on, and after
//!   [`STALE`] in any case.
//! * While the system database cannot be reached, profiles read within the last [`OUTAGE_GRACE`] still answer. Routes
//!   that need no profile do not come here.

use crate::cache::Cache;
use crate::lookups::{Asker, Lookups, bounded, count_lookup};
use crate::members::{Member, Members};
use crate::routing::Route;
use kernel::domain::UserId;
use kernel::http::{ApiError, Code};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// How long a profile is used without reading it again. Only changes by the admin API are announced.
const FRESH: Duration = Duration::from_secs(10);

/// How long a profile is used while it is being read again in the background, so that no request waits.
const STALE: Duration = Duration::from_secs(60);

/// Time after which a background read that brought no answer is repeated.
const RETRY: Duration = Duration::from_secs(3);

/// How long a profile is used when the system database does not answer.
const OUTAGE_GRACE: Duration = Duration::from_secs(300);

/// The most profiles in the cache.
const MOST: u64 = 50_000;

/// What the tenant sees of a user.
#[derive(Serialize, sqlx::FromRow, ToSchema)]
pub struct Profile {
    pub user_id: String,
    pub username: String,
    pub name: String,
    pub email: String,
    pub mobile: String,
    pub user_language: Option<String>,
}

/// A tenant of a user.
#[derive(Serialize, sqlx::FromRow, ToSchema)]
pub struct TenantOfUser {
    tenant_id: String,
    tenant_name: String,
    tenant_domain: Option<String>,
    role: String,
}

#[derive(Clone)]
struct Known {
    /// `None`: there is no such user.
    profile: Option<Arc<Profile>>,
    read: Instant,
    /// Milliseconds after `read` from which the next request reads it again in the background.
    renew: Arc<AtomicU64>,
}

impl Known {
    /// Whether this request must read the profile again in the background. Only one of several requests does.
    fn claims_renewal(&self) -> bool {
        let age = millis(self.read.elapsed());
        let due = self.renew.load(Ordering::Relaxed);
        let next = age + millis(RETRY);
        age >= due && self.renew.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Looks up profiles, and caches them.
pub struct Profiles {
    lookups: Arc<Lookups>,
    members: Arc<Members>,
    known: Cache<UserId, Known>,
}

impl Profiles {
    /// Starts with an empty cache.
    pub fn new(lookups: Arc<Lookups>, members: Arc<Members>) -> Self {
        Self { lookups, members, known: Cache::new(MOST, OUTAGE_GRACE, |_| 1) }
    }

    /// Forgets the profile of a user, because it has changed.
    pub fn forget(&self, user_id: &UserId) {
        self.known.forget(user_id);
    }

    /// Forgets all profiles, because it is not known which ones have changed.
    pub fn forget_all(&self) {
        self.known.forget_all();
    }

    /// The profile of a member of the tenant, and the membership.
    ///
    /// # Errors
    /// 404 if the user does not exist, 403 if the user is no member of the tenant, 503 if the system database does not
    /// answer.
    pub async fn member(
        self: &Arc<Self>,
        route: &Arc<Route>,
        user_id: &Arc<UserId>,
    ) -> Result<(Arc<Profile>, Arc<Member>), ApiError> {
        let profile = self.find(user_id).await?.ok_or(Code::UserNotFound)?;
        let member = self.members.find(&route.tenant_id, user_id).await?.ok_or(Code::UserNotInTenant)?;
        Ok((profile, member))
    }

    async fn find(self: &Arc<Self>, user_id: &UserId) -> Result<Option<Arc<Profile>>, ApiError> {
        let known = self.known.get(user_id);
        let usable = known.as_ref().filter(|known| known.read.elapsed() < STALE);
        count_lookup("profile", usable.is_some());
        if let Some(known) = usable {
            if known.claims_renewal() {
                let (profiles, user_id) = (Arc::clone(self), user_id.clone());
                tokio::spawn(async move { profiles.read(&user_id).await });
            }
            return Ok(known.profile.clone());
        }
        match self.read(user_id).await {
            Ok(profile) => Ok(profile),
            Err(error) => known.map(|known| known.profile).ok_or(error),
        }
    }

    /// Reads a profile and caches it.
    async fn read(&self, user_id: &UserId) -> Result<Option<Arc<Profile>>, ApiError> {
        let asked = Instant::now();
        let _turn = self.lookups.turn(Asker::Profile, user_id).await?;
        // Another request may have read it while this one waited.
        if let Some(known) = self.known.get(user_id).filter(|known| known.read >= asked) {
            return Ok(known.profile);
        }
        let (reading, read) = (self.known.begin(user_id.clone()), Instant::now());
        let rows: Vec<Profile> = bounded(
            sqlx::query_as(
                "SELECT user_id, username, name, email, mobile, user_language FROM user_info
                 WHERE user_id = ? ORDER BY id",
            )
            .bind(user_id.as_str())
            .fetch_all(self.lookups.pool()),
        )
        .await?;
        // The collation treats `U1` and `u1` as equal.
        let profile = rows.into_iter().find(|profile| profile.user_id == user_id.as_str()).map(Arc::new);
        let renew = Arc::new(AtomicU64::new(millis(FRESH)));
        reading.store(Known { profile: profile.clone(), read, renew });
        Ok(profile)
    }

    /// The tenants that a user belongs to, by id.
    pub async fn tenants(&self, user_id: &UserId) -> Result<Vec<TenantOfUser>, ApiError> {
        let _turn = self.lookups.turn(Asker::Profile, user_id).await?;
        bounded(
            sqlx::query_as(
                "SELECT t.tenant_id, t.tenant_name, t.tenant_domain, COALESCE(m.role, '') AS role
                 FROM saas_tenant_users m JOIN saas_tenants t ON t.tenant_id = m.tenant_id AND t.deleted = 0
                 WHERE m.user_id = ? AND CAST(m.user_id AS BINARY) = ? AND m.deleted = 0 AND m.status = 1
                 ORDER BY t.tenant_id LIMIT 1000",
            )
            .bind(user_id.as_str())
            .bind(user_id.as_str())
            .fetch_all(self.lookups.pool()),
        )
        .await
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
