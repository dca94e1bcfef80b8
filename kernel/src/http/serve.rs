//! Serves HTTP to untrusted clients, within limits on what each of them may cost.
//!
//! **Guarantees.** At most [`HttpLimits::connections`] connections are open; further ones wait in the queue of the
//! system. One address has at most [`HttpLimits::of_address`] of them, unless it is a trusted proxy; further ones are
//! closed at once. A client has [`HttpLimits::header`] to send the head of a request (an idle connection is closed
//! after the same time, by either version of HTTP), then [`HttpLimits::body`] for the whole body, and must take
//! something of the answer at least every [`HttpLimits::write`]. A client of HTTP/2 that takes less than 1 KiB within
//! [`HttpLimits::header`] while no request is in work counts as idle. A head larger than [`MAX_HEAD`] is refused (431).
//! When the process is asked to stop, idle connections close at once, and busy ones after their current answer.
//!
//! **Design note.** `axum::serve` sets none of these limits and has no option for them, so this module has the same
//! loop with limits. hyper does not bound the bytes before it knows the version of HTTP, nor a client that reads
//! nothing. The stream below it does ([`super::slow`]).

use super::activity::{Activity, Working};
use super::addresses::Addresses;
use super::body::bounded;
use super::proxies::TrustedProxies;
use super::slow::{Taken, Watched};
use crate::process::config::{ConfigError, Settings};
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
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tower::Service;

/// Largest head of a request, in bytes. Common proxies forward as much.
const MAX_HEAD: usize = 32 * 1024;

/// The most requests at work on one HTTP/2 connection.
const STREAMS: u32 = 100;

/// The server pings a silent HTTP/2 client after this time, and the client has the same time to answer.
const PING: Duration = Duration::from_secs(20);

/// A connection that is closed for its address is logged at most once in this time, because clients cause it.
const WARNED: Duration = Duration::from_secs(60);

/// Wait after the system could not accept a connection (because no file descriptor is left), since that does not pass
/// at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The limits on a client.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Longest time to send the head of a request, and longest time that a connection is idle.
    pub header: Duration,
    /// Longest time to send a body.
    pub body: Duration,
    /// Longest time in which a client takes nothing of its answer.
    pub write: Duration,
    /// The most open connections.
    pub connections: usize,
    /// The most open connections of one address.
    pub of_address: usize,
    /// The proxies, whose connections are those of many clients.
    pub trusted: Arc<TrustedProxies>,
}

impl HttpLimits {
    /// Reads the settings `HTTP_*` and `TRUSTED_PROXIES`.
    ///
    /// # Errors
    /// Names the first setting that is wrong.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Self {
            header: settings.seconds("HTTP_HEADER_TIMEOUT")?,
            body: settings.seconds("HTTP_BODY_TIMEOUT")?,
            write: settings.seconds("HTTP_WRITE_TIMEOUT")?,
            connections: settings.get("HTTP_CONNECTIONS")?,
            of_address: settings.get("HTTP_CONNECTIONS_PER_ADDRESS")?,
            trusted: Arc::new(TrustedProxies::from_settings(settings)?),
        })
    }
}

/// Serves `router` until the process is asked to stop. Then requests and tasks have time until `deadline` to end.
///
/// # Errors
/// If the server's own task panics, or one that [`Shutdown::spawn`] has started.
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
        // The request to stop also ends an idle server at once. In any other order of polling, that would skip the
        // drain.
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
        tracing::warn!("the deadline passed while work was still running; the work is repeatable and will be repeated");
    }
    tracing::info!("stopped");
    if shutdown.has_failed() {
        return Err(std::io::Error::other("a task of the process has panicked"));
    }
    Ok(())
}

/// Accepts connections until the process is asked to stop, then waits until the last connection has ended.
pub(super) async fn accept(listener: TcpListener, router: Router, limits: HttpLimits, shutdown: Shutdown) {
    let builder = Arc::new(builder(&limits));
    let room = Arc::new(Semaphore::new(limits.connections));
    let addresses = Arc::new(Addresses::new(limits.of_address, Arc::clone(&limits.trusted)));
    let connections = TaskTracker::new();
    let mut warned: Option<Instant> = None;
    loop {
        let place = tokio::select! {
            () = shutdown.requested() => break,
            place = Arc::clone(&room).acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! { () = shutdown.requested() => break, accepted = listener.accept() => accepted };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // The client caused the error.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => continue,
            Err(error) => {
                tracing::error!(%error, "the server cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(of_address) = addresses.admit(peer) else {
            metrics::counter!(names::HTTP_CONNECTIONS_CUT).increment(1);
            if warned.is_none_or(|last| last.elapsed() >= WARNED) {
                warned = Some(Instant::now());
                tracing::warn!(
                    %peer,
                    most = limits.of_address,
                    "a connection was closed, because its address has as many as HTTP_CONNECTIONS_PER_ADDRESS allows; \
                     list a proxy in TRUSTED_PROXIES"
                );
            }
            continue;
        };
        let (builder, router, shutdown) = (Arc::clone(&builder), router.clone(), shutdown.clone());
        let limits = limits.clone();
        connections.spawn(async move {
            let open = metrics::gauge!(names::HTTP_CONNECTIONS);
            open.increment(1);
            one(&builder, stream, peer, router, &limits, &shutdown).await;
            open.decrement(1);
            drop((place, of_address));
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

/// Serves one connection until it ends.
async fn one(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    peer: std::net::SocketAddr,
    router: Router,
    limits: &HttpLimits,
    shutdown: &Shutdown,
) {
    // Answers are written as a whole, so Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    let began = Arc::new(AtomicBool::new(false));
    let watched = Watched::new(stream, Arc::clone(&began), limits.header, limits.write);
    let (activity, taken) = (Activity::default(), watched.taken());
    let (requests, body_limit) = (activity.clone(), limits.body);
    let service = tower::service_fn(move |request: Request<_>| {
        began.store(true, Ordering::Relaxed);
        let busy = requests.begin();
        let mut request = request.map(|body| bounded(Body::new(body), body_limit));
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = router.clone().call(request);
        async move { answer.await.map(|answer| answer.map(|body| Working::new(body, busy))) }
    });
    let serving = builder.serve_connection(TokioIo::new(watched), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    // A request that arrives together with the end of a wait is served, so the connection is polled first.
    let ended = tokio::select! {
        biased;
        ended = serving.as_mut() => ended,
        () = shutdown.requested() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = activity.idle(limits.header) => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = serving.as_mut() => ended,
                () = shutdown.requested() => serving.await,
                () = at_rest(&activity, &taken, limits.header) => Err("the client holds an idle connection".into()),
            }
        }
    };
    if let Err(error) = ended {
        metrics::counter!(names::HTTP_CONNECTIONS_CUT).increment(1);
        tracing::debug!(%peer, cause = %crate::error::chain(error.as_ref()), "a connection was cut");
    }
}

/// Resolves when no request is in work, and the client took nothing of an answer for `limit` from now on. An answer
/// that is complete may still wait for a client that reads slowly.
async fn at_rest(activity: &Activity, taken: &Taken, limit: Duration) {
    loop {
        let before = taken.bytes();
        tokio::time::sleep(limit).await;
        activity.idle(limit).await;
        if taken.rests_since(before) {
            return;
        }
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
