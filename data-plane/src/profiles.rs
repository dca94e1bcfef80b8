//! [`Profiles`]: who a user is and what they are in a tenant, from the system database.
//!
//! The only part of an answer that is not in the tenant's database, and no join reaches over both. Bounded: a few
//! connections at once, a short queue, a deadline. **Guarantees:** a changed membership counts as soon as the routing
//! table knows of it, a profile changed by the admin API as soon as the follower has read the count of changed users, and one
//! changed in another way after [`FRESH`] from the second question on and after [`STALE`] in any case; while the
//! system database is away, what was read in the last minutes still answers, and routes that need no profile do not come here.

use crate::gate::{Gate, Turn};
use crate::routing::{Limits, Route};
use crate::sessions::{bounded, looked_up};
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

/// How long a profile is used without looking again: nothing announces a change that was not made by the admin API.
const FRESH: Duration = Duration::from_secs(10);

/// How long one is used while it is being read again: whoever asks for it then does not wait.
const STALE: Duration = Duration::from_secs(60);

/// How often one is read again in the background when the first try is lost.
const AGAIN: Duration = Duration::from_secs(3);

/// How long one is used when the system database does not answer.
const KEPT: Duration = Duration::from_secs(300);

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
    /// What they are in the tenant; `None`: nothing.
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
    /// Of the tenant's route, before the profile was read.
    position: Position,
    /// Changes of users before it was read.
    epoch: u64,
    read: Instant,
    /// When reading it again began, if it did.
    renewed: Option<Instant>,
}

type Key = (Arc<TenantId>, UserId);

/// See the module.
pub struct Profiles {
    pool: MySqlPool,
    gate: Gate,
    epoch: AtomicU64,
    known: Cache<Key, Known>,
}

type Row =
    (String, String, String, String, String, Option<String>, Option<String>, Option<String>, Option<String>, Moment);

impl Profiles {
    /// Nothing is known yet. At most `concurrency` connections of `pool` are used at once.
    pub fn new(pool: MySqlPool, concurrency: u32) -> Self {
        Self {
            pool,
            gate: Gate::new("profile", Limits::new(concurrency, QUEUE)),
            epoch: AtomicU64::new(0),
            known: Cache::builder().max_capacity(50_000).time_to_live(KEPT).build(),
        }
    }

    /// Users were changed: what is known of them counts no more.
    pub fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.known.invalidate_all();
    }

    /// A user who belongs to the tenant, else 404 or 403.
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
        looked_up("profile", usable.is_some());
        if let Some(known) = usable {
            let is_renewed = known.renewed.is_some_and(|began| began.elapsed() < AGAIN);
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

    /// Reads one, and keeps it. The position is the route's before that: a load that began before a change counts as old.
    async fn renew(&self, key: Key, route: &Route) -> Result<Option<Arc<Profile>>, ApiError> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let profile = self.read(route, &key.1).await?.map(Arc::new);
        let (position, read) = (route.position, Instant::now());
        let known = Known { profile: profile.clone(), position, epoch, read, renewed: None };
        self.known.insert(key, known);
        Ok(profile)
    }

    async fn read(&self, route: &Route, user_id: &UserId) -> Result<Option<Profile>, ApiError> {
        let _turn = self.turn().await?;
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
        // The collation holds `U1` and `u1` equal, so either side may be somebody else's.
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

    /// The tenants a user belongs to, by id.
    pub async fn tenants(&self, user_id: &UserId) -> Result<Vec<TenantOfUser>, ApiError> {
        let _turn = self.turn().await?;
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

    async fn turn(&self) -> Result<Turn, ApiError> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
        self.gate.enter(deadline).await.map_err(|_| Code::Unavailable.into())
    }
}
