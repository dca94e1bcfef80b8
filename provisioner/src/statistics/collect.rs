//! Collections: all tenants of the server, a few at a time, under a lease.
//!
//! **Guarantees.** A tenant that fails (its database is gone, a statement takes too long) is recorded with the reason and
//! holds up nobody. When the server itself cannot be reached the collection waits for it and no tenant is blamed. A
//! collection whose worker was killed is taken up by another, which passes over what is recorded already; one that was
//! stopped and wakes up again records nothing.

use super::count::{Counting, DAYS};
use super::error::CountError;
use super::{POLL, Statistician};
use crate::server::Marker;
use chrono::{Days, NaiveDate};
use kernel::domain::TenantId;
use kernel::error::chain;
use kernel::process::retry::{Waits, wait_after};
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use kernel::statistics::{self, Collection, CollectionError, Counts, IS_COUNTED};
use sqlx::{Connection, MySqlConnection};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest time for one tenant and [`DAYS`] days.
const TENANT_DEADLINE: Duration = Duration::from_secs(60);
/// Days before today that a catching-up collection goes back, at most.
const CATCH_UP: u64 = 31;
/// Waits for a server that is away.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A tenant to count, and from which day on.
struct Due {
    tenant_id: TenantId,
    from: NaiveDate,
}

/// Shared by the connections of one collection.
struct Progress {
    due: Mutex<VecDeque<Due>>,
    tenants: u32,
    collected: AtomicU32,
    failed: AtomicU32,
}

/// Why a collection was not ended.
pub(super) enum Stop {
    /// It belongs to somebody else, or the system database failed.
    Let(CollectionError),
    /// The server cannot be reached.
    Away(String),
}

impl From<CollectionError> for Stop {
    fn from(error: CollectionError) -> Self {
        Self::Let(error)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Let(error.into())
    }
}

impl Progress {
    fn counts(&self) -> Counts {
        let (collected, failed) = (self.collected.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        Counts { tenants: self.tenants, collected, failed }
    }

    fn next(&self) -> Option<Due> {
        self.due.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front()
    }
}

impl Statistician {
    /// Collects whatever is asked for, until the process is asked to stop; a collection in work is given up then, and
    /// goes on elsewhere or later.
    pub(super) async fn collect(&self, shutdown: Shutdown) {
        let owner = format!("{}:{}", std::process::id(), uuid::Uuid::new_v4());
        let mut waits = Waits::new(Duration::from_millis(200), Duration::from_secs(10));
        while !shutdown.is_requested() {
            let wait = match statistics::claim(self.store.pool(), &self.server.id, &owner, self.lease).await {
                Ok(Some(collection)) => {
                    waits.reset();
                    tokio::select! {
                        () = self.one(&collection) => {}
                        () = shutdown.requested() => {
                            let _ = collection.retry_after(self.store.pool(), Duration::ZERO, "its worker stopped").await;
                        }
                    }
                    continue;
                }
                Ok(None) => POLL,
                Err(error) => {
                    tracing::warn!(cause = %error, "collections cannot be claimed");
                    waits.next_wait()
                }
            };
            tokio::select! { () = tokio::time::sleep(wait) => {}, () = shutdown.requested() => {} }
        }
    }

    async fn one(&self, collection: &Collection) {
        let began = Instant::now();
        let (id, server) = (&collection.collection_id, &self.server.id);
        tracing::info!(collection_id = %id, %server, attempt = collection.attempts, "a collection begins");
        let outcome = match self.attempt(collection).await {
            Ok(counts) => {
                let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                let Counts { tenants, collected, failed } = counts;
                tracing::info!(collection_id = %id, %server, tenants, collected, failed, duration_ms = millis, "a collection ends");
                if failed == 0 { "succeeded" } else { "failed" }
            }
            Err(Stop::Away(reason)) => {
                tracing::warn!(collection_id = %id, %server, reason, "a collection waits for its server");
                let wait = wait_after(collection.attempts, FIRST_WAIT, LONGEST_WAIT);
                let _ = collection.retry_after(self.store.pool(), wait, &reason).await;
                "again"
            }
            Err(Stop::Let(error)) => {
                tracing::warn!(collection_id = %id, %server, cause = %chain(&error), "a collection was let go");
                "lost"
            }
        };
        metrics::counter!(names::COLLECTIONS, "outcome" => outcome).increment(1);
        metrics::histogram!(names::COLLECTION_DURATION).record(began.elapsed());
    }

    async fn attempt(&self, collection: &Collection) -> Result<Counts, Stop> {
        let (due, done, failed) = self.due(collection).await?;
        let tenants = u32::try_from(due.len()).unwrap_or(u32::MAX) + done + failed;
        let (collected, failed) = (AtomicU32::new(done), AtomicU32::new(failed));
        let progress = Progress { due: Mutex::new(due.into()), tenants, collected, failed };
        let hands = (0..self.connections).map(|_| self.hand(collection, &progress));
        let work = futures::future::try_join_all(hands);
        tokio::select! {
            biased;
            lost = self.keep_lease(collection, &progress) => return Err(lost.into()),
            worked = work => { worked?; }
        }
        kernel::process::failpoint::hit("collect.counted").await;
        self.publish(collection).await?;
        collection.end(self.store.pool(), progress.counts()).await?;
        Ok(progress.counts())
    }

