//! [`Follower`]: the one task that follows the event log. It alone changes the routing table and invalidates the
//! caches.
//!
//! The follower stands above everything that it invalidates. A refresh is always the same work, whether a message, the
//! clock or a request with an old table woke it: it reads the head of the log, finds the tenants that have events since
//! the last refresh, reads their rows and replaces their routes. A message only wakes it, so a lost, doubled or
//! reordered message changes nothing but the time of a refresh.
//!
//! What the follower invalidates:
//! * When a tenant is suspended, deleted or moved, or has a new database user, the connection pool closes the tenant's
//!   connections ([`TenantDatabases::retire`]).
//! * When anything about a tenant changes, the noticeboard withdraws the tenant's notice. Its route gets a newer
//!   position, so memberships and profiles read before count no more.
//! * When a session was revoked, all cached sessions are forgotten; when a user was changed, all cached profiles.
//! * When the log went back, because the system database was restored, everything is read again and every cache is
//!   emptied.
//!
//! **Guarantee.** Rows are read after the head, so the routes are at least as new as the position that the table then
//! claims. A failed refresh claims nothing.

use crate::connections::TenantDatabases;
use crate::noticeboard::Noticeboard;
use crate::profiles::Profiles;
use crate::routing::load::{self, LoadError};
use crate::routing::{Changes, Freshness, Routing};
use crate::sessions::Sessions;
use kernel::database;
use kernel::error::chain;
use kernel::process::health::{Health, Part};
use kernel::process::telemetry::names;
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlConnectOptions;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the follower reads the head when nothing wakes it.
const TICK: Duration = Duration::from_secs(1);

/// Shortest time between the beginnings of two refreshes, so that many changes in a short time need only one. A change
/// that happens alone is not delayed.
const MIN_GAP: Duration = Duration::from_millis(50);

/// With more changed tenants than this, reading all tenants is cheaper.
const FULL_LOAD_FROM: usize = 1000;

/// Follows the event log for one node.
pub struct Follower {
    options: MySqlConnectOptions,
    connection: Option<MySqlConnection>,
    revocations: Option<u64>,
    changed_users: Option<u64>,
    loaded: bool,
    routing: Arc<Routing>,
    sessions: Arc<Sessions>,
    profiles: Arc<Profiles>,
    databases: TenantDatabases,
    noticeboard: Noticeboard,
    health: Health,
}

impl Follower {
    /// A follower that has read nothing yet.
    pub fn new(
        options: MySqlConnectOptions,
        routing: Arc<Routing>,
        sessions: Arc<Sessions>,
        profiles: Arc<Profiles>,
        databases: TenantDatabases,
        noticeboard: Noticeboard,
        health: Health,
    ) -> Self {
        let (connection, revocations, changed_users, loaded) = (None, None, None, false);
        Self {
            options,
            connection,
            revocations,
            changed_users,
            loaded,
            routing,
            sessions,
            profiles,
            databases,
            noticeboard,
            health,
        }
    }

    /// The first refresh, which reads everything.
    pub async fn load(&mut self) -> Result<(), LoadError> {
        self.refresh().await
    }

