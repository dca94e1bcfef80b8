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

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::files::{read_json, tail, write_json};
use crate::wait;

/// How long the kernel may take to remove a killed process (it may be writing a core or flushing).
const DEATH: Duration = Duration::from_secs(10);

/// Everything needed to start a process, and to start it again.
#[derive(Clone, Debug)]
pub struct Launch {
    /// For messages and for the names of the record and the log.
    pub name: String,
    pub program: PathBuf,
    /// Readable by everybody on the machine: never a secret.
    pub args: Vec<OsString>,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Where the record `<name>.pid` and the log `<name>.log` are.
    pub dir: PathBuf,
}

impl Launch {
    /// A launch with the minimal environment.
    pub fn new(name: &str, program: impl Into<PathBuf>, dir: &Path) -> Self {
        Self { name: name.into(), program: program.into(), args: Vec::new(), env: base_env(), dir: dir.into() }
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }

    /// The same program in the foreground, for commands that end by themselves.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env).stdin(Stdio::null()).process_group(0);
        command
    }
}

/// What every child gets: enough to find programs and a home, nothing that could change its behaviour.
pub fn base_env() -> BTreeMap<String, String> {
    let inherited = std::env::var("PATH").unwrap_or_default();
    let home = std::env::var("HOME").unwrap_or_else(|_| "/".into());
    // An ordinary user's PATH often lacks the folders where servers are installed.
    let path = format!("{inherited}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    BTreeMap::from([("PATH".into(), path), ("HOME".into(), home), ("LANG".into(), "C.UTF-8".into())])
}

/// What identifies a process beyond doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// Clock ticks since boot.
    started: u64,
    program: String,
}

impl Record {
    fn of(pid: i32, program: &Path) -> Result<Self> {
        let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (_, started) = stat(pid).with_context(|| format!("{program} ended at once"))?;
        Ok(Self { pid, started, program })
    }

    /// Whether the process with this id is the recorded one and not merely a corpse waiting for its parent.
    fn is_alive(&self) -> bool {
        let line = command_line(self.pid);
        stat(self.pid).is_some_and(|(state, started)| state != 'Z' && state != 'X' && started == self.started)
            // For a moment after its start a program has no command line yet.
            && (line.is_empty() || line.contains(&self.program))
    }
}

/// The state letter and the start time out of `/proc/<pid>/stat`.
fn stat(pid: i32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may itself contain spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

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
        Ok(record.filter(Record::is_alive).map(|record| Self { launch, record, child: None, detached: true }))
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

fn record_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.pid"))
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

/// Kills whatever still runs of what is recorded in a folder and below, and says what it was.
pub fn kill_recorded(dir: &Path) -> Vec<String> {
    let mut killed = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        // Not into links, and not into a server's data, which can be thousands of files.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name() != "data" {
            killed.extend(kill_recorded(&path));
        } else if path.extension().is_some_and(|extension| extension == "pid")
            && let (Some(name), Ok(Some(record))) = (path.file_stem(), read_json::<Record>(&path))
            && record.is_alive()
        {
            let name = name.to_string_lossy().into_owned();
            let launch = Launch::new(&name, &record.program, dir);
            let mut process = Process { launch, record, child: None, detached: true };
            match process.kill9() {
                Ok(()) => killed.push(name),
                Err(error) => eprintln!("{error:#}"),
            }
        }
    }
    killed
}

/// Kills every process of this user whose environment has this entry: children that a server put into sessions of
/// their own. For entries that name a folder of ours, so that nothing else can have them.
pub fn kill_with_environment(entry: &str) {
    let own = std::process::id();
    let carries = |pid: i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes()))
    };
    // Again after a round with a find: a process can start another one just before it is killed.
    loop {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|process| process.file_name().to_str()?.parse().ok());
        let found: Vec<i32> = pids.filter(|pid| *pid != own as i32 && carries(*pid)).collect();
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
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
    fn a_dropped_process_is_dead_and_a_detached_one_is_found_again() {
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
