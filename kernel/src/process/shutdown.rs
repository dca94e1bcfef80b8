//! [`Shutdown`]: how a process ends. On SIGTERM or SIGINT it first stops being ready, and continues to answer for a
//! notice period in which the load balancer notices that. Then it takes no new work, and the running work has time
//! until a deadline.

use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The request to stop, and the tasks that the process waits for before it ends. Clones share both.
#[derive(Clone, Default)]
pub struct Shutdown {
    leaving: CancellationToken,
    stop: CancellationToken,
    failed: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT. The request to stop follows the signal after `notice`, or at once after a second
    /// signal.
    ///
    /// # Errors
    /// If the process may not install signal handlers.
    pub fn on_signals(notice: Duration) -> std::io::Result<Self> {
        let shutdown = Self::default();
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (leaving, stop) = (shutdown.leaving.clone(), shutdown.stop.clone());
        tokio::spawn(async move {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            tracing::info!("asked to stop");
            leaving.cancel();
            tokio::select! { () = tokio::time::sleep(notice) => {}, _ = term.recv() => {}, _ = int.recv() => {} }
            stop.cancel();
        });
        Ok(shutdown)
    }

    /// Resolves when a signal was received, and the process must stop being ready.
    pub(crate) async fn leaving(&self) {
        self.leaving.cancelled().await;
    }

    /// Resolves when the process was asked to stop.
    pub async fn requested(&self) {
        self.stop.cancelled().await;
    }

    /// Whether the process was asked to stop.
    pub fn is_requested(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Asks the process to stop, as a signal would.
    #[cfg(test)]
    pub(crate) fn request(&self) {
        self.leaving.cancel();
        self.stop.cancel();
    }

    /// Whether a task has panicked. The process then ends, and not as if it had been asked to.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_cancelled()
    }

    /// Spawns a task that the process waits for before it ends. The task must end by itself after
    /// [`Shutdown::requested`].
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(self.clone().watch(task));
    }

    /// Spawns a task that ends with the process.
    pub fn spawn_to_the_end<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(self.clone().watch(task));
    }

    /// Runs a task. The process is of no use without one that has panicked, so it stops, and its supervisor starts it
    /// again.
    async fn watch(self, task: impl Future<Output = ()> + Send) {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            tracing::error!("a task of the process has panicked; the process stops");
            self.failed.cancel();
            self.leaving.cancel();
            self.stop.cancel();
        }
    }

    /// Waits until all spawned tasks have ended.
    pub(crate) async fn tasks_ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_stops_the_process_as_a_failure() {
        let shutdown = Shutdown::default();
        shutdown.spawn(async {});
        shutdown.spawn(async { panic!("a fault") });
        shutdown.requested().await;
        assert!(shutdown.has_failed());
        shutdown.tasks_ended().await;
        let stopped = Shutdown::default();
        stopped.request();
        assert!(stopped.is_requested() && !stopped.has_failed());
    }
}