    /// Follows until the process ends, because requests that are drained at the end need a fresh table too.
    pub async fn run(mut self) {
        let routing = Arc::clone(&self.routing);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = routing.freshness.requested() => {}
                _ = tick.tick() => {}
            }
            let next = Instant::now() + MIN_GAP;
            // The refresh itself logs and counts failures.
            let _ = self.refresh().await;
            tokio::time::sleep_until(next).await;
        }
    }

    async fn refresh(&mut self) -> Result<(), LoadError> {
        let routing = Arc::clone(&self.routing);
        let freshness: &Freshness = &routing.freshness;
        let began = freshness.now();
        let connection = self.connection.take();
        let was_open = connection.is_some();
        let mut outcome = self.refresh_on(connection).await;
        if was_open && matches!(outcome, Err(LoadError::Database(_))) {
            // The server may have closed a connection that worked a second ago (a restart, a KILL).
            outcome = self.refresh_on(None).await;
        }
        match &outcome {
            Ok(()) => {
                freshness.succeeded(began);
                self.health.report("system_database", Part::Healthy);
            }
            Err(error) => {
                if !freshness.is_failing() {
                    tracing::warn!(cause = %chain(error), "the routing table cannot be refreshed");
                }
                freshness.failed();
                // The health page is public, so it does not show the cause.
                let position = routing.table().position;
                let reason = format!("away; serving what was known at position {position}");
                self.health.report("system_database", Part::Degraded(reason));
            }
        }
        outcome
    }

    async fn refresh_on(&mut self, connection: Option<MySqlConnection>) -> Result<(), LoadError> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => load::bounded(self.connect()).await?,
        };
        self.catch_up(&mut connection).await?;
        // The connection is used again only if every answer was read to its end.
        self.connection = Some(connection);
        Ok(())
    }

    async fn connect(&self) -> Result<MySqlConnection, sqlx::Error> {
        let mut connection = database::connect(&self.options).await?;
        database::limit_statements(&mut connection, load::FULL_LOAD_TIMEOUT).await?;
        Ok(connection)
    }

    async fn catch_up(&mut self, connection: &mut MySqlConnection) -> Result<(), LoadError> {
        let head = load::heads(connection).await?;
        let switches = load::switches(connection).await?;
        let plans = load::plans(connection).await?;
        let position = self.routing.table().position;
        // If the head went back, the system database was restored from a backup, and nothing in memory is certain any
        // more.
        let restored = head.events < position;
        // `None`: everything is read.
        let touched = if restored || !self.loaded {
            None
        } else {
            load::changed_tenants(connection, position, head.events, FULL_LOAD_FROM).await?
        };
        // Plans are set before the routes of tenants that were just given one.
        let limited = self.routing.change(|table| table.set_plans(plans));
        if limited > 0 && self.loaded {
            tracing::info!(tenants = limited, "the limits of tenants have changed with their plans");
        }
        let changes = match touched {
            None => {
                let routes = load::all_tenants(connection).await?;
                self.routing.change(|table| table.replace(routes))
            }
            Some(touched) if touched.is_empty() => Changes::default(),
            Some(touched) => {
                let routes = load::tenants(connection, &touched).await?;
                self.routing.change(|table| table.update(&touched, routes))
            }
        };
        self.invalidate(&changes, restored);
        if restored {
            tracing::warn!(
                known = position.0,
                now = head.events.0,
                "the event log went back: the system database was restored; everything was read again"
            );
            self.sessions.forget_everything();
            self.profiles.forget();
        }
        if self.revocations != Some(head.sessions) {
            self.sessions.forget_sessions();
            self.revocations = Some(head.sessions);
        }
        if self.changed_users != Some(head.users) {
            self.profiles.forget();
            self.changed_users = Some(head.users);
        }
        self.routing.change(|table| {
            table.position = head.events;
            table.switches = switches;
        });
        self.routing.spans.end(head.events);
        if self.loaded
            && head.events > position
            && let Some(lag) = load::lag(connection, position.next()).await?
        {
            metrics::histogram!(names::INVALIDATION_LAG).record(lag);
        }
        self.loaded = true;
        Ok(())
    }

    fn invalidate(&self, changes: &Changes, restored: bool) {
        for (tenant_id, generation) in &changes.retired {
            self.databases.retire(tenant_id, *generation);
        }
        if self.loaded {
            let table = self.routing.table();
            for tenant_id in &changes.touched {
                // After a restore, positions cannot be compared with earlier ones.
                let route = table.tenant(tenant_id.as_str()).filter(|_| !restored);
                self.noticeboard.withdraw(tenant_id, route.map(|route| route.position));
            }
        }
        if !changes.touched.is_empty() {
            metrics::counter!(names::ROUTE_RELOADS).increment(changes.touched.len() as u64);
            tracing::debug!(tenants = changes.touched.len(), "the follower has read routes again");
        }
    }
}
