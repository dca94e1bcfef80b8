//! `sync`: brings over what has changed in the source since the import, and says how far behind the destination is.
//!
//! **Guarantees.** After a pass the destination is as the source was at the moment of the pass's snapshot. New, changed
//! and deleted rows are found whatever their columns say ([`crate::tables::compare`]). With `--final` the last pass
//! runs while the source is locked against writing, so nothing is missing. The lock ends with the command: stop the old
//! application before it.
//!
//! The command never overwrites or deletes rows that the new system wrote, unless `--overwrite` says so. If there is a
//! row beyond the highest key that the source has ever given, it stops before it changes anything. Every pass writes
//! only where the new system still holds what the earlier pass wrote ([`crate::tables::guarded`]). Where it does not,
//! the pass leaves the rows as they are, brings over everything else, and then names them. During the last pass the
//! default tenant is in maintenance and its accounts are locked. After the cut-over the command refuses: rows then only
//! go back, by `rollback`.

use super::LegacyError;
use super::destination::Destination;
use super::direction::{Direction, transfer_of};
use super::mapping::TargetDatabase;
use super::members::{self, AdminsBecome, Members};
use super::parallel::{ConnectionSet, begin_table, in_parallel};
use super::source::{Snapshot, Source};
use super::state::{self, Import, Stage, TableState};
use super::table_plan::{TablePlan, TablePlans};
use super::{shut, written};
use crate::tables::TableError;
use crate::tables::compare::{Changes, Pair, Repair, compare, newest};
use crate::tables::guarded::{self, Guarded, ReadAt};
use crate::tables::progress::Progress;
use crate::tables::transfer::{Range, TableTransfer};
use kernel::process::failpoint;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

/// What the command did.
#[derive(Debug, Serialize)]
pub struct Synced {
    pub passes: Vec<Pass>,
    /// Whether the last pass ran while the source was locked.
    pub r#final: bool,
    /// Seconds since the moment that the destination is equal to. 0 while the source is locked.
    pub behind_seconds: f64,
    /// Rows that the last pass brought, as a measure of how many may have changed since.
    pub behind_rows: u64,
}

/// A pass over all tables.
#[derive(Debug, Serialize)]
pub struct Pass {
    pub locked: bool,
    /// New, changed and deleted rows of each table that has any.
    pub tables: BTreeMap<String, Changes>,
    /// Sum of these rows.
    pub rows: u64,
    pub members: Members,
    pub seconds: f64,
}

/// What a pass does about rows that the new system wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// It leaves them and names them.
    Leave,
    /// It makes them equal to the source.
    Overwrite,
}

/// How to synchronise.
#[derive(Clone, Copy, Debug)]
pub struct SyncRequest {
    /// Whether to lock the source for a last pass.
    pub r#final: bool,
    /// Most passes before it.
    pub passes: u32,
    pub others: Others,
    /// How many tables to work on at once.
    pub jobs: usize,
}

