//! `control-plane serve` and `control-plane migrate`, each a straight line from the settings to the end.

use crate::admin::{self, AdminState, Admission};
use crate::app::App;
use crate::commands::SignUpAllowance;
use crate::health::{Broker, Census, SystemHealth};
use crate::ownership::Ownership;
use crate::schedule::{self, Clock, ScheduleSettings};
use crate::{gauges, relay};
use anyhow::Context;
use kernel::broker::{DOORBELL_JOBS, Heard, Source, Topology, listen, ring_on};
use kernel::crypto::KeyRing;
use kernel::database::{self, migrate};
use kernel::http::{self, HttpLimits};
use kernel::process::config::Settings;
use kernel::process::health::Health;
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry;
use kernel::store::Store;
use kernel::{broker, default_tenant, start};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

/// Most live streams of events at once; each asks the system database once a second.
const STREAMS: usize = 64;

/// `control-plane serve`.
pub async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let metrics = telemetry::init(settings, "control-plane")?;
    let address: SocketAddr = settings.get("CONTROL_PLANE_LISTEN")?;
    let internal: SocketAddr = settings.get("CONTROL_PLANE_INTERNAL_LISTEN")?;
    let deadline = settings.seconds("SHUTDOWN_DEADLINE")?;
    let limits = HttpLimits::from_settings(settings)?;
    let amqp = broker::url(settings)?;
    let topology = Topology::from_settings(settings)?;
    let keys = KeyRing::parse(&settings.secret("ENCRYPTION_KEYS")?).context("the setting ENCRYPTION_KEYS is wrong")?;
    let schedules = Arc::new(ScheduleSettings::from_settings(settings)?);
    let ownership = Arc::new(Ownership::from_settings(settings)?);
    let sign_ups = SignUpAllowance::from_settings(settings)?;
    let trusted = Arc::clone(&limits.trusted);
    let admission = Admission::new(settings.get("CONTROL_PLANE_CONCURRENCY")?);
    let (patience, retention_days) = (settings.seconds("JOB_PATIENCE")?, settings.get("TENANT_RETENTION_DAYS")?);
    let (needs_broker, notice) = (!settings.get::<bool>("START_WITHOUT_BROKER")?, settings.seconds("SHUTDOWN_NOTICE")?);
    let system_url = settings.secret("SYSTEM_DB_URL")?;
    let pool = database::pool(&system_url, settings.get("CONTROL_PLANE_CONNECTIONS")?)
        .context("the setting SYSTEM_DB_URL is wrong")?;
    start::system_database(&system_url, start::Access::AllTables).await?;
    start::broker(&amqp, &topology, needs_broker).await?;

    let store = Store::new(pool);
    let health = Health::new(metrics);
    let shutdown = Shutdown::on_signals(notice)?;
    shutdown.spawn(keys.clone().report_counts(store.pool().clone(), shutdown.clone()));
    let app = App {
        store: store.clone(),
        keys,
        patience,
        retention_days,
        ownership,
        workers: Arc::new(Notify::new()),
        shutdown: shutdown.clone(),
    };
    let (polled, census) = (Broker::default(), Census::default());
    let state = AdminState {
        app: app.clone(),
        schedules: Arc::clone(&schedules),
        health: SystemHealth::new(app.clone(), polled.clone(), census.clone()),
        sign_ups,
        trusted,
        admission,
        streams: Arc::new(Semaphore::new(STREAMS)),
    };
    schedule::register(store.pool()).await?;
    let default = default_tenant::ensure(settings, &store, "control-plane", None).await?;
    if default.created {
        tracing::info!(tenant_id = %default.tenant_id, "created the default tenant");
    }
    http::serve_internal(internal, &health, &limits, &shutdown).await?;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(%address, "the admin API is served");

    let doorbell = Arc::new(Notify::new());
    let (ring, appended) = (Arc::clone(&doorbell), store.appended());
    let hear = move |_: Heard<'_>| {
        ring.notify_one();
        // Live streams show events of other processes as promptly as those of this one.
        appended.notify_waiters();
    };
    let name = format!("relay-doorbell {}", std::process::id());
    shutdown.spawn(listen(
        amqp.clone(),
        topology.clone(),
        Source::RelayDoorbell,
        name,
        health.clone(),
        shutdown.clone(),
        hear,
    ));
    shutdown.spawn(census.keep(store.clone(), shutdown.clone()));
    shutdown.spawn(polled.watch(amqp.clone(), topology.clone(), shutdown.clone()));
    shutdown.spawn(ring_on(Arc::clone(&app.workers), DOORBELL_JOBS, amqp.clone(), topology.clone(), shutdown.clone()));
    shutdown.spawn(relay::run(store.clone(), amqp, topology, doorbell, health.clone(), shutdown.clone()));
    shutdown.spawn(schedule::lead(Clock { app, settings: Arc::clone(&schedules) }, health.clone()));
    shutdown.spawn(telemetry::watch_system_database(store.pool().clone(), shutdown.clone()));
    shutdown.spawn(gauges::run(store, schedules.backups, health.clone(), shutdown.clone()));
    http::serve(&shutdown, listener, admin::router(state, &health), &health, limits, deadline).await?;
    telemetry::traces::end().await;
    Ok(())
}

/// `control-plane migrate`.
pub async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let mut connection = start::system_connection(&settings.secret("SYSTEM_DB_URL")?).await?;
    let applied = migrate::run(&mut connection).await?;
    match applied.as_slice() {
        [] => eprintln!("the system database is up to date"),
        versions => eprintln!("applied migrations {versions:?}"),
    }
    Ok(())
}
