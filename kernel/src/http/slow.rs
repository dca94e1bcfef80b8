//! [`Watched`]: a stream that fails if its other end sends or takes nothing for too long, and counts what it takes.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The most bytes that a connection sends within a few limits without an answer: pings, and answers to pings.
const WITHOUT_ANSWER: u64 = 1024;

/// What the other end takes.
#[derive(Default)]
pub(super) struct Taken {
    bytes: AtomicU64,
    /// Bytes wait until the other end has room for them.
    waiting: AtomicBool,
}

impl Taken {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether no answer is on its way since `before` bytes were taken. A client of HTTP/2 can make the server wait
    /// without a write, so the bytes count.
    pub(super) fn rests_since(&self, before: u64) -> bool {
        !self.waiting.load(Ordering::Relaxed) && self.bytes() - before < WITHOUT_ANSWER
    }
}

/// Fails if no request has begun within a time from the start, and if the other end takes nothing of an answer for a
/// time.
pub(super) struct Watched<S> {
    stream: S,
    begun: Arc<AtomicBool>,
    until_begun: Pin<Box<Sleep>>,
    write_limit: Duration,
    /// The timer that runs while the other end takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    taken: Arc<Taken>,
}

impl<S> Watched<S> {
    /// `begin_limit` counts from now.
    pub(super) fn new(stream: S, begun: Arc<AtomicBool>, begin_limit: Duration, write_limit: Duration) -> Self {
        let until_begun = Box::pin(sleep(begin_limit));
        Self { stream, begun, until_begun, write_limit, stalled: None, taken: Arc::default() }
    }

    pub(super) fn taken(&self) -> Arc<Taken> {
        Arc::clone(&self.taken)
    }

    fn count(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.taken.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        self.watch_write(context, written)
    }

    fn watch_write<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.taken.waiting.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.write_limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        stalled.as_mut().poll(context).map(|()| Err(late("the client takes nothing of its answer")))
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.begun.load(Ordering::Relaxed) && self.until_begun.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(late("the client sends no request")));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.count(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch_write(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
