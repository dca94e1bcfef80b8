//! How a process ends: readiness off; for a moment it goes on as if nothing had been said, so that whoever sends it work has
//! looked; then no new work, what is in work gets until the deadline, and it is over.

use crate::health::Health;
use crate::http::{self, HttpLimits};
use axum::Router;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The wish to stop, and the tasks to wait for.
#[derive(Clone, Default)]
pub struct Shutdown {
    leaving: CancellationToken,
    wish: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT. Between the signal and the wish to stop lies `notice`; a second signal ends it.
    ///
    /// # Errors
    /// When the process may not install signal handlers.
    pub fn on_signals(notice: Duration) -> std::io::Result<Self> {
        let shutdown = Self::default();
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (leaving, wish) = (shutdown.leaving.clone(), shutdown.wish.clone());
        tokio::spawn(async move {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            tracing::info!("asked to stop");
            leaving.cancel();
            tokio::select! { () = tokio::time::sleep(notice) => {}, _ = term.recv() => {}, _ = int.recv() => {} }
            wish.cancel();
        });
        Ok(shutdown)
    }

    /// Resolves when the process was asked to stop.
    pub async fn wished(&self) {
        self.wish.cancelled().await;
    }

    /// Whether the process was asked to stop.
    pub fn is_wished(&self) -> bool {
        self.wish.is_cancelled()
    }

    /// Asks to stop, as a signal would: for a task without which the process is no use.
    pub fn wish(&self) {
        self.leaving.cancel();
        self.wish.cancel();
    }

    /// Runs a task that the end of the process waits for. It must end by itself after [`Shutdown::wished`].
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }

    /// Serves `router` until the wish to stop, then drains requests and tasks for `deadline` at most.
    pub async fn serve(
        &self,
        listener: TcpListener,
        router: Router,
        health: &Health,
        limits: HttpLimits,
        deadline: Duration,
    ) -> std::io::Result<()> {
        let mut server = tokio::spawn(http::serve(listener, router, limits, self.wish.clone()));
        health.set_ready(true);
        tokio::select! {
            // The wish also ends the server, at once if it is idle: looked at in any other order, that would skip the drain.
            biased;
            () = self.leaving.cancelled() => health.set_ready(false),
            ended = &mut server => return ended.map_err(std::io::Error::other),
        }
        tokio::select! {
            biased;
            () = self.wished() => {}
            ended = &mut server => return ended.map_err(std::io::Error::other),
        }
        self.tasks.close();
        let drained = tokio::time::timeout(deadline, async {
            let _ = server.await;
            self.tasks.wait().await;
        });
        if drained.await.is_err() {
            tracing::warn!("the deadline passed with work still going on; it is repeatable and will be repeated");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn an_idle_server_does_not_skip_the_drain() {
        for _ in 0..200 {
            let shutdown = Shutdown::default();
            let ended = Arc::new(AtomicBool::new(false));
            let (wish, end) = (shutdown.clone(), Arc::clone(&ended));
            shutdown.spawn(async move {
                wish.wished().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                end.store(true, Ordering::SeqCst);
            });
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let health = Health::new(PrometheusBuilder::new().build_recorder().handle());
            shutdown.wish();
            let limits = HttpLimits::from_settings(&Settings::from_pairs([])).unwrap();
            shutdown.serve(listener, Router::new(), &health, limits, Duration::from_secs(5)).await.unwrap();
            assert!(ended.load(Ordering::SeqCst), "a task was not waited for");
        }
    }
}
