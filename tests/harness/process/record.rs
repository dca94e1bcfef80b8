//! The record that proves which process is meant: its id, the kernel's time of its start, and its program.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) pid: i32,
    /// Clock ticks since boot.
    pub(super) started: u64,
    pub(super) program: String,
}

impl Record {
    pub(super) fn of(pid: i32, program: &Path) -> Result<Self> {
        let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (_, started) = stat(pid).with_context(|| format!("{program} ended at once"))?;
        Ok(Self { pid, started, program })
    }

    /// Whether the process with this id is the recorded one, and not a zombie that waits for its parent.
    pub(super) fn is_alive(&self) -> bool {
        let line = command_line(self.pid);
        stat(self.pid).is_some_and(|(state, started)| state != 'Z' && state != 'X' && started == self.started)
            // For a moment after its start, a process has no command line.
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

pub(super) fn record_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.pid"))
}
