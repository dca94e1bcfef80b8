//! One operating-system process of the harness. It runs in a process group of its own, is recorded in a file, and gets
//! a signal only while it provably is the process that was started.
//!
//! A process id alone proves nothing, because the kernel reuses ids. The record beside the process's data also holds
//! the kernel's start time and the program. All three must agree before a signal is sent.
//!
//! Because of the process group, a Ctrl-C in the terminal does not reach the children, so the harness can stop them in
//! order. Signals go to the whole group, because some servers (RabbitMQ) are a script that runs the server.
//!
//! Dropping a [`Process`] kills it unless it was [detached](Process::detach), so a panicking test leaves nothing
//! behind.

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

#[derive(Debug)]
pub struct Process {
    launch: Launch,
    record: Record,
    /// `None` for a process that another run of the `dev` command started.
    child: Option<Child>,
    detached: bool,
}

impl Process {
    /// Starts the process, records it, and appends its output to the log.
    pub fn start(launch: Launch) -> Result<Self> {
        let (record, child) = spawn(&launch)?;
        Ok(Self { launch, record, child: Some(child), detached: false })
    }

    /// The process that an earlier run recorded in this folder, if it still runs.
    pub fn attach(launch: Launch) -> Result<Option<Self>> {
        let record: Option<Record> = read_json(&record_path(&launch.dir, &launch.name))?;
        Ok(record.filter(Record::is_alive).map(|record| Self::of(launch, record)))
    }

    /// A process that another run has started. It survives the drop of this value.
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
            // The id of a child stays taken until the child is reaped, which `try_wait` does.
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

    /// The peak memory of the process in bytes. `None` once it has ended.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    }

    /// Fails with the end of the log once the process has ended. Waits use it to end early.
    pub fn check(&mut self) -> Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        bail!("{} has ended\n{}", self.name(), tail(&self.log(), 25))
    }

    /// Whether the file of the program was replaced since the start, as a compilation does.
    pub fn is_outdated(&self) -> bool {
        fs::read_link(format!("/proc/{}/exe", self.pid())).is_ok_and(|exe| exe.to_string_lossy().ends_with("(deleted)"))
    }

    /// Sends a signal to the process group. A process that has ended already is no error.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        match killpg(Pid::from_raw(self.pid()), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("send {signal} to {}", self.name())),
        }
    }

    /// Stops the process by SIGTERM, and kills it if it still runs after `grace`. Returns whether SIGTERM was enough.
    pub async fn stop(&mut self, grace: Duration) -> Result<bool> {
        self.signal(Signal::SIGTERM)?;
        // A paused process receives SIGTERM only after it has been resumed.
        self.signal(Signal::SIGCONT)?;
        let name = format!("{} to stop", self.name());
        let clean = wait::until(grace, &name, async || (!self.is_alive()).then_some(())).await.is_ok();
        self.kill9()?;
        Ok(clean)
    }

    /// Kills the process as a power cut would, and waits until it has ended.
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

    /// Freezes the process. It keeps its connections and leases, and does nothing.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Resumes a frozen process.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Starts an ended process again with changes to its environment. `None` removes a variable.
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

    /// Sets another program, such as another version of the same service, for the next start.
    pub fn set_program(&mut self, program: PathBuf) {
        self.launch.program = program;
    }

    /// Keeps the process running when this value is dropped.
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
