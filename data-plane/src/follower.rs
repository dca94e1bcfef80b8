//! [`Follower`]: the one task that follows the event log. It alone changes the routing table and invalidates the
//! caches.
//!
//! The follower stands above everything that it invalidates. A refresh is always the same work, whether a message, the
//! clock or a request with old knowledge woke it: it reads in one statement what has changed since the last refresh
//! ([`News`]), then the routes of the tenants concerned. A message only wakes it, so a lost, doubled or reordered
//! message changes nothing but the time of a refresh.
//!
//! What the follower invalidates:
//! * When a tenant is suspended, deleted or moved, or has a new database user, the connection pool closes the tenant's
//!   connections ([`TenantDatabases::retire`]).
//! * When anything else than a member of a tenant changes, the tenant's route is read again, and the noticeboard
//!   withdraws its notice.
//! * When a member of a tenant changes, just that membership is forgotten. A revoked session and the profile of a
//!   changed user are forgotten in the same way.
//! * When it is not known what has changed, everything of that kind is forgotten. This is so after a gap in the numbers
//!   (an older program announced the change), when the node is far behind, and when a number went back, because the
//!   system database was restored.
//!
//! **Guarantee.** Rows are read after the head, so the routes are at least as new as the position that the table then
//! claims. A failed refresh claims nothing.

use crate::connections::TenantDatabases;
use crate::members::Members;
use crate::noticeboard::Noticeboard;
use crate::profiles::Profiles;
use crate::routing::{
    Changed, Changes, Cursors, Event, Freshness, LONGEST, LoadError, MAX_AGE, News, Patience, Routing, Timestamp, load,
    long_answer, news,
};
use crate::sessions::Sessions;
use kernel::database;
use kernel::domain::{Position, TenantId};
use kernel::error::chain;
use kernel::process::health::{Health, Part};
use kernel::process::telemetry::names;
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlConnectOptions;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the follower looks for changes when nothing wakes it. Nothing announces revocations, so this decides how
/// soon a revoked session is refused.
const TICK: Duration = Duration::from_millis(500);

/// Shortest time between the beginnings of two refreshes, so that many changes in a short time need only one. A change
/// that happens alone is not delayed.
const MIN_GAP: Duration = Duration::from_millis(50);

/// What the follower changes and invalidates.
pub struct Followed {
    pub routing: Arc<Routing>,
    pub sessions: Arc<Sessions>,
    pub members: Arc<Members>,
    pub profiles: Arc<Profiles>,
    pub databases: TenantDatabases,
    pub noticeboard: Noticeboard,
}

/// Follows the event log for one node.
pub struct Follower {
    options: MySqlConnectOptions,
    connection: Option<MySqlConnection>,
    patience: Patience,
    cursors: Cursors,
    /// The log went back, and not everything was read again since.
    restored: bool,
    failing: bool,
    followed: Followed,
    health: Health,
}

impl Follower {
    /// A follower that has read nothing yet.
    pub fn new(options: MySqlConnectOptions, followed: Followed, health: Health) -> Self {
        let (connection, patience, cursors) = (None, Patience::default(), Cursors::default());
        Self { options, connection, patience, cursors, restored: false, failing: false, followed, health }
    }

    /// The first refresh, which reads everything.
    pub async fn load(&mut self) -> Result<(), LoadError> {
        self.refresh().await
    }

