//! [`Activity`]: whether a connection has a request in progress, and since when it has none. hyper does not close an
//! idle connection of HTTP/2 by itself, because it answers pings.

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The requests of one connection. Clones share the count.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<Requests>>);

struct Requests {
    in_progress: usize,
    /// When the newest request ended, or the connection began.
    since: Instant,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Requests { in_progress: 0, since: Instant::now() })))
    }
}

impl Activity {
    /// Counts a request until the value is dropped.
    pub(super) fn begin(&self) -> Busy {
        self.lock().in_progress += 1;
        Busy(self.clone())
    }

    /// Resolves when the connection has had no request for `limit`.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let since = self.idle_since().unwrap_or_else(Instant::now);
            sleep_until(since + limit).await;
            if self.idle_since().is_some_and(|since| since.elapsed() >= limit) {
                return;
            }
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        let requests = self.lock();
        (requests.in_progress == 0).then_some(requests.since)
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in progress.
pub(super) struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut requests = self.0.lock();
        requests.in_progress -= 1;
        requests.since = Instant::now();
    }
}

/// The body of an answer. The request is in progress until the body is sent or given up.
pub(super) struct Working {
    body: Body,
    _busy: Busy,
}

impl Working {
    pub(super) fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl HttpBody for Working {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
