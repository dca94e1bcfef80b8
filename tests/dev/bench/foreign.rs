//! How much of the processors others used while something was measured.
//!
//! Taking turns is not enough: a load from outside does not meet both sides alike. With both cores full of compilers the
//! bare SQL became six to fifteen times slower, and was seen to take longer than provisioning, which contains it. Why
//! the two suffer differently is not established; that a ratio from such a round says nothing, whichever way it points,
//! is. So a round in which others were busy gets no say in the verdict. What decides is the load alone, never the ratio
//! that came out.

use std::fs;

use anyhow::{Context, Result};
use harness::stack::Stack;

/// Up to this share of the processors' time, a round is quiet.
pub const QUIET: f64 = 0.2;

/// Knows which processes are ours.
pub struct Watch {
    /// Each process of a stack leads a group of its own.
    groups: Vec<i32>,
    /// Further processes that are measured.
    measured: Vec<i32>,
}

/// Ticks since the machine, or the processes, started.
pub struct Moment {
    all: f64,
    busy: f64,
    ours: f64,
}

impl Watch {
    pub fn new(stack: &mut Stack) -> Self {
        Self { groups: stack.processes().map(|process| process.pid()).collect(), measured: Vec::new() }
    }

    /// The same, and more processes that are measured.
    pub fn with(mut self, pids: &[i32]) -> Self {
        self.measured.extend(pids);
        self
    }

    pub fn now(&self) -> Result<Moment> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("/proc/stat is empty")?;
        // user nice system idle iowait irq softirq steal; the guests' time after them is in user already.
        let ticks: Vec<f64> = line.split_whitespace().skip(1).take(8).filter_map(|word| word.parse().ok()).collect();
        let all: f64 = ticks.iter().sum();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        Ok(Moment { all, busy: all - idle, ours: self.ours() })
    }

    /// The share of the processors that others have used since, a hypervisor's other guests among them.
    pub fn others_since(&self, begun: &Moment) -> Result<f64> {
        let now = self.now()?;
        let others = (now.busy - begun.busy) - (now.ours - begun.ours);
        // The files are not read at the same instant, so a little less than nothing is possible.
        Ok((others / (now.all - begun.all)).max(0.0))
    }

    fn ours(&self) -> f64 {
        let own = std::process::id().to_string();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ticks = processes.filter_map(|process| {
            let pid = process.file_name().into_string().ok().filter(|name| name.parse::<i32>().is_ok())?;
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
            let time = |range: std::ops::Range<usize>| -> f64 {
                fields[range].iter().filter_map(|field| field.parse::<f64>().ok()).sum()
            };
            let group: i32 = fields.get(2)?.parse().ok()?;
            match pid == own {
                // With its ended children: the load generator is one.
                true => Some(time(11..15)),
                false => {
                    let measured = || pid.parse().is_ok_and(|pid| self.measured.contains(&pid));
                    (self.groups.contains(&group) || measured()).then(|| time(11..13))
                }
            }
        });
        ticks.sum()
    }
}
