//! What is needed to start a process, and to start it again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Clone, Debug)]
pub struct Launch {
    /// Names the process in messages, and its record and log.
    pub name: String,
    pub program: PathBuf,
    /// Every user of the machine can read arguments, so they never hold a secret.
    pub args: Vec<OsString>,
    /// The whole environment: the process inherits nothing.
    pub env: BTreeMap<String, String>,
    /// The folder of the record `<name>.pid` and of the log `<name>.log`.
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

    /// The same program as a command that ends by itself.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env).stdin(Stdio::null()).process_group(0);
        command
    }
}

/// The environment of every child: enough to find programs and a home folder, and nothing that changes its behaviour.
pub fn base_env() -> BTreeMap<String, String> {
    let inherited = std::env::var("PATH").unwrap_or_default();
    let home = std::env::var("HOME").unwrap_or_else(|_| "/".into());
    // The PATH of an ordinary user often lacks the folders where servers are installed.
    let path = format!("{inherited}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    BTreeMap::from([("PATH".into(), path), ("HOME".into(), home), ("LANG".into(), "C.UTF-8".into())])
}
