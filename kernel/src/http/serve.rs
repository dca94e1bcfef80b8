//! Serving HTTP to strangers: a connection costs little, and nobody keeps one for nothing.
//!
//! **Guarantees.** At most [`HttpLimits::connections`] are open; further ones wait in the system's queue. A client has
//! [`HttpLimits::header`] to send the head of a request (so an idle connection is closed after it too), then
//! [`HttpLimits::body`] for its whole body, and takes something of the answer at least every [`HttpLimits::write`]; a head
//! beyond [`MAX_HEAD`] is refused (431). When the process is asked to stop, idle connections close at once and busy ones
//! after the answer they are at.
//!
//! **Design note.** `axum::serve` sets none of these limits and takes no setting for them, so this is its loop with them.
//! What hyper does not bound (the bytes before it knows the version of HTTP, a client that reads nothing) is bounded on
//! the stream below it, [`super::slow`].

use super::body::bounded;
use super::slow::Watched;
use crate::process::config::{ConfigError, Settings, wrong};
use crate::process::health::Health;
use crate::process::shutdown::Shutdown;
use crate::process::telemetry::names;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tower::Service;

/// Largest head of a request, in bytes: as much as common proxies pass on.
const MAX_HEAD: usize = 32 * 1024;

/// Requests in work on one HTTP/2 connection.
const STREAMS: u32 = 100;

/// An HTTP/2 client that has gone silent is asked whether it is there, and has this long to answer.
const PING: Duration = Duration::from_secs(20);

/// Wait after a failure of the system to accept (no file descriptor is left): it does not pass by itself at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// What a client may cost.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Longest time for the head of a request, and of an idle connection.
    pub header: Duration,
    /// Longest time for a body.
    pub body: Duration,
    /// Longest time in which a client takes nothing of an answer.
    pub write: Duration,
    /// Open connections.
    pub connections: usize,
}

impl HttpLimits {
    /// Reads them; names the first that is wrong.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let seconds = |name| match settings.seconds(name)? {
            Duration::ZERO => Err(wrong(name, "at least 1 second")),
            limit => Ok(limit),
        };
        let connections = match settings.get("HTTP_CONNECTIONS")? {
            count @ 1..=Semaphore::MAX_PERMITS => count,
            _ => return Err(wrong("HTTP_CONNECTIONS", "at least 1")),
        };
        Ok(Self {
            header: seconds("HTTP_HEADER_TIMEOUT")?,
            body: seconds("HTTP_BODY_TIMEOUT")?,
            write: seconds("HTTP_WRITE_TIMEOUT")?,
            connections,
        })
    }
}

/// Serves `router` until the process is asked to stop. Then requests and tasks have `deadline` at most to end.
///
/// # Errors
/// When the server itself ends by a fault.
pub async fn serve(
    shutdown: &Shutdown,
    listener: TcpListener,
    router: Router,
    health: &Health,
    limits: HttpLimits,
    deadline: Duration,
) -> std::io::Result<()> {
    let mut server = tokio::spawn(accept(listener, router, limits, shutdown.clone()));
    health.set_ready(true);
    tokio::select! {
        // The request to stop also ends an idle server at once. Polled in any other order, that would skip the drain.
        biased;
        () = shutdown.leaving() => health.set_ready(false),
        ended = &mut server => return ended.map_err(std::io::Error::other),
    }
    tokio::select! {
        biased;
        () = shutdown.requested() => {}
        ended = &mut server => return ended.map_err(std::io::Error::other),
    }
    let drained = tokio::time::timeout(deadline, async {
        let _ = server.await;
        shutdown.tasks_ended().await;
    });
    if drained.await.is_err() {
        tracing::warn!(
            "the deadline passed while work was still going on; that work is repeatable and will be repeated"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

/// Accepts connections until the process is asked to stop, then waits until the last connection has ended.
async fn accept(listener: TcpListener, router: Router, limits: HttpLimits, shutdown: Shutdown) {
    let builder = Arc::new(builder(&limits));
    let room = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    loop {
        let place = tokio::select! {
            () = shutdown.requested() => break,
            place = Arc::clone(&room).acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! { () = shutdown.requested() => break, accepted = listener.accept() => accepted };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // Of the client, not of ours.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => continue,
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (builder, router, shutdown) = (Arc::clone(&builder), router.clone(), shutdown.clone());
        connections.spawn(async move {
            let open = metrics::gauge!(names::HTTP_CONNECTIONS);
            open.increment(1);
            one(&builder, stream, peer, router, limits, &shutdown).await;
            open.decrement(1);
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn builder(limits: &HttpLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// One connection, to its end.
async fn one(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    peer: std::net::SocketAddr,
    router: Router,
    limits: HttpLimits,
    shutdown: &Shutdown,
) {
    // Answers are written whole; waiting for more of them would only delay.
    let _ = stream.set_nodelay(true);
    let began = Arc::new(AtomicBool::new(false));
    let watched = Watched::new(stream, Arc::clone(&began), limits.header, limits.write);
    let service = tower::service_fn(move |request: Request<_>| {
        began.store(true, Ordering::Relaxed);
        let mut request = request.map(|body| bounded(Body::new(body), limits.body));
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().call(request)
    });
    let serving = builder.serve_connection(TokioIo::new(watched), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.requested() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        metrics::counter!(names::HTTP_CONNECTIONS_CUT).increment(1);
        tracing::debug!(%peer, cause = %crate::error::chain(error.as_ref()), "a connection was cut");
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
