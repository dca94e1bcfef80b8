//! Private servers, each in a folder and on a loopback port of its own.
//!
//! [`Server`] is what the stack, the tests and the `dev` command do with every server. What is particular to one kind
//! of server is in its own module. While [`mysql`] is selected, a private database server is a MySQL and not a
//! MariaDB.

pub mod accounts;
pub mod certificates;
pub mod handshake;
pub mod mariadb;
pub mod mysql;
#[cfg(test)]
mod own_tests;
pub mod probe;
pub mod proxy;
pub mod rabbitmq;
pub mod redis;
mod template;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::process::{Launch, Process};
use probe::Probe;

/// A private server. A stop, a kill or a restart changes neither its port nor its accounts nor its data.
///
/// Dropping it kills it, unless it was detached.
#[expect(async_fn_in_trait, reason = "a server stays in the task that started it")]
pub trait Server: Sized {
    type Options;

    /// Limit for a start on a busy machine, recovery after a crash included.
    const READY: Duration;
    /// Limit for a clean stop.
    const STOP: Duration;

    /// Starts the server in this folder, with the data of earlier starts, and waits until it answers.
    async fn start(dir: &Path, options: &Self::Options) -> Result<Self>;

    /// The server that an earlier run left running in this folder.
    fn attach(dir: &Path) -> Result<Option<Self>>;

    /// The URL of the account with every right. The harness uses it; services have accounts of their own.
    fn url(&self) -> String;

    fn port(&self) -> u16;

    fn process(&mut self) -> &mut Process;

    /// The question that the server answers as soon as it serves.
    fn probe(&self) -> Probe;

    async fn wait_ready(&mut self) -> Result<()> {
        let probe = self.probe();
        probe.wait(self.process(), Self::READY).await
    }

    async fn stop(&mut self) -> Result<()> {
        self.process().stop(Self::STOP).await.map(drop)
    }

    /// Kills the server as a power cut would.
    fn kill9(&mut self) -> Result<()> {
        self.process().kill9()
    }

    /// Freezes the server: it accepts connections and answers nothing.
    fn pause(&mut self) -> Result<()> {
        self.process().pause()
    }

    fn resume(&mut self) -> Result<()> {
        self.process().resume()
    }

    /// Starts the server again, whether it was stopped, killed or still runs.
    async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.process().start_again(&[])?;
        self.wait_ready().await
    }

    /// Keeps the server running when this value is dropped.
    fn detach(&mut self) {
        self.process().detach();
    }
}

/// Stops the process that an earlier run has left in the same folder, and starts this one.
async fn start_process(launch: Launch, stop: Duration) -> Result<Process> {
    if let Some(mut left) = Process::attach(launch.clone())? {
        left.stop(stop).await?;
    }
    Process::start(launch)
}
