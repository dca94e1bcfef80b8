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
use kernel::jobs::{self, Claimant, JobError, Lane, Lease};
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

/// How long before the end of its lease a worker drops the work, at most. Of a short lease it is an eighth.
const MARGIN: Duration = Duration::from_secs(2);
/// Between a renewal that failed and the next one.
const RETRY: Duration = Duration::from_millis(200);

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
            backup_before_purge: false,
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

    /// Who claims.
    pub fn claimant(&self) -> Claimant<'_> {
        let has_backup_store = self.tools.backups.is_some();
        Claimant { owner: &self.owner, duration: self.lease, has_backup_store }
    }

    /// Takes a due job of the first of the worker's lanes that has one.
    async fn claim(&self) -> Result<Option<Lease>, sqlx::Error> {
        for lane in self.lanes {
            let pool = self.tools.store.pool();
            if let Some(lease) = jobs::claim(pool, &self.tools.server.id, *lane, self.claimant()).await? {
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
        // The lease is asked first: after a pause of the process the work makes no step under a lease that is over.
        let result = tokio::select! {
            biased;
            lost = renew(&self.tools.store, &lease) => Err(lost),
            result = sagas::run(&self.tools, &lease).instrument(span) => result,
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

/// Renews the lease until it is lost. The clock is read before each renewal: a process that was stopped for longer than
/// its lease lasts drops the work without asking the database first.
async fn renew(store: &Store, lease: &Lease) -> JobError {
    let mut held_since = lease.claimed_at;
    let mut wait = lease.duration / 3;
    let usable = lease.duration - MARGIN.min(lease.duration / 8);
    loop {
        let rest = |since: Instant| usable.saturating_sub(since.elapsed());
        tokio::time::sleep(wait.min(rest(held_since))).await;
        let left = rest(held_since);
        if left.is_zero() {
            return JobError::Lost;
        }
        wait = match tokio::time::timeout(left, lease.renew(store.pool())).await {
            Ok(Ok(asked)) => {
                held_since = asked;
                lease.duration / 3
            }
            Ok(Err(JobError::Lost)) => return JobError::Lost,
            // The next renewal may still succeed in time.
            Ok(Err(JobError::Database(_))) | Err(_) => RETRY,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::jobs::JobKind;
    use sqlx::mysql::MySqlPoolOptions;

    fn lease(duration: Duration, claimed_at: Instant) -> Lease {
        Lease {
            operation_id: Uuid::now_v7(),
            tenant_id: None,
            kind: JobKind::Audit,
            epoch: 1,
            attempts: 1,
            undoing: false,
            error: None,
            last_attempt: false,
            traceparent: None,
            claimed_at,
            duration,
        }
    }

    /// A server that accepts connections and never answers, so that a renewal would wait for it.
    async fn silent() -> (tokio::net::TcpListener, Store) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mysql://worker@{}/none", listener.local_addr().unwrap());
        let pool = MySqlPoolOptions::new().acquire_timeout(Duration::from_secs(60)).connect_lazy(&url).unwrap();
        (listener, Store::new(pool))
    }

    #[tokio::test]
    async fn a_worker_whose_lease_is_over_asks_for_no_renewal() {
        let (_listener, store) = silent().await;
        let began = Instant::now();
        let claimed_at = began.checked_sub(Duration::from_secs(30)).unwrap();
        assert!(matches!(renew(&store, &lease(Duration::from_secs(15), claimed_at)).await, JobError::Lost));
        assert_eq!(store.pool().size(), 0, "it connected to the system database");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_renewal_without_an_answer_ends_before_the_lease() {
        let (_listener, store) = silent().await;
        let (duration, began) = (Duration::from_secs(6), Instant::now());
        assert!(matches!(renew(&store, &lease(duration, began)).await, JobError::Lost));
        assert!(began.elapsed() < duration, "the worker held on for {:?}", began.elapsed());
    }
}
