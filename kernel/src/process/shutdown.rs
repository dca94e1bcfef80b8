//! How a process ends. On SIGTERM or SIGINT it first stops being ready and goes on answering for a notice period, in which
//! the load balancer sees that. Then it takes no new work, and what is in work has until a deadline.

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
    /// Listens for SIGTERM and SIGINT. `notice` lies between the signal and the request to stop; a second signal ends it.
    ///
    /// # Errors
    /// When the process may not install signal handlers.
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

    /// Resolves when a signal was received: the process is to stop being ready.
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

    /// Asks the process to stop, as a signal would: for a task without which the process is of no use.
    pub fn request(&self) {
        self.leaving.cancel();
        self.stop.cancel();
    }

    /// Runs a task that the end of the process waits for. It must end by itself after [`Shutdown::requested`].
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }

    /// Waits until the last spawned task has ended.
    pub(crate) async fn tasks_ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
