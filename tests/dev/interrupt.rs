//! Handles Ctrl-C and SIGTERM at any moment. A signal abandons the work by dropping it, and dropping stops everything
//! that the work had started.
//!
//! The children are in process groups of their own, so the terminal's Ctrl-C reaches only this process.

use std::fmt;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal interrupted the work.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Stores a signal until the next call asks for it, so that none is lost between two pieces of work.
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

    /// Does the work, or abandons it at a signal.
    pub async fn or<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.arrived() => Err(Interrupted.into()),
            result = work => result,
        }
    }

    /// Does work that must not be left half done. A signal takes effect after the work.
    pub async fn after<T>(&mut self, work: impl Future<Output = Result<T>>, what: &str) -> Result<T> {
        tokio::pin!(work);
        tokio::select! {
            biased;
            () = self.arrived() => {
                eprintln!("\nstopping as soon as {what} has ended, because an interruption would damage it");
                work.await?;
                Err(Interrupted.into())
            }
            result = &mut work => result,
        }
    }
}
