//! `sync`: brings over what changed in the source since the import, and says how far behind the destination is.
//!
//! **Guarantees.** After a pass the destination is as the source was at the moment of the pass's snapshot: rows that came, changed
//! or went, whatever their columns say ([`super::compare`]). With `--final` the last pass runs while the source is locked against
//! writing, so nothing is behind; the lock ends with the command, so stop the old application before it.
//!
//! Rows that the new system wrote itself are not overwritten: a row beyond the highest key that the source has ever given
//! stops the command before it changes anything. After the cut-over there is no `sync`: the way is `rollback`.

use super::LegacyError;
use super::destination::Destination;
use super::direction::{Direction, transfer_of};
use super::mapping::Place;
use super::members::{self, AdminsBecome, Members};
use super::routes::{Route, Routing};
use super::source::{Snapshot, Source};
use super::state::{self, Import, Stage, TableState};
use super::work::{Worker, begin_table, in_parallel};
use crate::tables::TableError;
use crate::tables::compare::{Changes, Pair, compare, newest};
use crate::tables::progress::Progress;
use crate::tables::transfer::{Range, TableTransfer};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

/// What a synchronisation did.
#[derive(Debug, Serialize)]
pub struct Synced {
    /// Each pass, in order.
    pub passes: Vec<Pass>,
    /// Whether the last one ran while the source was locked.
    pub r#final: bool,
    /// Seconds since the moment that the destination is equal to; 0 while the source is still locked.
    pub behind_seconds: f64,
    /// Rows that the last pass had to bring: how many may have changed since.
    pub behind_rows: u64,
}

/// A pass over all tables.
#[derive(Debug, Serialize)]
pub struct Pass {
    /// Whether the source was locked.
    pub locked: bool,
    /// Rows that came, changed and went, by table; tables without any are left out.
    pub tables: BTreeMap<String, Changes>,
    /// All of them together.
    pub rows: u64,
    /// Memberships recorded.
    pub members: Members,
    /// Seconds it took.
    pub seconds: f64,
}

/// Runs it.
pub async fn run(
    source: &Source,
    destination: &Destination,
    import: &Import,
    routing: &Routing,
    r#final: bool,
    passes: u32,
    jobs: usize,
) -> Result<Synced, LegacyError> {
    match import.stage {
        Stage::Imported | Stage::RolledBack => {}
        Stage::Importing => {
            return Err(LegacyError::Refused(
                "the import is not complete: run `provisioner legacy import` again".into(),
            ));
        }
        Stage::CutOver | Stage::RollingBack => {
            return Err(LegacyError::Refused(
                "the new system is the one in use: rows go back with `provisioner legacy rollback`".into(),
            ));
        }
    }
    refuse_foreign_rows(destination, routing).await?;
    destination.change(source, &routing.changes).await?;
    let mut done = Synced { passes: Vec::new(), r#final, behind_seconds: 0.0, behind_rows: 0 };
    for _ in 0..passes {
        let began = Instant::now();
        let snapshot = Snapshot::take(source, &routing.tables(), jobs).await?;
        let mut workers = Worker::all(destination, snapshot.readers).await?;
        let pass = pass(destination, routing, &mut workers, false).await?;
        done.behind_rows = pass.rows;
        done.behind_seconds = began.elapsed().as_secs_f64();
        done.passes.push(pass);
        if done.behind_rows == 0 {
            break;
        }
    }
    if r#final {
        let mut snapshot = Snapshot::take_and_hold(source, &routing.tables(), jobs).await?;
        let mut workers = Worker::all(destination, std::mem::take(&mut snapshot.readers)).await?;
        let pass = pass(destination, routing, &mut workers, true).await?;
        (done.behind_rows, done.behind_seconds) = (0, 0.0);
        done.passes.push(pass);
        super::import::next_keys(source, destination, routing).await?;
        snapshot.release().await;
    }
    Ok(done)
}

