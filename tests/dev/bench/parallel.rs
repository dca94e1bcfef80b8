//! Creating many tenants at once, against the bare SQL on as many connections as serve it best.
//!
//! Ours: one provisioner with four workers; the commands are sent as fast as they are accepted, and the clock runs from the
//! first of them to the arrival of the last `tenant.activated` on the live stream. Bare: the same number of databases on 1, 2
//! and 4 connections, each taking the next one as soon as it is done; the best of the three counts, because which one is best
//! depends on the machine.
//!
//! The databases of the bare side are dropped after every round, outside the timing, and the server gets a moment to
//! finish that before the next.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use harness::admin::Admin;
use tokio::task::JoinSet;

use super::bare::{self, Bare};
use super::creation::{newest, post, wait_for_active};
use super::foreign::Watch;
use super::report::{Comparison, Figure, Goal, Turn};

/// Tenants of a side, per round: enough that beginning and end, in which not every worker has something to do, count little
/// in a rate.
const TENANTS: usize = 100;
/// Commands on their way; what a control plane takes at once is bounded.
const AT_ONCE: usize = 32;
const WARM_UP: usize = 8;
/// Connections of the bare side.
const CONNECTIONS: [usize; 3] = [1, 2, 4];
/// The process that both sides use.
const DATABASE: &str = "mariadb";
/// After the drops.
const REST: Duration = Duration::from_secs(1);

/// One round, in tenants a second.
struct Round {
    ours: f64,
    bare: [f64; CONNECTIONS.len()],
    /// Share of the processors that others used.
    others: f64,
    /// Processor time of each process while ours had its turn, in milliseconds a tenant.
    spent: Vec<(String, f64)>,
    /// The database server's while the bare SQL had its turns.
    bare_spent: f64,
}

impl Round {
    fn best(&self) -> f64 {
        self.bare.iter().copied().fold(0.0, f64::max)
    }
}

pub async fn measure(admin: &Admin, bare: &mut Bare, watch: &Watch, rounds: usize) -> Result<Comparison> {
    eprintln!("parallel: warming up");
    round(admin, bare, watch, WARM_UP, 0).await?;
    let mut measured = Vec::new();
    for number in 1..=rounds {
        let round = round(admin, bare, watch, TENANTS, number).await?;
        eprintln!("parallel {number}/{rounds}: {:.1} tenants/s, bare SQL {:.1}", round.ours, round.best());
        measured.push(round);
    }
    let turns = measured.iter().map(|round| Turn { ratio: round.ours / round.best(), others: round.others }).collect();
    let mut figures =
        vec![Figure::of("first command to last active", "tenants/s", measured.iter().map(|round| round.ours))];
    for (index, connections) in CONNECTIONS.iter().enumerate() {
        let name = format!("bare SQL, connections: {connections}");
        figures.push(Figure::of(name, "tenants/s", measured.iter().map(|round| round.bare[index])));
    }
    let of_process = |index: usize| measured.iter().map(move |round| round.spent[index].1);
    for (index, (process, _)) in measured[0].spent.iter().enumerate() {
        figures.push(Figure::of(format!("processor time, {process}"), "ms a tenant", of_process(index)));
    }
    let bare_spent = measured.iter().map(|round| round.bare_spent);
    figures.push(Figure::of(format!("processor time of the bare SQL, {DATABASE}"), "ms a tenant", bare_spent));
    Ok(Comparison::new("parallel", "tenants/s / best of bare SQL", Goal::AtLeast(0.85), turns, figures))
}

/// Every side once; which one begins changes with the round's number.
async fn round(admin: &Admin, bare: &mut Bare, watch: &Watch, tenants: usize, number: usize) -> Result<Round> {
    let mut round =
        Round { ours: 0.0, bare: [0.0; CONNECTIONS.len()], others: 0.0, spent: Vec::new(), bare_spent: 0.0 };
    let begun = watch.now()?;
    let sides = CONNECTIONS.len() + 1;
    for turn in 0..sides {
        match (turn + number) % sides {
            0 => {
                let before = watch.by_process();
                round.ours = ours(admin, tenants, number).await?;
                round.spent = spent(before, watch.by_process(), tenants);
            }
            side => {
                let before = watch.by_process();
                round.bare[side - 1] = theirs(bare, tenants, CONNECTIONS[side - 1]).await?;
                let spent = spent(before, watch.by_process(), tenants);
                let server = spent.iter().find(|(process, _)| process == DATABASE).map_or(0.0, |(_, millis)| *millis);
                round.bare_spent += server / CONNECTIONS.len() as f64;
            }
        }
    }
    round.others = watch.others_since(&begun)?;
    bare.drop_made().await?;
    tokio::time::sleep(REST).await;
    Ok(round)
}

/// What each process has spent between two looks, in milliseconds a tenant.
fn spent(before: Vec<(String, f64)>, after: Vec<(String, f64)>, tenants: usize) -> Vec<(String, f64)> {
    before
        .into_iter()
        .zip(after)
        .map(|((name, before), (_, after))| (name, (after - before) / tenants as f64))
        .collect()
}

async fn ours(admin: &Admin, tenants: usize, round: usize) -> Result<f64> {
    let mut live = admin.live(newest(admin).await?).await?;
    let begun = Instant::now();
    let commands = (0..tenants).map(|tenant| async move { post(admin, &format!("many-{round}-{tenant}")).await });
    futures::stream::iter(commands).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
    wait_for_active(&mut live, tenants).await?;
    Ok(tenants as f64 / begun.elapsed().as_secs_f64())
}

async fn theirs(bare: &mut Bare, tenants: usize, connections: usize) -> Result<f64> {
    let batches: Vec<String> = (0..tenants).map(|_| bare.next()).collect();
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(bare.connect().await?);
    }
    let batches = Arc::new(Mutex::new(batches));
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for mut connection in open {
        let batches = Arc::clone(&batches);
        workers.spawn(async move {
            loop {
                let next = batches.lock().ok().context("another worker has panicked")?.pop();
                let Some(batch) = next else { return anyhow::Ok(()) };
                bare::run(&mut connection, &batch).await?;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    Ok(tenants as f64 / begun.elapsed().as_secs_f64())
}