    /// Follows until the process ends, because requests that are drained at the end need a fresh table too.
    pub async fn run(mut self) {
        let routing = Arc::clone(&self.followed.routing);
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
        let routing = Arc::clone(&self.followed.routing);
        let freshness: &Freshness = &routing.freshness;
        let connection = self.connection.take();
        let was_open = connection.is_some();
        let mut outcome = self.refresh_on(connection, freshness).await;
        if was_open && matches!(outcome, Err(LoadError::Database(_))) {
            // The server may have closed a connection that worked a second ago (a restart, a KILL).
            outcome = self.refresh_on(None, freshness).await;
        }
        match &outcome {
            Ok(began) => {
                freshness.succeeded(*began);
                let part = if freshness.age() > MAX_AGE {
                    Part::Degraded("it answers too slowly; requests are refused".into())
                } else {
                    Part::Healthy
                };
                self.health.report("system_database", part);
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!(cause = %chain(error), "the node cannot learn what has changed");
                }
                // The health page is public, so it does not show the cause.
                let position = routing.table().position;
                let reason = if error.means_away() {
                    freshness.away();
                    format!("away; serving what was known at position {position}")
                } else {
                    freshness.failed();
                    "it refuses a query; requests are refused".into()
                };
                self.health.report("system_database", Part::Degraded(reason));
            }
        }
        self.failing = outcome.is_err();
        outcome.map(drop)
    }

    async fn connect(&mut self, freshness: &Freshness) -> Result<MySqlConnection, LoadError> {
        let connecting = async {
            let mut connection = database::connect_within(&self.options, LONGEST).await?;
            database::limit_statements(&mut connection, LONGEST).await?;
            Ok(connection)
        };
        self.patience.connection(freshness, connecting).await
    }

    async fn refresh_on(
        &mut self,
        connection: Option<MySqlConnection>,
        freshness: &Freshness,
    ) -> Result<Timestamp, LoadError> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.connect(freshness).await?,
        };
        // What is many changes behind is read in several pages.
        let began = loop {
            let began = freshness.now();
            let news = self.patience.answer(freshness, news(&mut connection, self.cursors)).await?;
            let heads = Cursors {
                events: Some(news.heads.events),
                sessions: Some(news.heads.sessions),
                users: Some(news.heads.users),
            };
            self.apply(&mut connection, news).await?;
            if self.cursors == heads {
                break began;
            }
        };
        // The connection is used again only if every answer was read to its end.
        self.connection = Some(connection);
        Ok(began)
    }

    /// Brings the table and the caches up to the news.
    async fn apply(&mut self, connection: &mut MySqlConnection, mut news: News) -> Result<(), LoadError> {
        let head = news.heads.events;
        self.restored |= self.cursors.events.is_some_and(|position| head < position);
        if self.restored {
            // The other numbers may have passed those of the cursors again.
            (self.cursors.sessions, self.cursors.users) = (None, None);
        }
        let restored = self.restored;
        // What is forgotten waits for no query.
        let Followed { sessions, profiles, .. } = &self.followed;
        let (revoked, changed) = (news.revoked(self.cursors.sessions), news.changed_users(self.cursors.users));
        let until = revoked.forget(news.heads.sessions, |digest| sessions.forget(digest), || sessions.forget_all());
        self.cursors.sessions = Some(until);
        let until = changed.forget(news.heads.users, |user_id| profiles.forget(user_id), || profiles.forget_all());
        self.cursors.users = Some(until);
        let events = news.events(self.cursors.events.filter(|_| !restored));
        // Plans are set before the routes of tenants that were just given one.
        let plans = std::mem::take(&mut news.plans);
        let limited = self.followed.routing.change(|table| table.set_plans(plans));
        if limited > 0 && self.cursors.events.is_some() {
            tracing::info!(tenants = limited, "the limits of tenants have changed with their plans");
        }
        let until = match events {
            Changed::These(events, until) => {
                self.apply_events(connection, &events).await?;
                if let Some(oldest) = events.first() {
                    metrics::histogram!(names::INVALIDATION_LAG).record(oldest.age);
                }
                Position(until)
            }
            Changed::Anything => {
                self.followed.members.forget_all();
                self.read_everything(connection, restored).await?;
                head
            }
        };
        self.followed.routing.change(|table| {
            table.position = until;
            table.switches = news.switches;
        });
        self.followed.routing.spans.end(until);
        self.cursors.events = Some(until);
        Ok(())
    }

    async fn apply_events(&mut self, connection: &mut MySqlConnection, events: &[Event]) -> Result<(), LoadError> {
        let mut touched: Vec<TenantId> = Vec::new();
        for event in events {
            let Some(tenant_id) = &event.tenant_id else { continue };
            match &event.user_id {
                Some(user_id) => self.followed.members.forget(tenant_id, user_id),
                // A newer version has events of members that name no user.
                None if event.is_of_members() => self.followed.members.forget_all(),
                None => touched.push(tenant_id.clone()),
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for chunk in touched.chunks(load::CHUNK) {
            let freshness = &self.followed.routing.freshness;
            let rows = self.patience.answer(freshness, load::rows(connection, chunk)).await?;
            let domains = self.patience.answer(freshness, load::domains(connection, chunk)).await?;
            let routes = load::routes(&rows, &domains)?;
            let changes = self.followed.routing.change(|table| table.update(chunk, routes));
            self.invalidate(&changes, false);
        }
        Ok(())
    }

    async fn read_everything(&mut self, connection: &mut MySqlConnection, restored: bool) -> Result<(), LoadError> {
        let freshness = &self.followed.routing.freshness;
        let routes = long_answer(freshness, load::all_tenants(connection)).await?;
        let changes = self.followed.routing.change(|table| table.replace(routes));
        self.invalidate(&changes, restored);
        self.restored = false;
        if restored {
            tracing::warn!("the event log went back: the system database was restored; everything was read again");
        }
        Ok(())
    }

    fn invalidate(&self, changes: &Changes, restored: bool) {
        for (tenant_id, generation) in &changes.retired {
            self.followed.databases.retire(tenant_id, *generation);
        }
        if self.cursors.events.is_some() {
            let table = self.followed.routing.table();
            for tenant_id in &changes.touched {
                // After a restore, positions cannot be compared with earlier ones.
                let route = table.tenant(tenant_id.as_str()).filter(|_| !restored);
                self.followed.noticeboard.withdraw(tenant_id, route.map(|route| route.position));
            }
        }
        if !changes.touched.is_empty() {
            metrics::counter!(names::ROUTE_RELOADS).increment(changes.touched.len() as u64);
            tracing::debug!(tenants = changes.touched.len(), "the follower has read routes again");
        }
    }
}
