//! Writes which steps of an operation have run.
//!
//! The rows are for operators only: every step can be repeated, so a killed attempt loses nothing with them. A commit
//! in the system database costs as much as a step on an idle server, so a step is written only when it fails, when it
//! takes longer than [`SHOWN_AFTER`], or in the transaction that ends the job. What an operation shows is at most that
//! old.

use kernel::jobs::{JobError, Lease, StepRecord};
use kernel::process::telemetry::names;
use sqlx::MySqlPool;
use std::future::Future;
use std::time::{Duration, Instant};

/// Steps that are shorter are written together. Half a second is soon enough for an operator, and longer than a job
/// takes on a busy server.
const SHOWN_AFTER: Duration = Duration::from_millis(500);

/// The steps of one attempt.
pub struct Progress<'a> {
    pool: &'a MySqlPool,
    lease: &'a Lease,
    unshown: Vec<StepRecord>,
    shown_at: Instant,
}

impl<'a> Progress<'a> {
    pub fn new(pool: &'a MySqlPool, lease: &'a Lease) -> Self {
        Self { pool, lease, unshown: Vec::new(), shown_at: Instant::now() }
    }

    pub fn begin(&mut self, ordinal: u16, name: &'static str) {
        self.unshown.push(StepRecord { ordinal, name, status: "running", started: Instant::now(), finished: None });
    }

    /// Ends the step that began last.
    pub fn end(&mut self, status: &'static str) {
        if let Some(step) = self.unshown.last_mut() {
            *step = StepRecord { status, finished: Some(Instant::now()), ..*step };
            let (kind, name) = (self.lease.kind.as_str(), step.name);
            metrics::counter!(names::JOB_STEPS, "kind" => kind, "step" => name, "outcome" => status).increment(1);
            metrics::histogram!(names::JOB_STEP_DURATION, "kind" => kind, "step" => name)
                .record(step.started.elapsed());
        }
    }

    /// Waits for `acting`, and writes the steps so far if that takes long.
    pub async fn show_while<T>(&mut self, acting: impl Future<Output = T>) -> Result<T, JobError> {
        tokio::pin!(acting);
        let due = tokio::time::sleep_until((self.shown_at + SHOWN_AFTER).into());
        tokio::select! {
            biased;
            acted = &mut acting => return Ok(acted),
            () = due => {}
        }
        // Waits for both, because a write that is dropped half-way costs its connection.
        let (acted, shown) = tokio::join!(acting, self.show());
        shown.map(|()| acted)
    }

    /// Writes the steps that were not written yet. A running step is written again when it has ended.
    pub async fn show(&mut self) -> Result<(), JobError> {
        self.lease.record(self.pool, &self.unshown).await?;
        self.unshown.retain(|step| step.finished.is_none());
        self.shown_at = Instant::now();
        Ok(())
    }

    /// The steps that must be written with the end of the job.
    pub fn unshown(&self) -> &[StepRecord] {
        &self.unshown
    }
}
