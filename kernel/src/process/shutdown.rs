//! [`Shutdown`]: how a process ends. On SIGTERM or SIGINT it first stops being ready, and continues to answer for a
//! notice period in which the load balancer notices that. Then it takes no new work, and the running work has time
//! until a deadline.

use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The request to stop, and the tasks that the process waits for before it ends. Clones share both.
#[derive(Clone, Default)]
pub struct Shutdown {
    leaving: CancellationToken,
    stop: CancellationToken,
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

    /// Asks the process to stop, as a signal would. A task calls this when it fails and the process is useless without
    /// it.
    pub fn request(&self) {
        self.leaving.cancel();
        self.stop.cancel();
    }

    /// Spawns a task that the process waits for before it ends. The task must end by itself after
    /// [`Shutdown::requested`].
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }

    /// Waits until all spawned tasks have ended.
    pub(crate) async fn tasks_ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
