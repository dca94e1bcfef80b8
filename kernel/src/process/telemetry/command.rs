//! [`Exposed`] serves the metrics of a command that ends by itself. It serves them while the command runs, and after
//! its end until they were read once more, so that the last figures and a failure are not lost with the process.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest wait for the last reading: the default interval in which Prometheus reads.
const LAST_READING: Duration = Duration::from_secs(60);

/// A server for the metrics of a command.
pub struct Exposed {
    server: JoinHandle<()>,
    read: Arc<Notify>,
    end: CancellationToken,
}

impl Exposed {
    /// Starts to measure as `service`, and serves `GET /metrics` at `address`. A command calls this instead of
    /// [`super::init`].
    ///
    /// # Errors
    /// If the process cannot listen on `address`.
    pub async fn begin(service: &'static str, address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let metrics = super::measure(service).map_err(std::io::Error::other)?;
        let (read, end) = (Arc::new(Notify::new()), CancellationToken::new());
        let answered = Arc::clone(&read);
        let answer = move || {
            let text = metrics.render();
            answered.notify_waiters();
            std::future::ready(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text))
        };
        let router = Router::new().route("/metrics", get(answer));
        let serve = axum::serve(listener, router).with_graceful_shutdown(end.clone().cancelled_owned());
        let server = tokio::spawn(async move { drop(serve.await) });
        Ok(Self { server, read, end })
    }

    /// Waits until the metrics are read once more, at most for `LAST_READING`, and then stops serving.
    pub async fn end(self) {
        let _ = timeout(LAST_READING, self.read.notified()).await;
        self.end.cancel();
        // A client that holds its connection open does not delay the end.
        let _ = timeout(Duration::from_secs(1), self.server).await;
    }
}
