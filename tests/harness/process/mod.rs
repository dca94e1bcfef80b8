//! One operating-system process of ours: started in its own process group, recorded, and signalled only while it
//! is provably still the process that was started.
//!
//! A process id alone proves nothing: ids are reused. The record beside the process's data keeps the id together
//! with the kernel's start time and the program, and all three must agree before any signal is sent.
//!
//! The own process group keeps a Ctrl-C in the terminal away from the children, so that they are stopped in order;
//! signals go to the whole group, because some servers (RabbitMQ) are a script with the server under it.
//!
//! Dropping a [`Process`] kills it, unless it was [detached](Process::detach): a panicking test leaves nothing.

mod launch;
mod record;
mod sweep;

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::files::{read_json, tail, write_json};
use crate::wait;
pub use launch::{Launch, base_env};
use record::{Record, record_path};
pub use sweep::{kill_recorded, kill_with_environment};

/// How long the kernel may take to remove a killed process (it may be writing a core or flushing).
const DEATH: Duration = Duration::from_secs(10);

/// A started process.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    record: Record,
    /// Absent for a process that another run of the `dev` command started.
    child: Option<Child>,
    detached: bool,
}

impl Process {
    /// Starts the process and records it. Its output is appended to the log.
    pub fn start(launch: Launch) -> Result<Self> {
        let (record, child) = spawn(&launch)?;
        Ok(Self { launch, record, child: Some(child), detached: false })
    }

    /// The process that an earlier run recorded in this folder, if it still runs.
    pub fn attach(launch: Launch) -> Result<Option<Self>> {
        let record: Option<Record> = read_json(&record_path(&launch.dir, &launch.name))?;
        Ok(record.filter(Record::is_alive).map(|record| Self::of(launch, record)))
    }

    /// A process that another run has started: it lives on when this value is dropped.
    fn of(launch: Launch, record: Record) -> Self {
        Self { launch, record, child: None, detached: true }
    }

    pub fn name(&self) -> &str {
        &self.launch.name
    }

    pub fn pid(&self) -> i32 {
        self.record.pid
    }

    pub fn log(&self) -> PathBuf {
        self.launch.log()
    }

    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    pub fn is_alive(&mut self) -> bool {
        match &mut self.child {
            // The id of a child belongs to it until it is reaped, and this reaps it.
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => self.record.is_alive(),
        }
    }

    /// Waits until a process that this run started ends by itself.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let name = format!("{} to end", self.name());
        let child = self.child.as_mut().context("another run started it")?;
        wait::until(limit, &name, async || child.try_wait().ok().flatten()).await
    }

    /// The most memory it has had at once, in bytes; `None` once it has ended.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    }

    /// Fails with the end of the log when the process is gone: for waits, so that they end early.
    pub fn check(&mut self) -> Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        bail!("{} has ended\n{}", self.name(), tail(&self.log(), 25))
    }

    /// Whether the program's file was replaced since it was started, as a compilation does.
    pub fn is_outdated(&self) -> bool {
        fs::read_link(format!("/proc/{}/exe", self.pid())).is_ok_and(|exe| exe.to_string_lossy().ends_with("(deleted)"))
    }

    /// Sends a signal to the process group; no error when the process is gone already.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        match killpg(Pid::from_raw(self.pid()), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("send {signal} to {}", self.name())),
        }
    }

    /// Stops cleanly (SIGTERM); after `grace`, by force. Says whether it was clean.
    pub async fn stop(&mut self, grace: Duration) -> Result<bool> {
        self.signal(Signal::SIGTERM)?;
        // A paused process takes the signal only after it has been resumed.
        self.signal(Signal::SIGCONT)?;
        let name = format!("{} to stop", self.name());
        let clean = wait::until(grace, &name, async || (!self.is_alive()).then_some(())).await.is_ok();
        self.kill9()?;
        Ok(clean)
    }

    /// Kills at once, as a power cut would, and waits until the process is gone.
    pub fn kill9(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        let deadline = std::time::Instant::now() + DEATH;
        while self.is_alive() {
            if std::time::Instant::now() > deadline {
                bail!("{} (pid {}) survives SIGKILL", self.name(), self.pid());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = fs::remove_file(record_path(&self.launch.dir, &self.launch.name));
        Ok(())
    }

    /// Freezes the process: it keeps its connections and its leases, and does nothing.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen process go on.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Starts a process that has ended again, with changes to its environment: `None` removes a variable.
    pub fn start_again(&mut self, changes: &[(String, Option<String>)]) -> Result<()> {
        if self.is_alive() {
            bail!("{} still runs", self.name());
        }
        for (name, value) in changes {
            match value {
                Some(value) => self.launch.env.insert(name.clone(), value.clone()),
                None => self.launch.env.remove(name),
            };
        }
        let (record, child) = spawn(&self.launch)?;
        (self.record, self.child) = (record, Some(child));
        Ok(())
    }

    /// Another program for the next start, of the same name: another version.
    pub fn set_program(&mut self, program: PathBuf) {
        self.launch.program = program;
    }

    /// Lets the process live on when this value is dropped.
    pub fn detach(&mut self) {
        self.detached = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.detached
            && let Err(error) = self.kill9()
        {
            eprintln!("{error:#}");
        }
    }
}

fn spawn(launch: &Launch) -> Result<(Record, Child)> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(launch.log())
        .with_context(|| format!("open {}", launch.log().display()))?;
    let mut child = launch
        .command()
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", launch.program.display()))?;
    let recorded = Record::of(child.id() as i32, &launch.program)
        .and_then(|record| write_json(&record_path(&launch.dir, &launch.name), &record).map(|()| record));
    match recorded {
        Ok(record) => Ok((record, child)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sleeper(dir: &Path) -> Process {
        Process::start(Launch::new("sleeper", "sleep", dir).args(["600"])).unwrap()
    }

    #[tokio::test]
    async fn a_paused_process_stops_cleanly() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = sleeper(dir.path());
        process.pause().unwrap();
        assert!(process.stop(Duration::from_secs(5)).await.unwrap());
        assert!(!process.is_alive());
    }

    #[test]
    fn a_dropped_process_is_killed_and_a_detached_one_lives() {
        let dir = tempfile::tempdir().unwrap();
        let mut detached = sleeper(dir.path());
        detached.detach();
        let record = detached.record.clone();
        drop(detached);
        assert!(record.is_alive());
        assert_eq!(kill_recorded(dir.path()), ["sleeper"]);
        assert!(!record.is_alive());

        let dropped = sleeper(dir.path());
        let record = dropped.record.clone();
        drop(dropped);
        assert!(!record.is_alive());
    }

    #[test]
    fn another_process_under_the_same_id_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let process = sleeper(dir.path());
        let stranger = Record { started: process.record.started + 1, ..process.record.clone() };
        assert!(!stranger.is_alive());
        let stranger = Record { program: "mariadbd".into(), ..process.record.clone() };
        assert!(!stranger.is_alive());
    }
}