/// Runs passes until one finds no change, or `passes` have run.
pub async fn run(
    source: &Source,
    destination: &Destination,
    import: &Import,
    plans: &TablePlans,
    request: SyncRequest,
) -> Result<Synced, LegacyError> {
    let SyncRequest { r#final, passes, others, jobs } = request;
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
    if others == Others::Leave {
        refuse_foreign_rows(destination, plans).await?;
    }
    destination.change(source, &plans.changes).await?;
    let mut done = Synced { passes: Vec::new(), r#final, behind_seconds: 0.0, behind_rows: 0 };
    for _ in 0..passes {
        let began = Instant::now();
        let snapshot = Snapshot::take(source, &plans.names(), jobs).await?;
        let mut sets = ConnectionSet::all(destination, snapshot.readers).await?;
        let pass = pass(destination, plans, &mut sets, false, others).await?;
        done.behind_rows = pass.rows;
        done.behind_seconds = began.elapsed().as_secs_f64();
        done.passes.push(pass);
        if done.behind_rows == 0 {
            break;
        }
    }
    if r#final {
        let mut shut = shut::shut(destination, shut::For::LastPass).await?;
        let last = last_pass(source, destination, plans, others, jobs, &mut shut).await;
        let reopened = shut.reopen().await;
        done.passes.push(last?);
        reopened?;
        (done.behind_rows, done.behind_seconds) = (0, 0.0);
    }
    Ok(done)
}

/// A pass while the source is locked and no node can write to the default tenant.
async fn last_pass(
    source: &Source,
    destination: &Destination,
    plans: &TablePlans,
    others: Others,
    jobs: usize,
    shut: &mut shut::Shut<'_>,
) -> Result<Pass, LegacyError> {
    if others == Others::Leave {
        refuse_foreign_rows(destination, plans).await?;
    }
    let mut snapshot = Snapshot::take_and_hold(source, &plans.names(), jobs).await?;
    let mut sets = ConnectionSet::all(destination, std::mem::take(&mut snapshot.readers)).await?;
    let pass = pass(destination, plans, &mut sets, true, others).await?;
    super::next_keys::copy(source, destination, plans).await?;
    snapshot.verify_held().await?;
    shut.verify_held().await?;
    snapshot.release().await;
    Ok(pass)
}

/// Makes every table equal to what the connections to the source see. Fails after it has done so where it could, if it
/// has left rows of the new system.
pub async fn pass(
    destination: &Destination,
    plans: &TablePlans,
    sets: &mut [ConnectionSet],
    locked: bool,
    others: Others,
) -> Result<Pass, LegacyError> {
    let progress = Progress::new("comparing", plans.tables.iter().map(|plan| plan.rows).sum());
    let mut system = destination.connect(TargetDatabase::System).await?;
    let states = state::tables(&mut system).await?;
    let moment = state::now(&mut system).await?;
    let (tables, left) = (RefCell::new(BTreeMap::new()), RefCell::new(BTreeMap::new()));
    let tenant_id = destination.tenant.tenant_id.as_str();
    in_parallel(sets, &plans.tables, async |set, plan| {
        let transfer = transfer_of(plan, Direction::Forward, tenant_id)?;
        let state = states.get(&plan.table).cloned().unwrap_or_default();
        let Guarded { changes, conflicts } = table(set, plan, &transfer, state, others, &progress).await?;
        progress.table();
        if changes.rows() > 0 {
            tables.borrow_mut().insert(plan.table.clone(), changes);
        }
        if conflicts.rows() > 0 {
            left.borrow_mut().insert(plan.table.clone(), conflicts);
        }
        Ok(())
    })
    .await?;
    progress.finish();
    let left = left.into_inner();
    if !left.is_empty() {
        return Err(rows_left(&left));
    }
    let members = members::complete(destination, AdminsBecome::User, &Progress::quiet()).await?;
    state::synced(&mut system, &moment).await?;
    let tables = tables.into_inner();
    let rows = tables.values().map(Changes::rows).sum();
    Ok(Pass { locked, tables, rows, members, seconds: progress.seconds() })
}

async fn table(
    set: &mut ConnectionSet,
    plan: &TablePlan,
    transfer: &TableTransfer,
    mut state: TableState,
    others: Others,
    progress: &Progress,
) -> Result<Guarded, LegacyError> {
    // Recorded before the rows arrive, so that the rows of a killed pass do not look foreign.
    state.raise_newest(newest(&mut set.source, &transfer.from).await?);
    state.complete = true;
    state::store_table(&mut set.checkpoints, &plan.table, &state).await?;
    let ranges = match others {
        // A table without snapshots has no lock under which a range could be compared and then written.
        Others::Leave if plan.transactional => written::ranges(&mut set.checkpoints, &plan.table).await?,
        Others::Leave | Others::Overwrite => Vec::new(),
    };
    let (from, to, checkpoints) = set.forward(plan);
    begin_table(to, plan).await?;
    failpoint::hit("legacy.before_compare").await;
    if !ranges.is_empty() {
        let store = async |position, range: &_| Ok(written::store(checkpoints, &plan.table, position, range).await?);
        return Ok(guarded::repair(transfer, Pair { from, to }, ranges, progress, store).await?);
    }
    // The operator accepts that rows of the new system are lost, an older program has imported the table, or the table
    // has no snapshots. What the last pass wrote stays recorded until this pass has ended: if it is killed, an ordinary
    // pass finds what it has written to be of another writer, and names it.
    let repair = match others {
        Others::Leave => Repair::UpTo(state.newest()),
        Others::Overwrite => Repair::Yes,
    };
    let compared = compare(transfer, Range::default(), Pair { from, to }, repair, progress).await;
    let changes = compared.map(|compared| compared.changes).map_err(|error| match error {
        TableError::Foreign { table, key } => foreign_rows(&format!("{table} (id {key})")),
        error => error.into(),
    })?;
    written::record(set, plan, transfer, ReadAt::Near).await?;
    Ok(Guarded { changes, conflicts: Changes::default() })
}

/// Refuses if the new system has written rows: their keys are beyond those that the source can have given.
pub async fn refuse_foreign_rows(destination: &Destination, plans: &TablePlans) -> Result<(), LegacyError> {
    let (mut system, mut tenant) =
        (destination.connect(TargetDatabase::System).await?, destination.connect(TargetDatabase::Tenant).await?);
    let states = state::tables(&mut system).await?;
    let mut foreign = Vec::new();
    for plan in &plans.tables {
        let Some(state) = states.get(&plan.table) else { continue };
        let known = state.newest();
        let transfer = transfer_of(plan, Direction::Forward, destination.tenant.tenant_id.as_str())?;
        let connection = if plan.target == TargetDatabase::System { &mut system } else { &mut tenant };
        let there = newest(connection, &transfer.to).await.map_err(|error| match error {
            TableError::Database(source) => TableError::At { doing: format!("reading {}", plan.table), source },
            other => other,
        })?;
        if there > known {
            foreign.push(format!(
                "{}.{} (id {})",
                destination.database(plan.target),
                plan.table,
                there.unwrap_or_default()
            ));
        }
    }
    match foreign.as_slice() {
        [] => Ok(()),
        _ => Err(foreign_rows(&foreign.join(", "))),
    }
}

fn foreign_rows(rows: &str) -> LegacyError {
    LegacyError::Refused(format!(
        "the new system has written rows of its own, which a sync would overwrite or delete: {rows}. {WAY_OUT}"
    ))
}

/// What the operator can do about rows of the new system.
const WAY_OUT: &str = "Undo there what was written, or run `provisioner legacy sync --overwrite`, which makes these \
                       rows equal to the source and deletes those that the source does not have; rows of users who \
                       belong to other tenants only stay";

fn rows_left(left: &BTreeMap<String, Changes>) -> LegacyError {
    let table = |(table, changes): (&String, &Changes)| {
        let keys = if changes.keys.is_empty() { String::new() } else { format!(" (id {})", changes.keys.join(", ")) };
        format!("{table}: {} rows{keys}", changes.rows())
    };
    let tables: Vec<_> = left.iter().map(table).collect();
    LegacyError::Refused(format!(
        "the new system has written in ranges of keys of {} tables since the last pass. Everything else was brought \
         over but the members, and in these ranges there are rows that differ from the source, in {}. {WAY_OUT}",
        left.len(),
        tables.join("; ")
    ))
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
