//! Calls cargo in a process group of its own. When the work is abandoned, the whole group is stopped.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use harness::paths;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// A cargo call. Dropping it also stops the compilers that cargo started.
pub struct Cargo {
    pub child: Child,
    group: Option<Pid>,
}

impl Cargo {
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command.process_group(0).stdin(Stdio::null()).spawn().context("start cargo")?;
        let group = child.id().map(|id| Pid::from_raw(id as i32));
        Ok(Self { child, group })
    }

    pub async fn status(&mut self) -> Result<std::process::ExitStatus> {
        let status = self.child.wait().await?;
        // From here on the system may give the id to another process.
        self.group = None;
        Ok(status)
    }
}

impl Drop for Cargo {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // This also ends cargo's children. Cargo's files survive an interruption.
            let _ = killpg(group, Signal::SIGTERM);
        }
    }
}

/// A command of the cargo that runs this program, in the workspace.
///
/// It does not inherit the variables in which that cargo describes the package of this program. The build script of
/// `ring` watches these variables, so cargo would compile `ring`, TLS, SQLx and every crate above them again whenever
/// `cargo dev` runs after a plain `cargo`, or a plain `cargo` after `cargo dev`.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(paths::workspace());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a cargo command that compiles, and shows its progress in the terminal.
pub async fn build(args: &[&str]) -> Result<()> {
    let status = Cargo::start(&mut command(args))?.status().await?;
    ensure!(status.success(), "`cargo {}` failed ({status})", args.join(" "));
    Ok(())
}

/// Compiles the three services. It builds the whole workspace, as the alias `cargo dev` and `cargo test --workspace`
/// do: with fewer packages cargo would select other features for shared dependencies and compile these twice.
pub async fn services(release: bool) -> Result<()> {
    let mut args = vec!["build", "--workspace", "--bins", "--locked"];
    if release {
        args.push("--release");
    }
    build(&args).await
}