/// Makes every table equal to what the workers' connections see.
pub async fn pass(
    destination: &Destination,
    routing: &Routing,
    workers: &mut [Worker],
    locked: bool,
) -> Result<Pass, LegacyError> {
    let progress = Progress::new("comparing", routing.routes.iter().map(|route| route.rows).sum());
    let mut system = destination.connect(Place::System).await?;
    let states = state::tables(&mut system).await?;
    let moment = state::now(&mut system).await?;
    let tables = RefCell::new(BTreeMap::new());
    let tenant_id = destination.tenant.tenant_id.as_str();
    in_parallel(workers, &routing.routes, async |worker, route| {
        let transfer = transfer_of(route, Direction::Forward, tenant_id)?;
        let state = states.get(&route.table).cloned().unwrap_or_default();
        let changes = table(worker, route, &transfer, state, &progress).await?;
        progress.table();
        if changes.rows() > 0 {
            tables.borrow_mut().insert(route.table.clone(), changes);
        }
        Ok(())
    })
    .await?;
    progress.finish();
    let members = members::complete(destination, AdminsBecome::User, &Progress::quiet()).await?;
    state::synced(&mut system, &moment).await?;
    let tables = tables.into_inner();
    let rows = tables.values().map(Changes::rows).sum();
    Ok(Pass { locked, tables, rows, members, seconds: progress.seconds() })
}

async fn table(
    worker: &mut Worker,
    route: &Route,
    transfer: &TableTransfer,
    mut state: TableState,
    progress: &Progress,
) -> Result<Changes, LegacyError> {
    // Recorded before the rows are there: a pass that is killed leaves none that looks foreign.
    state.raise_newest(newest(&mut worker.source, &transfer.from).await?);
    state.complete = true;
    state::keep_table(&mut worker.checkpoints, &route.table, &state).await?;
    let (from, to) = worker.ends(route, Direction::Forward);
    begin_table(to, route).await?;
    Ok(compare(transfer, Range::default(), Pair { from, to }, true, progress).await?.changes)
}

/// Rows that the source cannot have given were written by the new system.
async fn refuse_foreign_rows(destination: &Destination, routing: &Routing) -> Result<(), LegacyError> {
    let (mut system, mut tenant) =
        (destination.connect(Place::System).await?, destination.connect(Place::Tenant).await?);
    let states = state::tables(&mut system).await?;
    let mut foreign = Vec::new();
    for route in &routing.routes {
        let Some(state) = states.get(&route.table) else { continue };
        let known = state.newest_key.as_deref().and_then(|key| key.parse::<i128>().ok());
        let transfer = transfer_of(route, Direction::Forward, destination.tenant.tenant_id.as_str())?;
        let connection = if route.place == Place::System { &mut system } else { &mut tenant };
        let there = newest(connection, &transfer.to).await.map_err(|error| match error {
            TableError::Database(source) => TableError::At { doing: format!("reading {}", route.table), source },
            other => other,
        })?;
        if there > known {
            foreign.push(format!(
                "{}.{} (id {})",
                destination.database(route.place),
                route.table,
                there.unwrap_or_default()
            ));
        }
    }
    match foreign.as_slice() {
        [] => Ok(()),
        _ => Err(LegacyError::Refused(format!(
            "the new system has written rows of its own, which a synchronisation would overwrite or remove: {}",
            foreign.join(", ")
        ))),
    }
}

impl fmt::Display for Synced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, pass) in self.passes.iter().enumerate() {
            let locked = if pass.locked { ", the source locked" } else { "" };
            writeln!(f, "pass {}{locked}: {} rows in {:.1} s", number + 1, pass.rows, pass.seconds)?;
            for (table, Changes { missing, changed, extra, .. }) in &pass.tables {
                writeln!(f, "  {table}: {missing} came, {changed} changed, {extra} went")?;
            }
            if pass.members != Members::default() {
                writeln!(f, "  {} members joined, {} left", pass.members.joined, pass.members.left)?;
            }
        }
        if self.r#final {
            write!(f, "everything is here, as of the moment the source was locked")
        } else {
            write!(
                f,
                "the destination is as the source was {:.1} s ago; the last pass brought {} rows",
                self.behind_seconds, self.behind_rows
            )
        }
    }
}
