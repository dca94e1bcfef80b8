//! Measurements of this process from `/proc`, under the names that Prometheus clients use.

use super::names;
use std::fs;

/// Clock ticks per second in `/proc`. Linux fixes this number on all machines.
const TICKS: f64 = 100.0;
const PAGE: f64 = 4096.0;

/// Updates the metrics from `/proc/self`. Values that cannot be read stay as they were.
pub fn measure() {
    if let Some((cpu, resident)) = stat() {
        metrics::gauge!(names::PROCESS_RESIDENT_MEMORY).set(resident * PAGE);
        // Counters are whole numbers, so this counts whole seconds, which is precise enough for a rate over minutes.
        metrics::counter!(names::PROCESS_CPU).absolute(cpu as u64);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory that is being read.
        metrics::gauge!(names::PROCESS_OPEN_FDS).set(open.count().saturating_sub(1) as f64);
    }
    if let Some(most) = max_fds() {
        metrics::gauge!(names::PROCESS_MAX_FDS).set(most);
    }
}

/// The seconds of processor time, and the pages in RAM.
fn stat() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses, which may itself contain spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(((number(11)? + number(12)?) / TICKS, number(21)?))
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
