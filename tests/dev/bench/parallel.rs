//! Measures creating many tenants at once, against bare SQL on the best number of connections.
//!
//! One side is a provisioner with four workers. The client sends the commands as fast as the control plane accepts
//! them, and measures from the first command until the last `tenant.activated` arrives on the live stream. The other
//! side makes the same number of databases on 1, 2 and 4 connections, each of which takes the next database as soon as
//! it is done. The best of the three counts, because it depends on the machine which one that is.
//!
//! After every round the databases of the bare SQL are dropped, outside the timing, and the server has a moment to
//! finish that.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use harness::clients::Admin;
use tokio::task::JoinSet;

use super::bare::{self, Bare};
use super::creation::{newest, post, wait_for_active};
use super::foreign::Watch;
use super::report::{Comparison, Figure, Goal, Turn};

/// Number of tenants of each side in a round. With so many, the beginning and the end, when some workers are idle,
/// affect the rate little.
const TENANTS: usize = 100;
/// Number of commands in flight, because a control plane limits the requests in progress.
const AT_ONCE: usize = 32;
const WARM_UP: usize = 8;
/// Numbers of connections of the bare SQL.
const CONNECTIONS: [usize; 3] = [1, 2, 4];
/// The name of the process that both sides use.
const DATABASE: &str = "mariadb";
/// A pause after the databases are dropped.
const REST: Duration = Duration::from_secs(1);

/// The measurements of one round, in tenants a second.
struct Round {
    ours: f64,
    bare: [f64; CONNECTIONS.len()],
    /// Share of the processors that other programs used.
    others: f64,
    /// Processor time of each process during the turn of the provisioner, in milliseconds for each tenant.
    spent: Vec<(String, f64)>,
    /// Processor time of the database server during the turns of the bare SQL.
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

/// Measures each side once. The side that begins changes with the number of the round.
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

/// Processor time of each process between two measurements, in milliseconds for each tenant.
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