    /// The tenants that are left to count, and how many were counted or given up by an earlier attempt.
    async fn due(&self, collection: &Collection) -> Result<(Vec<Due>, u32, u32), sqlx::Error> {
        type Row = (String, NaiveDate, Option<NaiveDate>, bool, bool);
        let rows: Vec<Row> = sqlx::query_as(&format!(
            "SELECT s.tenant_id, DATE(COALESCE(t.created_at, UTC_TIMESTAMP())),
                    (SELECT MAX(d.stat_date) FROM saas_tenant_daily_statistics d WHERE d.tenant_id = s.tenant_id
                       AND d.stat_date >= ? - INTERVAL {CATCH_UP} DAY AND d.collected_at >= d.stat_date + INTERVAL 1 DAY),
                    EXISTS (SELECT 1 FROM saas_tenant_daily_statistics d WHERE d.tenant_id = s.tenant_id
                            AND d.stat_date = ? AND d.collection_id = ?) <> 0,
                    EXISTS (SELECT 1 FROM saas_collection_failures f WHERE f.tenant_id = s.tenant_id
                            AND f.collection_id = ?) <> 0
             FROM saas_tenant_snapshots s LEFT JOIN saas_tenants t ON t.tenant_id = s.tenant_id
             WHERE s.server_id = ? AND {IS_COUNTED} ORDER BY s.tenant_id"
        ))
        .bind(collection.to)
        .bind(collection.to)
        .bind(&collection.collection_id)
        .bind(&collection.collection_id)
        .bind(&self.server.id)
        .fetch_all(self.store.pool())
        .await?;
        let oldest = collection.to - Days::new(CATCH_UP);
        let (mut due, mut done, mut failed) = (Vec::new(), 0, 0);
        for (tenant_id, created, final_until, counted, given_up) in rows {
            let Ok(tenant_id) = tenant_id.parse() else { continue };
            if counted || given_up {
                done += u32::from(counted);
                failed += u32::from(!counted);
                continue;
            }
            // Days after the last one that was counted when it was over.
            let open = final_until.map_or(created, |day| day + Days::new(1)).clamp(oldest, collection.to);
            due.push(Due { tenant_id, from: collection.from.unwrap_or(open) });
        }
        Ok((due, done, failed))
    }

    /// One connection, which counts one tenant after the other.
    async fn hand(&self, collection: &Collection, progress: &Progress) -> Result<(), Stop> {
        let mut kept: Option<MySqlConnection> = None;
        while let Some(due) = progress.next() {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => self.server.connect().await.map_err(|error| Stop::Away(error.reason(&self.server.id)))?,
            };
            let counted = self.tenant(&mut connection, collection, &due).await;
            match counted {
                Ok(()) => {
                    progress.collected.fetch_add(1, Ordering::Relaxed);
                    kept = Some(connection);
                }
                Err(CountError::Job(error)) => return Err(error_of_system(error)),
                Err(error) => {
                    let broken = error.is_unreachable();
                    if broken && let Err(away) = self.server.connect().await {
                        return Err(Stop::Away(away.reason(&self.server.id)));
                    }
                    tracing::warn!(tenant_id = %due.tenant_id, cause = %chain(&error), "a tenant could not be counted");
                    let reason = error.reason(&self.server.id);
                    collection.record_failure(self.store.pool(), due.tenant_id.as_str(), &reason).await?;
                    progress.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        if let Some(connection) = kept {
            let _ = connection.close().await;
        }
        Ok(())
    }

    async fn tenant(
        &self,
        connection: &mut MySqlConnection,
        collection: &Collection,
        due: &Due,
    ) -> Result<(), CountError> {
        let dialect = self.server.learn_dialect(connection).await?;
        let marker = Marker::new(&self.installation, &due.tenant_id);
        let days: Vec<NaiveDate> = due.from.iter_days().take_while(|day| *day <= collection.to).collect();
        // Oldest first: the row of the last day says that the tenant was counted.
        for days in days.chunks(DAYS) {
            let counting = async {
                let mut counting =
                    Counting { connection: &mut *connection, system: self.store.pool(), marker: &marker };
                let figures = counting.count(dialect, days).await?;
                kernel::process::failpoint::hit("collect.before_keep").await;
                counting.keep(&figures).await?;
                Ok(figures)
            };
            let figures = tokio::time::timeout(TENANT_DEADLINE, counting).await;
            let figures = figures.unwrap_or_else(|_| Err(CountError::TooLong))?;
            collection.record(self.store.pool(), due.tenant_id.as_str(), &figures).await.map_err(
                |error| match error {
                    CollectionError::Lost => CountError::Job(kernel::jobs::JobError::Lost),
                    CollectionError::Database(error) => CountError::Job(error.into()),
                },
            )?;
            kernel::process::failpoint::hit("collect.recorded").await;
        }
        Ok(())
    }

    /// Renews the lease and shows the progress until the lease is lost.
    async fn keep_lease(&self, collection: &Collection, progress: &Progress) -> CollectionError {
        let mut held_since = collection.claimed_at;
        loop {
            tokio::time::sleep((collection.duration / 4).min(Duration::from_secs(1))).await;
            if held_since.elapsed() >= collection.duration {
                return CollectionError::Lost;
            }
            let rest = collection.duration.saturating_sub(held_since.elapsed());
            match tokio::time::timeout(rest, collection.renew(self.store.pool(), progress.counts())).await {
                Ok(Ok(asked)) => held_since = asked,
                Ok(Err(CollectionError::Lost)) => return CollectionError::Lost,
                // Perhaps the next renewal succeeds in time.
                Ok(Err(CollectionError::Database(_))) | Err(_) => {}
            }
        }
    }
}

fn error_of_system(error: kernel::jobs::JobError) -> Stop {
    match error {
        kernel::jobs::JobError::Lost => Stop::Let(CollectionError::Lost),
        kernel::jobs::JobError::Database(error) => Stop::Let(error.into()),
    }
}
