//! Load on a service: clients ask without end, check every answer, and count.
//!
//! Each client decides itself what a right answer is. A wrong answer ends the client and with it the whole load. A
//! test that does other work beside its load sees the failure at its next [`Load::check`], and at the end at the
//! latest.

mod connections;
mod wired;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

pub use connections::MostConnections;
pub use wired::Question;

/// What a right answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Served,
    /// A refusal that the test expects.
    Refused,
}

/// One client. Each call makes one request and checks its answer. An error is a wrong or a missing answer.
pub trait Asker: Send + 'static {
    fn ask(&mut self, turn: u64) -> impl Future<Output = Result<Answered>> + Send;
}

impl<F, A> Asker for F
where
    F: FnMut(u64) -> A + Send + 'static,
    A: Future<Output = Result<Answered>> + Send,
{
    fn ask(&mut self, turn: u64) -> impl Future<Output = Result<Answered>> + Send {
        self(turn)
    }
}

#[derive(Default)]
struct Counts {
    over: AtomicBool,
    served: AtomicU64,
    refused: AtomicU64,
    wrong: AtomicU64,
}

/// The clients of a load. Dropping it stops them.
#[derive(Default)]
pub struct Load {
    counts: Arc<Counts>,
    clients: JoinSet<Result<()>>,
    pause: Duration,
}

/// The counts of a load that has ended without a wrong answer.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub served: u64,
    pub refused: u64,
}

impl Load {
    /// Clients that ask without a pause.
    pub fn new() -> Self {
        Self::default()
    }

    /// Clients that rest after every answer.
    pub fn with_pause(pause: Duration) -> Self {
        Self { pause, ..Self::default() }
    }

    /// Adds a client that asks until the load ends.
    pub fn client(&mut self, asker: impl Asker) {
        self.client_for(u64::MAX, asker);
    }

    /// Adds a client that asks so many times.
    pub fn client_for(&mut self, times: u64, asker: impl Asker) {
        self.clients.spawn(drive(Arc::clone(&self.counts), asker, times, self.pause));
    }

    /// Adds a client that asks these questions on a connection of its own until the load ends.
    pub fn wire(&mut self, url: &str, questions: impl FnMut(u64) -> Question + Send + 'static) {
        self.client(wired::Wired::new(url, questions));
    }

    /// Adds a client that asks so many questions on a connection of its own.
    pub fn wire_for(&mut self, times: u64, url: &str, questions: impl FnMut(u64) -> Question + Send + 'static) {
        self.client_for(times, wired::Wired::new(url, questions));
    }

    /// A view of the load, for work that runs beside it.
    pub fn progress(&self) -> Progress {
        Progress { counts: Arc::clone(&self.counts) }
    }

    /// Answers so far.
    pub fn answers(&self) -> u64 {
        self.progress().answers()
    }

    /// Fails if a client has got a wrong answer.
    pub fn check(&mut self) -> Result<()> {
        while let Some(ended) = self.clients.try_join_next() {
            self.of(ended.context("a client panicked").flatten())?;
        }
        Ok(())
    }

    /// Ends the load.
    pub async fn end(self) -> Result<Ended> {
        self.counts.over.store(true, Ordering::SeqCst);
        self.done().await
    }

    /// Waits until every client has asked as often as it was to.
    pub async fn done(mut self) -> Result<Ended> {
        let mut first = Ok(());
        while let Some(ended) = self.clients.join_next().await {
            let ended = self.of(ended.context("a client panicked").flatten());
            first = first.and(ended);
        }
        first?;
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Ok(Ended { served: count(&self.counts.served), refused: count(&self.counts.refused) })
    }

    fn of(&self, ended: Result<()>) -> Result<()> {
        ended.with_context(|| {
            let wrong = self.counts.wrong.load(Ordering::SeqCst);
            format!("{wrong} answers were wrong or missing, after {} right ones", self.answers())
        })
    }
}

/// The progress of a load.
#[derive(Clone)]
pub struct Progress {
    counts: Arc<Counts>,
}

impl Progress {
    pub fn is_over(&self) -> bool {
        self.counts.over.load(Ordering::SeqCst)
    }

    /// Ends the load, because the test has what it needs or has failed.
    pub fn end(&self) {
        self.counts.over.store(true, Ordering::SeqCst);
    }

    pub fn answers(&self) -> u64 {
        self.counts.served.load(Ordering::SeqCst) + self.refused()
    }

    pub fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::SeqCst)
    }
}

async fn drive(counts: Arc<Counts>, mut asker: impl Asker, times: u64, pause: Duration) -> Result<()> {
    for turn in 0..times {
        if counts.over.load(Ordering::SeqCst) {
            break;
        }
        match asker.ask(turn).await {
            Ok(Answered::Served) => counts.served.fetch_add(1, Ordering::SeqCst),
            Ok(Answered::Refused) => counts.refused.fetch_add(1, Ordering::SeqCst),
            Err(error) => {
                counts.wrong.fetch_add(1, Ordering::SeqCst);
                counts.over.store(true, Ordering::SeqCst);
                return Err(error);
            }
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(())
}

/// Asks until the answer has changed from `before` to `after`. Every request that begins more than `bound` after
/// `since` must be answered with `after`.
pub async fn changes<T: PartialEq + std::fmt::Debug>(
    (before, after): (T, T),
    since: Instant,
    bound: Duration,
    mut ask: impl AsyncFnMut() -> Result<T>,
) -> Result<()> {
    loop {
        let began = since.elapsed();
        let answer = ask().await?;
        if answer == after {
            return Ok(());
        }
        anyhow::ensure!(
            answer == before && began < bound,
            "the answer to a request {began:?} after the change was {answer:?}: the change must show within {bound:?}"
        );
    }
}
