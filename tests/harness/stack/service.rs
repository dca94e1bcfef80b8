//! The three services as real processes, configured by their environment alone, as in production.
//!
//! Each gets exactly what it needs and starts from an empty environment: a service that quietly depends on
//! something else fails here. Secrets travel in the environment or in files, never as arguments.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::files::{private_dir, remembered};
use crate::process::{Launch, Process};
use crate::servers::probe::Probe;
use crate::{paths, ports};

/// A start connects to three servers and reads the head of the events.
const READY: Duration = Duration::from_secs(30);
/// How long a service may drain; given to it as `SHUTDOWN_DEADLINE`.
pub const DRAIN_SECONDS: u64 = 10;
/// Longer than the drain, so that a service that keeps its deadline is never killed.
const STOP: Duration = Duration::from_secs(DRAIN_SECONDS + 5);
/// A command that ends by itself: the first migration creates every table.
const COMMAND: Duration = Duration::from_secs(120);

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    ControlPlane,
    Provisioner,
    DataPlane,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::ControlPlane, Self::Provisioner, Self::DataPlane];

    /// The name of its binary and of its package.
    pub fn binary(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Provisioner => "provisioner",
            Self::DataPlane => "data-plane",
        }
    }

    /// The name of its n-th process, counted from 0: `data-plane`, `data-plane-2`, ...
    pub fn process_name(self, index: usize) -> String {
        match index {
            0 => self.binary().to_owned(),
            _ => format!("{}-{}", self.binary(), index + 1),
        }
    }

    fn listen_variable(self) -> &'static str {
        match self {
            Self::ControlPlane => "CONTROL_PLANE_LISTEN",
            Self::Provisioner => "PROVISIONER_LISTEN",
            Self::DataPlane => "DATA_PLANE_LISTEN",
        }
    }
}

/// Environment variables, in the order in which they were given; a later one wins.
pub type Env = Vec<(String, String)>;

/// One running service.
pub struct Service {
    process: Process,
    url: String,
}

impl Service {
    /// Starts a service without waiting for it: several can start at the same time.
    pub fn start(role: Role, index: usize, profile: &str, dir: &Path, env: &Env) -> Result<Self> {
        private_dir(dir)?;
        let name = role.process_name(index);
        // The same port after a restart, so that printed addresses stay true.
        let port: u16 = remembered(&dir.join(format!("{name}.port")), ports::free)?;
        let listen = format!("127.0.0.1:{port}");
        let launch = with_env(Launch::new(&name, binary(role, profile)?, dir), env)
            .env(role.listen_variable(), &listen)
            .args(["serve"]);
        if let Some(mut left) = Process::attach(launch.clone())? {
            left.kill9()?;
        }
        Ok(Self { process: Process::start(launch)?, url: format!("http://{listen}") })
    }

    /// Waits until the service says it is ready; the end of its log is in the error when it never does.
    pub async fn wait_ready(&mut self) -> Result<()> {
        Probe::Service { url: self.url.clone() }.wait(&mut self.process, READY).await
    }

    /// The name of its program.
    pub fn binary(&self) -> String {
        self.process.launch().program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// Its address, such as `http://127.0.0.1:20123`.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn log(&self) -> PathBuf {
        self.process.log()
    }

    /// Everything it has logged in this folder, over all its starts.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn is_alive(&mut self) -> bool {
        self.process.is_alive()
    }

    /// Stops cleanly. Says whether the service ended by itself within its deadline.
    pub async fn stop(&mut self) -> Result<bool> {
        self.process.stop(STOP).await
    }

    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    pub fn pause(&mut self) -> Result<()> {
        self.process.pause()
    }

    pub fn resume(&mut self) -> Result<()> {
        self.process.resume()
    }

    /// Starts the service again and waits until it is ready, whether it was stopped, killed or still runs.
    /// A change with `None` removes the variable; changes stay for later restarts.
    pub async fn restart(&mut self, changes: &[(&str, Option<&str>)]) -> Result<()> {
        self.stop().await?;
        self.start_again(changes)?;
        self.wait_ready().await
    }

    /// Starts an ended service again without waiting: for one that is meant to fail.
    pub fn start_again(&mut self, changes: &[(&str, Option<&str>)]) -> Result<()> {
        let owned: Vec<_> =
            changes.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
        self.process.start_again(&owned)
    }
}

/// Runs a command of a service that ends by itself, and gives what it printed.
pub async fn run(role: Role, profile: &str, dir: &Path, env: &Env, args: &[&str]) -> Result<String> {
    let output = output(role, profile, dir, env, args).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let what = format!("{} {}", role.binary(), args.join(" "));
    ensure!(output.status.success(), "{what} failed ({})\n{}", output.status, errors.trim_end());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command of a service, to be started; `name` is that of its log.
pub fn command(role: Role, profile: &str, dir: &Path, env: &Env, name: &str, args: &[&str]) -> Result<Launch> {
    private_dir(dir)?;
    Ok(with_env(Launch::new(name, binary(role, profile)?, dir), env).args(args))
}

/// The same, with whatever exit code it ends.
pub async fn output(role: Role, profile: &str, dir: &Path, env: &Env, args: &[&str]) -> Result<Output> {
    let launch = command(role, profile, dir, env, role.binary(), args)?;
    let what = format!("{} {}", role.binary(), args.join(" "));
    let output = tokio::process::Command::from(launch.command()).kill_on_drop(true).output();
    match tokio::time::timeout(COMMAND, output).await {
        Ok(output) => output.with_context(|| format!("start {what}")),
        Err(_) => bail!("{what} did not end within {} s", COMMAND.as_secs()),
    }
}

fn with_env(launch: Launch, env: &Env) -> Launch {
    env.iter().fold(launch, |launch, (name, value)| launch.env(name, value))
}

fn binary(role: Role, profile: &str) -> Result<PathBuf> {
    let binary = paths::binaries(profile)?.join(role.binary());
    ensure!(binary.is_file(), "{} is not compiled; `cargo dev` does that, or `cargo build`", binary.display());
    Ok(binary)
}
