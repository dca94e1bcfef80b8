//! The saga of the kind `collect`: counts the statistics of all tenants of a database server, a few at a time, and then
//! adds up the days of the whole system.
//!
//! **Guarantees.** A tenant that cannot be counted (its database is gone, a statement takes too long) is recorded with
//! the reason and does not hold up the others. When the server itself cannot be reached, the collection waits for it
//! and no tenant is blamed. A collection whose worker was killed is taken up by another, which passes over what is
//! recorded already.

mod tenants;

use super::saga::{EndedBy, Saga, ServerWork};
use super::{StepError, Tools};
use crate::statistics::publish;
use kernel::jobs::{JobError, Lease};
use kernel::process::failpoint;
use kernel::process::telemetry::names;
use kernel::statistics::{Collection, Counts};
use std::time::{Duration, Instant};
use tenants::Progress;

/// Longest time for one attempt. The time for one tenant has a limit of its own, so only the number of tenants counts.
const DEADLINE: Duration = Duration::from_secs(7 * 86_400);
/// How often the row of the collection shows how far it is.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

pub const SAGA: Saga =
    Saga::of_server(ServerWork { deadline: DEADLINE, act: |tools, lease| Box::pin(act(tools, lease)) });

async fn act(tools: &Tools, lease: &Lease) -> Result<EndedBy, StepError> {
    // An attempt that is dropped in the middle, because its worker stops, is made again.
    let mut attempt = Attempt { outcome: "again", began: Instant::now() };
    let collected = collect(tools, lease).await;
    attempt.outcome = match &collected {
        Ok(counts) if counts.failed == 0 => "succeeded",
        Ok(_) => "failed",
        Err(StepError::Job(_)) => "lost",
        Err(_) => "again",
    };
    let Counts { tenants, collected, failed } = collected?;
    let (collection_id, server) = (lease.operation_id, &tools.server.id);
    tracing::info!(%collection_id, server, tenants, collected, failed, "a collection ends");
    Ok(EndedBy::Work)
}

/// Counts the attempt in the metrics when it ends, however it ends.
struct Attempt {
    outcome: &'static str,
    began: Instant,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        metrics::counter!(names::COLLECTIONS, "outcome" => self.outcome).increment(1);
        metrics::histogram!(names::COLLECTION_DURATION).record(self.began.elapsed());
    }
}

async fn collect(tools: &Tools, lease: &Lease) -> Result<Counts, StepError> {
    let pool = tools.store.pool();
    let collection = Collection::of(pool, lease).await.map_err(JobError::from)?;
    let collection = collection.ok_or(StepError::Unfit("the job has no row in saas_collections"))?;
    let progress = Progress::begin(tools, &collection).await.map_err(JobError::from)?;
    let connections = (0..tools.collecting.connections).map(|_| progress.count(tools, &collection));
    tokio::select! {
        biased;
        lost = show(tools, &collection, &progress) => return Err(lost.into()),
        counted = futures::future::try_join_all(connections) => { counted?; }
    }
    failpoint::hit("collect.counted").await;
    publish(&tools.store, &tools.collecting.cache, &collection).await?;
    collection.end(&tools.store, progress.counts()).await?;
    Ok(progress.counts())
}

/// Shows how far the collection is, until its lease is lost.
async fn show(tools: &Tools, collection: &Collection<'_>, progress: &Progress) -> JobError {
    loop {
        if let Err(JobError::Lost) = collection.show(tools.store.pool(), progress.counts()).await {
            return JobError::Lost;
        }
        tokio::time::sleep(SHOWN_EVERY).await;
    }
}
