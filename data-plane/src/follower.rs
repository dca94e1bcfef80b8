//! The one task that keeps the routing table, and with it every cache of the node, at the head of the event log.
//!
//! A turn is always the same work, whatever woke it (a message, the clock, a request that found the table old): read the
//! head, ask which tenants have events since the last turn, read those tenants again, swap them in, drop what depended on
//! them. Messages say nothing but "look"; a lost, doubled or reordered one changes only when that happens.
//!
//! **Guarantee.** Rows are read after the head, so what is swapped in is at least as new as the position that is then
//! claimed; a failed turn claims nothing.

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

/// How often the head is read when nothing wakes the follower.
const TICK: Duration = Duration::from_secs(1);

/// Turns begin at least so far apart: many changes in a short time are one turn. What happens alone is not held up.
const APART: Duration = Duration::from_millis(50);

/// With more changed tenants than this, one full load is cheaper.
const MANY: usize = 1000;

/// See the module.
pub struct Follower {
    options: MySqlConnectOptions,
    connection: Option<MySqlConnection>,
    revocations: Option<u64>,
    changed_users: Option<u64>,
    loaded: bool,
    /// The table it keeps.
    pub routing: Arc<Routing>,
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

    /// The first turn: loads everything.
    pub async fn load(&mut self) -> Result<(), LoadError> {
        self.turn().await
    }

    /// Follows for ever: requests that are drained at the end of the process need a fresh table too.
    pub async fn run(mut self) {
        let routing = Arc::clone(&self.routing);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = routing.freshness.wanted() => {}
                _ = tick.tick() => {}
            }
            let next = Instant::now() + APART;
            // What a turn changed is logged and counted in it; here only whether it worked.
            let _ = self.turn().await;
            tokio::time::sleep_until(next).await;
        }
    }

    async fn turn(&mut self) -> Result<(), LoadError> {
        let routing = Arc::clone(&self.routing);
        let freshness: &Freshness = &routing.freshness;
        let began = freshness.mark();
        let kept = self.connection.take();
        let was_kept = kept.is_some();
        let mut turned = self.turn_on(kept).await;
        if was_kept && matches!(turned, Err(LoadError::Database(_))) {
            // The server may have closed a connection that was good a second ago (a restart, a KILL).
            turned = self.turn_on(None).await;
        }
        match &turned {
            Ok(()) => {
                freshness.succeeded(began);
                self.health.tell("system_database", Part::Healthy);
            }
            Err(error) => {
                if !freshness.is_failing() {
                    tracing::warn!(cause = %chain(error), "the routing table cannot be kept fresh");
                }
                freshness.failed();
                // Whoever asks for the health may be anybody, so without the cause.
                let position = routing.table().position;
                let reason = format!("away; serving what was known at position {position}");
                self.health.tell("system_database", Part::Degraded(reason));
            }
        }
        turned
    }

    async fn turn_on(&mut self, kept: Option<MySqlConnection>) -> Result<(), LoadError> {
        let mut connection = match kept {
            Some(connection) => connection,
            None => load::bounded(database::connect(&self.options)).await?,
        };
        self.catch_up(&mut connection).await?;
        // Kept only when every answer was read to its end.
        self.connection = Some(connection);
        Ok(())
    }

    async fn catch_up(&mut self, connection: &mut MySqlConnection) -> Result<(), LoadError> {
        let head = load::heads(connection).await?;
        let switches = load::switches(connection).await?;
        let plans = load::plans(connection).await?;
        let position = self.routing.table().position;
        // A head that went back: the system database was restored from a backup, and nothing known is known any more.
        let restored = head.events < position;
        let touched = if restored || !self.loaded || head.events == position {
            Vec::new()
        } else {
            load::touched(connection, position, head.events).await?
        };
        // Before the tenants that were just given them.
        let limited = self.routing.change(|table| table.set_plans(plans));
        if limited > 0 && self.loaded {
            tracing::info!(tenants = limited, "plans have changed");
        }
        let changes = if restored || !self.loaded || touched.len() > MANY {
            let routes = load::all(connection).await?;
            self.routing.change(|table| table.replace(routes))
        } else if touched.is_empty() {
            Changes::default()
        } else {
            let routes = load::some(connection, &touched).await?;
            self.routing.change(|table| table.update(&touched, routes))
        };
        self.drop_dependants(&changes, restored);
        if restored {
            tracing::warn!(
                known = position.0,
                now = head.events.0,
                "the event log went back; everything was read again"
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
        self.routing.traced.included(head.events);
        if self.loaded
            && head.events > position
            && let Some(lag) = load::lag(connection, position.next()).await?
        {
            metrics::histogram!(names::INVALIDATION_LAG).record(lag);
        }
        self.loaded = true;
        Ok(())
    }

    fn drop_dependants(&self, changes: &Changes, restored: bool) {
        for (tenant_id, generation) in &changes.retired {
            self.databases.retire(tenant_id, *generation);
        }
        if self.loaded {
            let table = self.routing.table();
            for tenant_id in &changes.touched {
                // After a restore, positions do not mean what they meant.
                let route = table.tenant(tenant_id.as_str()).filter(|_| !restored);
                self.noticeboard.take_down(tenant_id, route.map(|route| route.position));
            }
        }
        if !changes.touched.is_empty() {
            metrics::counter!(names::ROUTE_RELOADS).increment(changes.touched.len() as u64);
            tracing::debug!(tenants = changes.touched.len(), "routes were read again");
        }
    }
}
