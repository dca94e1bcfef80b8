//! How much of the processors others used while something was measured.
//!
//! Taking turns is not enough: a load from outside does not meet both sides alike. With both cores full of compilers the
//! bare SQL became six to fifteen times slower, and was seen to take longer than provisioning, which contains it. Why
//! the two suffer differently is not established; that a ratio from such a round says nothing, whichever way it points,
//! is. So a round in which others were busy gets no say in the verdict. What decides is the load alone, never the ratio
//! that came out.

use std::fs;

use anyhow::{Context, Result};
use harness::process::Process;
use harness::stack::Stack;

/// Up to this share of the processors' time, a round is quiet.
pub const QUIET: f64 = 0.2;

/// Linux counts processor time for programs in hundredths of a second (USER_HZ), whatever it counts in itself.
const TICK_MILLIS: f64 = 10.0;

/// Knows which processes are ours.
pub struct Watch {
    /// Each process of a stack leads a group of its own.
    groups: Vec<Group>,
    /// Further processes that are measured.
    measured: Vec<i32>,
}

#[derive(Clone)]
struct Group {
    name: String,
    id: i32,
}

impl Group {
    fn of(process: &Process) -> Self {
        Self { name: process.name().to_owned(), id: process.pid() }
    }
}

/// Ticks since the machine, or the processes, started.
pub struct Moment {
    all: f64,
    busy: f64,
    ours: f64,
}

impl Watch {
    pub fn new(stack: &mut Stack) -> Self {
        let groups = stack.processes().map(|process| Group::of(process)).collect();
        Self { groups, measured: Vec::new() }
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

    /// Processor time of each of our processes so far, in milliseconds: the servers and services by name, and `bench`,
    /// which is the client and the load.
    pub fn by_process(&self) -> Vec<(String, f64)> {
        let times = self.times();
        let of = |id: Option<i32>| -> f64 {
            times.iter().filter(|(group, _)| *group == id).map(|(_, ticks)| ticks * TICK_MILLIS).sum()
        };
        let named = self.groups.iter().map(|group| (group.name.clone(), of(Some(group.id))));
        named.chain([("bench".to_owned(), of(None))]).collect()
    }

    fn ours(&self) -> f64 {
        self.times().into_iter().map(|(_, ticks)| ticks).sum()
    }

    /// Ticks of each process of ours, with its group; `None` is this process.
    fn times(&self) -> Vec<(Option<i32>, f64)> {
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
                true => Some((None, time(11..15))),
                false => {
                    let ours = self.groups.iter().any(|ours| ours.id == group);
                    let measured = || pid.parse().is_ok_and(|pid| self.measured.contains(&pid));
                    (ours || measured()).then(|| (Some(group), time(11..13)))
                }
            }
        });
        ticks.collect()
    }
}
