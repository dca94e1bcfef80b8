//! Ctrl-C and SIGTERM, at any moment: work is given up by dropping it, and dropping stops what it had started.
//!
//! The children are in process groups of their own, so the terminal's Ctrl-C reaches this process alone.

use std::fmt;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The work was given up because of a signal.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Remembers a signal until somebody asks: none is lost between two pieces of work.
pub struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interrupt {
    pub fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when a signal has come.
    pub async fn arrived(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }

    /// Does the work, or gives it up at a signal.
    pub async fn or<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.arrived() => Err(Interrupted.into()),
            result = work => result,
        }
    }

    /// Does work that must not be left half done; a signal takes effect after it.
    pub async fn after<T>(&mut self, work: impl Future<Output = Result<T>>, what: &str) -> Result<T> {
        tokio::pin!(work);
        tokio::select! {
            biased;
            () = self.arrived() => {
                eprintln!("\nstopping when {what} has ended, because breaking it off would damage it");
                work.await?;
                Err(Interrupted.into())
            }
            result = &mut work => result,
        }
    }
}
