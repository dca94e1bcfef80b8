//! [`Profiles`]: a user's names, addresses and membership, from the system database.
//!
//! This is the only part of an answer that is not in the tenant's database, and no join can reach over both. The
//! look-ups are bounded: a few connections at once, a short queue, a deadline. **Guarantees.**
//! * A changed membership takes effect as soon as the routing table includes it.
//! * A profile that the admin API changes takes effect once the follower has read the count of changed users. One that
//!   was changed in another way takes effect after [`FRESH`] from the second request on, and after [`STALE`] in any
//!   case.
//! * While the system database cannot be reached, profiles read within the last [`OUTAGE_GRACE`] still answer. Routes
//!   that need no profile do not come here.

use crate::gate::{Gate, Permit};
use crate::routing::{Limits, Route};
use crate::sessions::{bounded, count_lookup};
use crate::values::Moment;
use kernel::domain::{Position, TenantId, UserId};
use kernel::http::{ApiError, Code};
use moka::sync::Cache;
use serde::Serialize;
use serde_json::Value;
use sqlx::MySqlPool;
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

const QUEUE: u32 = 256;

/// What the tenant sees of a user.
#[derive(Serialize, ToSchema)]
pub struct Profile {
    pub user_id: String,
    pub username: String,
    pub name: String,
    pub email: String,
    pub mobile: String,
    pub user_language: Option<String>,
    /// The user's membership; `None`: the user is no member.
    #[serde(skip)]
    pub member: Option<Member>,
}

/// A membership.
#[derive(Serialize, ToSchema)]
pub struct Member {
    pub role: String,
    #[schema(value_type = Object, nullable)]
    pub permissions: Option<Value>,
    pub joined_at: Moment,
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
    profile: Option<Arc<Profile>>,
    /// The position of the tenant's route before the profile was read.
    position: Position,
    /// The epoch before it was read. Every change of users begins a new epoch.
    epoch: u64,
    read: Instant,
    /// When reading it again in the background began.
    renewed: Option<Instant>,
}

type Key = (Arc<TenantId>, UserId);

/// Looks up profiles, and caches them.
pub struct Profiles {
    pool: MySqlPool,
    gate: Gate,
    epoch: AtomicU64,
    known: Cache<Key, Known>,
}

type Row =
    (String, String, String, String, String, Option<String>, Option<String>, Option<String>, Option<String>, Moment);

impl Profiles {
    /// Starts with an empty cache, and uses at most `concurrency` connections of `pool` at once.
    pub fn new(pool: MySqlPool, concurrency: u32) -> Self {
        Self {
            pool,
            gate: Gate::new("profile", Limits::new(concurrency, QUEUE)),
            epoch: AtomicU64::new(0),
            known: Cache::builder().max_capacity(50_000).time_to_live(OUTAGE_GRACE).build(),
        }
    }

    /// Empties the cache, because users were changed.
    pub fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.known.invalidate_all();
    }

    /// The profile of a member of the tenant.
    ///
    /// # Errors
    /// 404 if the user does not exist, 403 if the user is no member of the tenant, 503 if the system database does not
    /// answer.
    pub async fn member(self: &Arc<Self>, route: &Arc<Route>, user_id: &UserId) -> Result<Arc<Profile>, ApiError> {
        let profile = self.find(route, user_id).await?.ok_or(Code::UserNotFound)?;
        if profile.member.is_none() { Err(Code::UserNotInTenant.into()) } else { Ok(profile) }
    }

    async fn find(self: &Arc<Self>, route: &Arc<Route>, user_id: &UserId) -> Result<Option<Arc<Profile>>, ApiError> {
        let key = (Arc::clone(&route.tenant_id), user_id.clone());
        let epoch = self.epoch.load(Ordering::Acquire);
        let counts = |known: &Known| known.position >= route.position && known.epoch == epoch;
        let known = self.known.get(&key).filter(counts);
        let usable = known.as_ref().filter(|known| known.read.elapsed() < STALE);
        count_lookup("profile", usable.is_some());
        if let Some(known) = usable {
            let is_renewed = known.renewed.is_some_and(|began| began.elapsed() < RETRY);
            if known.read.elapsed() >= FRESH && !is_renewed {
                self.known.insert(key.clone(), Known { renewed: Some(Instant::now()), ..known.clone() });
                let (profiles, route) = (Arc::clone(self), Arc::clone(route));
                tokio::spawn(async move { profiles.renew(key, &route).await });
            }
            return Ok(known.profile.clone());
        }
        match self.renew(key, route).await {
            Ok(profile) => Ok(profile),
            Err(error) => known.map(|known| known.profile).ok_or(error),
        }
    }

    /// Reads a profile and caches it, with the position of the route before the read. So a read that began before a
    /// change counts as old.
    async fn renew(&self, key: Key, route: &Route) -> Result<Option<Arc<Profile>>, ApiError> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let profile = self.read(route, &key.1).await?.map(Arc::new);
        let (position, read) = (route.position, Instant::now());
        let known = Known { profile: profile.clone(), position, epoch, read, renewed: None };
        self.known.insert(key, known);
        Ok(profile)
    }

    async fn read(&self, route: &Route, user_id: &UserId) -> Result<Option<Profile>, ApiError> {
        let _permit = self.permit().await?;
        let rows: Vec<Row> = bounded(
            sqlx::query_as(
                "SELECT u.user_id, u.username, u.name, u.email, u.mobile, u.user_language,
                        m.user_id, m.role, CAST(m.permissions AS CHAR), m.joined_at
                 FROM user_info u LEFT JOIN saas_tenant_users m
                   ON m.user_id = u.user_id AND m.tenant_id = ? AND m.deleted = 0 AND m.status = 1
                 WHERE u.user_id = ? ORDER BY u.id",
            )
            .bind(route.tenant_id.as_str())
            .bind(user_id.as_str())
            .fetch_all(&self.pool),
        )
        .await?;
        let mut profile: Option<Profile> = None;
        // The collation treats `U1` and `u1` as equal, so either side of the join may belong to another user.
        for (id, username, name, email, mobile, user_language, of, role, permissions, joined_at) in rows {
            if id != user_id.as_str() {
                continue;
            }
            let member = (of.as_deref() == Some(user_id.as_str())).then(|| Member {
                role: role.unwrap_or_default(),
                permissions: permissions.and_then(|text| serde_json::from_str(&text).ok()),
                joined_at,
            });
            if profile.is_none() || member.is_some() {
                profile = Some(Profile { user_id: id, username, name, email, mobile, user_language, member });
            }
        }
        Ok(profile)
    }

    /// The tenants that a user belongs to, by id.
    pub async fn tenants(&self, user_id: &UserId) -> Result<Vec<TenantOfUser>, ApiError> {
        let _permit = self.permit().await?;
        bounded(
            sqlx::query_as(
                "SELECT t.tenant_id, t.tenant_name, t.tenant_domain, COALESCE(m.role, '') AS role
                 FROM saas_tenant_users m JOIN saas_tenants t ON t.tenant_id = m.tenant_id AND t.deleted = 0
                 WHERE m.user_id = ? AND CAST(m.user_id AS BINARY) = ? AND m.deleted = 0 AND m.status = 1
                 ORDER BY t.tenant_id LIMIT 1000",
            )
            .bind(user_id.as_str())
            .bind(user_id.as_str())
            .fetch_all(&self.pool),
        )
        .await
    }

    async fn permit(&self) -> Result<Permit, ApiError> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
        self.gate.enter(deadline).await.map_err(|_| Code::Unavailable.into())
    }
}
