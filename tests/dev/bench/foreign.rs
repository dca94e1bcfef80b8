//! Measures how much of the processors other programs used during a measurement.
//!
//! Taking turns is not enough, because a load from outside does not slow both sides alike. With compilers on both cores
//! the bare SQL became six to fifteen times slower, and even took longer than provisioning, which contains it. We do
//! not know why the two suffer differently, but a ratio from such a round says nothing. A round in which other programs
//! were busy therefore does not count for the verdict. Only this load decides that, never the ratio of the round.

use std::fs;

use anyhow::{Context, Result};
use harness::process::Process;
use harness::stack::Stack;

/// A round is quiet if other programs used at most this share of the processors.
pub const QUIET: f64 = 0.2;

/// Linux reports the processor time of processes in hundredths of a second (USER_HZ), independent of its internal
/// clock.
const TICK_MILLIS: f64 = 10.0;

/// The processes that belong to the measurement.
pub struct Watch {
    /// Each process of a stack leads a group of its own.
    groups: Vec<Group>,
    /// Further processes that belong to the measurement.
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

    /// Adds processes that belong to the measurement.
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

    /// The share of the processors that other programs, and other guests of the hypervisor, have used since `begun`.
    pub fn others_since(&self, begun: &Moment) -> Result<f64> {
        let now = self.now()?;
        let others = (now.busy - begun.busy) - (now.ours - begun.ours);
        // The files are not read at the same instant, so the difference can be slightly negative.
        Ok((others / (now.all - begun.all)).max(0.0))
    }

    /// Processor time so far of each process of the measurement, in milliseconds: the servers and services by name, and
    /// `bench` for the client and its load generator.
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

    /// Ticks of each process of the measurement, with its group; `None` is this process.
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
                // This includes ended children, such as the load generator.
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
