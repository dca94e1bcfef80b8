//! The three services as real processes, configured by their environment alone, as in production.
//!
//! Each service starts with an environment that holds exactly what it needs, so a service that depends on anything
//! else fails here. Secrets are in the environment or in files, never in arguments.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::files::{private_dir, remembered};
use crate::process::{Launch, Process};
use crate::servers::probe::Probe;
use crate::{paths, ports};

/// A service connects to three servers and reads the head of the event log before it is ready.
const READY: Duration = Duration::from_secs(30);
/// Seconds that a service may drain. It is given to the services as `SHUTDOWN_DEADLINE`.
pub const DRAIN_SECONDS: u64 = 10;
/// Longer than the drain: a service that keeps its deadline is never killed.
const STOP: Duration = Duration::from_secs(DRAIN_SECONDS + 5);
/// Limit for a command that ends by itself. The first migration creates every table.
const COMMAND: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    ControlPlane,
    Provisioner,
    DataPlane,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::ControlPlane, Self::Provisioner, Self::DataPlane];

    /// The name of the binary and of the package.
    pub fn binary(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Provisioner => "provisioner",
            Self::DataPlane => "data-plane",
        }
    }

    /// The name of the n-th process, counted from 0: `data-plane`, `data-plane-2`, ...
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

    /// The setting of the listener for health and metrics. The provisioner has no other listener.
    pub fn internal_listen_variable(self) -> &'static str {
        match self {
            Self::ControlPlane => "CONTROL_PLANE_INTERNAL_LISTEN",
            Self::Provisioner => "PROVISIONER_LISTEN",
            Self::DataPlane => "DATA_PLANE_INTERNAL_LISTEN",
        }
    }
}

/// Environment variables in the order in which they are given. A later one replaces an earlier one.
pub type Env = Vec<(String, String)>;

pub struct Service {
    process: Process,
    url: String,
    internal_url: String,
}

impl Service {
    /// Starts a service without waiting, so that several can start at the same time.
    pub fn start(role: Role, index: usize, profile: &str, dir: &Path, env: &Env) -> Result<Self> {
        private_dir(dir)?;
        let name = role.process_name(index);
        // The port stays the same after a restart, so that printed addresses stay valid.
        let address = |of: &str| {
            let port: u16 = remembered(&dir.join(format!("{name}{of}.port")), ports::free)?;
            Ok::<_, anyhow::Error>(format!("127.0.0.1:{port}"))
        };
        let listen = address("")?;
        let internal = if role == Role::Provisioner { listen.clone() } else { address("-internal")? };
        let launch = with_env(Launch::new(&name, binary(role, profile)?, dir), env)
            .env(role.listen_variable(), &listen)
            .env(role.internal_listen_variable(), &internal)
            .args(["serve"]);
        if let Some(mut left) = Process::attach(launch.clone())? {
            left.kill9()?;
        }
        Ok(Self {
            process: Process::start(launch)?,
            url: format!("http://{listen}"),
            internal_url: format!("http://{internal}"),
        })
    }

    /// Waits until the service is ready. The error of a service that never is contains the end of its log.
    pub async fn wait_ready(&mut self) -> Result<()> {
        Probe::Service { url: self.url.clone() }.wait(&mut self.process, READY).await
    }

    /// The file name of the program.
    pub fn binary(&self) -> String {
        self.process.launch().program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// The address of the service, such as `http://127.0.0.1:20123`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of the internal listener, for health and metrics.
    pub fn internal_url(&self) -> &str {
        &self.internal_url
    }

    /// What the service measures, as Prometheus reads it.
    pub async fn metrics(&self) -> Result<String> {
        let response = crate::http().build()?.get(format!("{}/metrics", self.internal_url)).send().await?;
        Ok(response.error_for_status()?.text().await?)
    }

    pub fn log(&self) -> PathBuf {
        self.process.log()
    }

    /// All log lines in this folder, over all starts of the service.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn is_alive(&mut self) -> bool {
        self.process.is_alive()
    }

    /// Stops the service by SIGTERM. Returns whether it ended by itself within its deadline.
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

    /// Starts the service again and waits until it is ready, whether it was stopped, killed or still runs. `None`
    /// removes a variable. Changes stay for later restarts.
    pub async fn restart(&mut self, changes: &[(&str, Option<&str>)]) -> Result<()> {
        self.stop().await?;
        self.start_again(changes)?;
        self.wait_ready().await
    }

    /// Starts an ended service again without waiting, for a service that is meant to fail.
    pub fn start_again(&mut self, changes: &[(&str, Option<&str>)]) -> Result<()> {
        let owned: Vec<_> =
            changes.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
        self.process.start_again(&owned)
    }
}

/// Runs a command of a service that ends by itself, and returns what it printed.
pub async fn run(role: Role, profile: &str, dir: &Path, env: &Env, args: &[&str]) -> Result<String> {
    let output = output(role, profile, dir, env, args).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let what = format!("{} {}", role.binary(), args.join(" "));
    ensure!(output.status.success(), "{what} failed ({})\n{}", output.status, errors.trim_end());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command of a service, not started yet. `name` is the name of its log.
pub fn command(role: Role, profile: &str, dir: &Path, env: &Env, name: &str, args: &[&str]) -> Result<Launch> {
    private_dir(dir)?;
    Ok(with_env(Launch::new(name, binary(role, profile)?, dir), env).args(args))
}

/// Runs a command of a service, and returns its exit code and output.
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
