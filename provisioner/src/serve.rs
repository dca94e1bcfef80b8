//! `provisioner serve`: reads the settings, checks what the process needs, and starts the workers of each database
//! server.

use crate::backup::{Access, BackupError, BackupStore, Retention};
use crate::dispatch::{Crews, Dispatcher};
use crate::health::Checker;
use crate::sagas::Tools;
use crate::server::{self, Server};
use crate::statistics::{Collecting, DailyStatisticsCache, Statistician};
use anyhow::Context;
use kernel::broker::{Heard, Source, Topology, listen, ring_relay};
use kernel::crypto::KeyRing;
use kernel::database::{self, sql};
use kernel::error::chain;
use kernel::http::{self, HttpLimits};
use kernel::process::config::{Settings, wrong};
use kernel::process::health::Health;
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry;
use kernel::store::Store;
use kernel::{broker, start};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// Works on jobs until SIGTERM.
pub async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let metrics = telemetry::init(settings, "provisioner")?;
    let address: SocketAddr = settings.get("PROVISIONER_LISTEN")?;
    let deadline = settings.seconds("SHUTDOWN_DEADLINE")?;
    let limits = HttpLimits::from_settings(settings)?;
    let lease = settings.seconds("JOB_LEASE")?;
    let measure = settings.seconds("STORAGE_MEASURE_EVERY")?;
    let amqp = broker::url(settings)?;
    let topology = Topology::from_settings(settings)?;
    let keys = KeyRing::parse(&settings.secret("ENCRYPTION_KEYS")?).context("the setting ENCRYPTION_KEYS is wrong")?;
    let account_host: String = settings.get("TENANT_ACCOUNT_HOST")?;
    sql::literal(&account_host).context("the setting TENANT_ACCOUNT_HOST is wrong")?;
    let statistics: u32 = settings.get("STATISTICS_CONNECTIONS")?;
    let checks: u32 = settings.get("HEALTH_CONNECTIONS")?;
    let checked_every = settings.seconds("HEALTH_EVERY")?;
    let cache = DailyStatisticsCache::new(settings.optional_secret("REDIS_URL")?.as_ref())?;
    let backups = BackupStore::from_settings(settings)?;
    let retention = Retention::from_settings(settings)?;
    let crews = Crews::from_settings(settings, backups.is_some())?;
    let backup_before_purge = match settings.get("BACKUP_BEFORE_PURGE")? {
        true if backups.is_none() => {
            return Err(wrong("BACKUP_BEFORE_PURGE", "true needs a place for backups: the setting BACKUP_STORE").into());
        }
        enabled => enabled,
    };
    let servers = Server::from_settings(settings)?;
    // A worker holds one connection while it records a step and another one while it renews its lease. A collection
    // holds one for each of its connections to the database server.
    let of_server = 2 * crews.of_server() + statistics + 4;
    let connections = 4 + of_server * u32::try_from(servers.len()).unwrap_or(u32::MAX);
    let needs_broker = !settings.get::<bool>("START_WITHOUT_BROKER")?;
    let system_url = settings.secret("SYSTEM_DB_URL")?;
    start::system_database(&system_url, start::Access::AllTables).await?;
    start::broker(&amqp, &topology, needs_broker).await?;
    server::check_at_start(&servers).await?;
    let pool = database::pool(&system_url, connections).context("the setting SYSTEM_DB_URL is wrong")?;
    let mut connection = pool.acquire().await.context("the system database (SYSTEM_DB_URL) cannot be reached")?;
    let installation = kernel::store::installation::installation_id(&mut *connection).await?;
    drop(connection);
    if let Some(backups) = &backups {
        match backups.belongs_to(&installation, Access::Write).await {
            Err(error @ BackupError::Refused(_)) => return Err(error.into()),
            // A store that is away is asked again by each job.
            Err(error) => tracing::warn!(cause = %chain(&error), "the backup store cannot be reached"),
            Ok(()) => {}
        }
    }

    let store = Store::new(pool);
    let health = Health::new(metrics);
    // Without a delay, because no load balancer sends work to this process: a worker claims no job after the signal.
    let shutdown = Shutdown::on_signals(Duration::ZERO)?;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let doorbell = Arc::new(Notify::new());
    let ring = Arc::clone(&doorbell);
    let asked: Vec<Arc<Notify>> = servers.iter().map(|_| Arc::default()).collect();
    let questions = asked.clone();
    let hear = move |_: Heard<'_>| {
        ring.notify_one();
        questions.iter().for_each(|server| server.notify_one());
    };
    let name = format!("provisioner {}", std::process::id());
    shutdown.spawn(listen(amqp.clone(), topology.clone(), Source::Jobs, name, health.clone(), shutdown.clone(), hear));
    shutdown.spawn(ring_relay(store.clone(), amqp, topology, shutdown.clone()));
    shutdown.spawn(telemetry::watch_system_database(store.pool().clone(), shutdown.clone()));
    shutdown.spawn(keys.clone().report_counts(store.pool().clone(), shutdown.clone()));
    let mut dispatcher = Dispatcher::new(store.clone(), doorbell);
    let servers: Arc<[Arc<Server>]> = servers.into_iter().map(Arc::new).collect();
    for (server, asked) in servers.iter().cloned().zip(asked) {
        shutdown.spawn(server::keep_registered(
            Arc::clone(&server),
            account_host.clone(),
            store.clone(),
            health.clone(),
            shutdown.clone(),
        ));
        let statistician = Statistician {
            store: store.clone(),
            server: Arc::clone(&server),
            installation: installation.clone(),
            asked,
        };
        shutdown.spawn(statistician.run(shutdown.clone()));
        let checker = Checker {
            store: store.clone(),
            keys: keys.clone(),
            server: Arc::clone(&server),
            connections: checks as usize,
            every: checked_every,
        };
        shutdown.spawn(checker.run(shutdown.clone()));
        shutdown.spawn(server::keep_measured(Arc::clone(&server), store.clone(), measure, shutdown.clone()));
        let tools = Arc::new(Tools {
            store: store.clone(),
            keys: keys.clone(),
            server,
            servers: Arc::clone(&servers),
            installation: installation.clone(),
            account_host: account_host.clone(),
            backups: backups.clone(),
            retention,
            backup_before_purge,
            collecting: Collecting { connections: statistics, cache: cache.clone() },
        });
        dispatcher.start_workers(crews, &tools, lease, &shutdown);
    }
    shutdown.spawn(dispatcher.run(shutdown.clone()));
    tracing::info!(%address, workers = crews.of_server(), "the provisioner works");
    http::serve(&shutdown, listener, http::internal_router(&health), &health, limits, deadline).await?;
    telemetry::traces::end().await;
    Ok(())
}
