//! A worker claims jobs of one database server, one after the other, and renews the lease of each while it works.
//!
//! **Guarantees.** A worker works on a job only while it holds the job's lease. It renews the lease three times in its
//! length. If no renewal has succeeded until shortly before the lease's end (by this process's own clock), it drops the
//! work in the middle. The worker that takes the job over kills the connection on which the work ran, so even a worker
//! that was paused does nothing more after it wakes up.

use crate::backup::{BackupStore, Retention};
use crate::sagas::{self, Tools};
use crate::server::Server;
use crate::statistics::Collecting;
use kernel::crypto::KeyRing;
use kernel::database::sql;
use kernel::jobs::{self, JobError, Lane, Lease};
use kernel::process::config::{ConfigError, Settings, wrong};
use kernel::process::retry::Waits;
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::{names, traces};
use kernel::store::Store;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tracing::Instrument;
use uuid::Uuid;

/// How long before the end of its lease a worker drops the work.
const MARGIN: Duration = Duration::from_secs(2);

/// A worker of a database server.
pub struct Worker {
    pub tools: Arc<Tools>,
    /// Which jobs it claims, in the order of their urgency.
    pub lanes: &'static [Lane],
    /// Its name in leases.
    pub owner: String,
    /// Length of its leases.
    pub lease: Duration,
    /// Notified when there may be work.
    pub doorbell: Arc<Notify>,
    /// Wakes the task that notifies the workers.
    pub dispatcher: Arc<Notify>,
}

impl Worker {
    /// A worker inside the command `name`, for jobs of one server, where perhaps no provisioner runs.
    pub fn in_command(
        name: &str,
        settings: &Settings,
        store: Store,
        keys: KeyRing,
        installation: String,
        server_id: &str,
    ) -> Result<Self, ConfigError> {
        let account_host: String = settings.get("TENANT_ACCOUNT_HOST")?;
        sql::literal(&account_host).map_err(|error| wrong("TENANT_ACCOUNT_HOST", error))?;
        let servers: Arc<[_]> = Server::from_settings(settings)?.into_iter().map(Arc::new).collect();
        let server = servers.iter().find(|server| server.id == server_id).cloned();
        let tools = Tools {
            store,
            keys,
            server: server.ok_or_else(|| Server::unknown(server_id))?,
            servers,
            installation,
            account_host,
            backups: BackupStore::from_settings(settings)?,
            retention: Retention::from_settings(settings)?,
            backup_before_purge: None,
            collecting: Collecting::default(),
        };
        Ok(Self {
            tools: Arc::new(tools),
            lanes: &[],
            owner: format!("{name}:{}:{}", std::process::id(), Uuid::new_v4()),
            lease: settings.seconds("JOB_LEASE")?,
            doorbell: Arc::default(),
            dispatcher: Arc::default(),
        })
    }

    /// Works until the process must stop. The worker first finishes the job that it works on, or gives it back if its
    /// kind allows that.
    pub async fn run(self, shutdown: Shutdown) {
        let mut waits = Waits::new(Duration::from_millis(200), Duration::from_secs(10));
        while !shutdown.is_requested() {
            match self.claim().await {
                Ok(Some(lease)) => {
                    waits.reset();
                    // There may be more jobs, so the next worker wakes.
                    self.doorbell.notify_one();
                    self.work_unless_stopped(lease, &shutdown).await;
                    // The job may be due again soon, and others may have waited for its tenant.
                    self.dispatcher.notify_one();
                }
                Ok(None) => {
                    waits.reset();
                    tokio::select! { () = self.doorbell.notified() => {}, () = shutdown.requested() => {} }
                }
                Err(error) => {
                    tracing::warn!(cause = %error, "jobs cannot be claimed");
                    tokio::select! { () = tokio::time::sleep(waits.next_wait()) => {}, () = shutdown.requested() => {} }
                }
            }
        }
    }

    /// Takes a due job of the first of the worker's lanes that has one.
    async fn claim(&self) -> Result<Option<Lease>, sqlx::Error> {
        for lane in self.lanes {
            let pool = self.tools.store.pool();
            if let Some(lease) = jobs::claim(pool, &self.tools.server.id, *lane, &self.owner, self.lease).await? {
                return Ok(Some(lease));
            }
        }
        Ok(None)
    }

    async fn work_unless_stopped(&self, lease: Lease, shutdown: &Shutdown) {
        if !lease.kind.waits_for_its_server() {
            return self.work(lease).await;
        }
        tokio::select! {
            () = self.work(lease.clone()) => {}
            () = shutdown.requested() => {
                let (pool, stopped) = (self.tools.store.pool(), "the worker was asked to stop");
                let _ = lease.retry_after(pool, Duration::ZERO, stopped, lease.undoing).await;
            }
        }
    }

    /// Works on one job, as long as its lease is held.
    pub async fn work(&self, lease: Lease) {
        let began = Instant::now();
        let tenant_id = lease.tenant_id.as_ref().map_or("", |id| id.as_str());
        let job = (lease.operation_id, tenant_id, lease.epoch, lease.attempts);
        let server = &self.tools.server.id;
        tracing::info!(
            operation_id = %job.0, tenant_id = %job.1, server, kind = %lease.kind, attempt = job.3, "a job begins"
        );
        let span =
            tracing::info_span!("job", operation_id = %job.0, tenant_id = %job.1, kind = %lease.kind, attempt = job.3);
        traces::follow(&span, lease.traceparent.as_deref());
        let result = tokio::select! {
            result = sagas::run(&self.tools, &lease).instrument(span) => result,
            lost = renew(&self.tools.store, &lease) => Err(lost),
        };
        let outcome = match result {
            Ok(outcome) => {
                let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(
                    operation_id = %job.0, tenant_id = %job.1, server, outcome = %outcome, duration_ms = millis,
                    "a job ends"
                );
                outcome.as_str()
            }
            Err(error) => {
                tracing::warn!(
                    operation_id = %job.0, tenant_id = %job.1, epoch = job.2, cause = %error,
                    "the worker has lost the job"
                );
                "lost"
            }
        };
        metrics::counter!(names::JOBS, "kind" => lease.kind.as_str(), "outcome" => outcome).increment(1);
        metrics::histogram!(names::JOB_DURATION, "kind" => lease.kind.as_str()).record(began.elapsed());
    }
}

/// Renews the lease until it is lost.
async fn renew(store: &Store, lease: &Lease) -> JobError {
    let mut held_since = lease.claimed_at;
    loop {
        let rest = (lease.duration.saturating_sub(MARGIN)).saturating_sub(held_since.elapsed());
        if rest.is_zero() {
            return JobError::Lost;
        }
        tokio::time::sleep((lease.duration / 3).min(rest)).await;
        let rest = lease.duration.saturating_sub(held_since.elapsed());
        match tokio::time::timeout(rest.max(Duration::from_millis(1)), lease.renew(store.pool())).await {
            Ok(Ok(asked)) => held_since = asked,
            Ok(Err(JobError::Lost)) => return JobError::Lost,
            // The next renewal may still succeed in time.
            Ok(Err(JobError::Database(_))) | Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
