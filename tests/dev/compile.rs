//! Calls cargo. It runs in a process group of its own, which is stopped as a whole when the work is given up.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use harness::paths;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// A cargo call that takes its compilers with it when dropped.
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

    /// Waits for its end.
    pub async fn status(&mut self) -> Result<std::process::ExitStatus> {
        let status = self.child.wait().await?;
        // The id is free for others from here on.
        self.group = None;
        Ok(status)
    }
}

impl Drop for Cargo {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Cargo's own children die with it; its files are made for that.
            let _ = killpg(group, Signal::SIGTERM);
        }
    }
}

/// A cargo command in the workspace, with the cargo that runs us.
///
/// Without what that cargo tells us of our own package: the build script of `ring` watches these variables, so with them
/// it, and TLS, SQLx and everything above would be compiled anew whenever `cargo dev` follows a plain `cargo`, or the
/// other way round.
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

/// Compiles; the progress goes to the terminal.
pub async fn build(args: &[&str]) -> Result<()> {
    let status = Cargo::start(&mut command(args))?.status().await?;
    ensure!(status.success(), "`cargo {}` failed ({status})", args.join(" "));
    Ok(())
}

/// Compiles the three services. All packages are named, as the alias `cargo dev` and `cargo test --workspace` do: with
/// fewer, cargo would choose other features for what they share, and compile it twice.
pub async fn services(release: bool) -> Result<()> {
    let mut args = vec!["build", "--workspace", "--bins", "--locked"];
    if release {
        args.push("--release");
    }
    build(&args).await
}
