//! `data-plane serve`: reads the settings, builds the parts, starts the tasks, and serves until SIGTERM.

use crate::access_log::{AccessLog, AccessLogLimits};
use crate::app::{App, Parts};
use crate::connections::{Budget, TenantDatabases};
use crate::follower::{Followed, Follower};
use crate::gauges;
use crate::lookups::Lookups;
use crate::members::Members;
use crate::noticeboard::Noticeboard;
use crate::profiles::Profiles;
use crate::report::Reporter;
use crate::router::router;
use crate::routing::Routing;
use crate::sessions::{LegacySessions, Sessions, UsedSessions};
use anyhow::Context;
use kernel::broker::{Heard, Source, Topology, listen};
use kernel::crypto::KeyRing;
use kernel::http::{self, HttpLimits};
use kernel::process::config::{ConfigError, Settings};
use kernel::process::health::Health;
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry;
use kernel::{broker, database, start};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

pub async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let metrics = telemetry::init(settings, "data-plane")?;
    let address: SocketAddr = settings.get("DATA_PLANE_LISTEN")?;
    let internal: SocketAddr = settings.get("DATA_PLANE_INTERNAL_LISTEN")?;
    let deadline = settings.seconds("SHUTDOWN_DEADLINE")?;
    let limits = HttpLimits::from_settings(settings)?;
    let node = node_name(settings.get("NODE_NAME")?);
    let idle = settings.seconds("DATA_PLANE_IDLE")?;
    let budget = Budget {
        connections: settings.get("DATA_PLANE_CONNECTIONS")?,
        of_tenant: settings.get("DATA_PLANE_TENANT_CONNECTIONS")?,
        wait: Duration::from_millis(settings.get("DATA_PLANE_WAIT")?),
    };
    telemetry::names::tenants::limit(settings.get("METRIC_TENANTS")?);
    let trusted = Arc::clone(&limits.trusted);
    let log_limits = access_log_limits(settings)?;
    let amqp = broker::url(settings)?;
    let topology = Topology::from_settings(settings)?;
    let keys = KeyRing::parse(&settings.secret("ENCRYPTION_KEYS")?).context("the setting ENCRYPTION_KEYS is wrong")?;
    let redis = settings.optional_secret("REDIS_URL")?;
    let (noticeboard, publisher) = Noticeboard::new(redis.as_ref())?;
    let legacy = LegacySessions::new(settings.optional_secret("LEGACY_SECRET_KEY")?.as_ref(), redis.as_ref())?;
    let system_url = settings.secret("SYSTEM_DB_URL")?;
    let options = database::options(&system_url).context("the setting SYSTEM_DB_URL is wrong")?;
    // The follower has one connection of its own, one writes reports and extends sessions, and one writes the access
    // log. The others look up sessions and members.
    let lookups = settings.get::<u32>("DATA_PLANE_SYSTEM_CONNECTIONS")?.saturating_sub(3).max(1);
    let logs = database::pool(&system_url, 1).context("the setting SYSTEM_DB_URL is wrong")?;
    let reports = database::pool(&system_url, 1).context("the setting SYSTEM_DB_URL is wrong")?;
    let pool = database::pool(&system_url, lookups).context("the setting SYSTEM_DB_URL is wrong")?;
    let (needs_broker, notice) = (!settings.get::<bool>("START_WITHOUT_BROKER")?, settings.seconds("SHUTDOWN_NOTICE")?);
    start::system_database(&system_url, start::Access::SomeTables).await?;
    start::broker(&amqp, &topology, needs_broker).await?;

    let health = Health::new(metrics);
    let shutdown = Shutdown::on_signals(notice)?;
    http::serve_internal(internal, &health, &limits, &shutdown).await?;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let routing = Arc::new(Routing::default());
    let looked_up = pool.clone();
    let lookups = Arc::new(Lookups::new(pool, lookups));
    let used = UsedSessions::default();
    let sessions = Arc::new(Sessions::new(Arc::clone(&lookups), legacy, used.clone()));
    let members = Arc::new(Members::new(Arc::clone(&lookups)));
    let profiles = Arc::new(Profiles::new(lookups, Arc::clone(&members)));
    let databases = TenantDatabases::new(keys, budget, Arc::clone(&routing), noticeboard.clone());
    let followed = Followed {
        routing: Arc::clone(&routing),
        sessions: Arc::clone(&sessions),
        members: Arc::clone(&members),
        profiles: Arc::clone(&profiles),
        databases: databases.clone(),
        noticeboard,
    };
    let mut follower = Follower::new(options, followed, health.clone());
    follower.load().await.context("the routing table cannot be loaded from the system database")?;
    tracing::info!(node, %address, tenants = routing.table().len(), "the node serves the tenants' API");

    let followed = Arc::clone(&routing);
    let hear = move |what: Heard<'_>| {
        if let Heard::Message { body, traceparent: Some(traceparent) } = what {
            followed.spans.open(body, traceparent);
        }
        followed.freshness.request();
    };
    let name = format!("data-plane {node}");
    shutdown.spawn(listen(amqp, topology, Source::Events, name, health.clone(), shutdown.clone(), hear));
    shutdown.spawn_to_the_end(follower.run());
    let node_id = format!("{:032x}", u128::from_be_bytes(kernel::crypto::tokens::random()));
    shutdown.spawn(used.run(reports.clone(), shutdown.clone()));
    shutdown.spawn(databases.served().run(reports.clone(), Arc::clone(&routing), shutdown.clone()));
    let reporter = Reporter {
        node_id,
        node_name: node,
        pool: reports,
        routing: Arc::clone(&routing),
        databases: databases.clone(),
        budget: budget.connections,
        lookups: looked_up.clone(),
    };
    shutdown.spawn(reporter.run(health.clone(), shutdown.clone()));
    shutdown.spawn(telemetry::watch_system_database(looked_up, shutdown.clone()));
    shutdown.spawn(databases.clone().sweep(idle, shutdown.clone()));
    shutdown.spawn(gauges::run(Arc::clone(&routing), databases.clone(), budget.connections, shutdown.clone()));
    if let Some(publisher) = publisher {
        shutdown.spawn(publisher.run(health.clone(), shutdown.clone()));
    }
    let log = log_limits.map(|limits| {
        let (log, writer) = AccessLog::new(limits, Arc::clone(&trusted), logs, health.clone());
        shutdown.spawn(writer.run(shutdown.clone()));
        log
    });
    let app = App::new(Parts { routing, trusted, sessions, members, profiles, databases });
    http::serve(&shutdown, listener, router(app, log, &health), &health, limits, deadline).await?;
    telemetry::traces::end().await;
    Ok(())
}

/// `None`: there is no access log.
fn access_log_limits(settings: &Settings) -> Result<Option<AccessLogLimits>, ConfigError> {
    let rate = NonZeroU32::new(settings.get("ACCESS_LOG_ROWS_PER_SECOND")?);
    let stranger_rate = settings.get("ACCESS_LOG_STRANGER_ROWS_PER_SECOND")?;
    let buffer = settings.get("ACCESS_LOG_BUFFER")?;
    Ok(rate.map(|rate| AccessLogLimits { rate, stranger_rate, buffer }))
}

fn node_name(given: String) -> String {
    if !given.is_empty() {
        return given;
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}-{}", if host.is_empty() { "node" } else { host }, std::process::id())
}
