//! `import`: brings everything over once, from one moment of the source.
//!
//! **Guarantees.** Each attempt reads one snapshot. It copies rows in the order of their key and records what is
//! durable, so a killed attempt loses at most a chunk of eight megabytes of each table that it worked on. Beyond the
//! recorded key there may be rows of a chunk that was not recorded. The next attempt removes them and continues from
//! the recorded key.
//!
//! The next attempt has another snapshot, and rows that an earlier one copied may have changed in the source since. It
//! therefore compares every table that has rows of an earlier attempt with its own snapshot, range by range, and makes
//! it equal. When `import` ends, all tables are as the source was at one moment, however often it was killed. `sync`
//! brings over what has changed after that moment.
//!
//! The import records the checksums of what it has written, from the source's snapshot. By them a later pass finds out
//! where the new system has written meanwhile.
//!
//! A complete import is not repeated: the command says so and changes nothing.

use super::destination::Destination;
use super::direction::{Direction, transfer_of};
use super::mapping::TargetDatabase;
use super::members::{self, ACTOR, AdminsBecome, Members};
use super::next_keys;
use super::parallel::{ConnectionSet, begin_table, in_parallel};
use super::source::{How, Snapshot, Source};
use super::state::{self, Import, Stage, TableState};
use super::table_plan::{TablePlan, TablePlans, Unmapped, resolve};
use super::{LegacyError, checks, written};
use crate::tables::Doing;
use crate::tables::compare::{Pair, Repair, compare, newest, remove_unequal, rewrite};
use crate::tables::copy::{Commit, copy};
use crate::tables::guarded::ReadAt;
use crate::tables::progress::Progress;
use crate::tables::transfer::{Range, TableTransfer};
use kernel::domain::{Command, DomainName, Rejection};
use kernel::store::CommandError;
use serde::Serialize;
use sqlx::Executor;
use std::fmt;

/// The choices of the operator.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    pub unmapped: Unmapped,
    pub admins: AdminsBecome,
    /// Domains of the old installation.
    pub domains: Vec<DomainName>,
    /// How many connections read the source.
    pub jobs: usize,
}

/// What an import did.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// The import was complete before, and this run changed nothing.
    pub already_imported: bool,
    pub source: String,
    pub generation: &'static str,
    /// Attempts so far, including this one.
    pub attempts: u32,
    pub snapshot: Option<How>,
    pub tables: usize,
    /// Tables and views that were not moved, and why.
    pub left: Vec<(String, String)>,
    /// Rows that this attempt copied.
    pub rows: u64,
    pub bytes: u64,
    /// Rows of earlier attempts that this one made equal to its snapshot.
    pub repaired: u64,
    pub members: Members,
    pub seconds: f64,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.already_imported {
            return write!(
                f,
                "{} is imported already; `provisioner legacy sync` brings over what changed since",
                self.source
            );
        }
        for (table, why) in &self.left {
            writeln!(f, "{table} was not moved: {why}")?;
        }
        let (tables, rows, seconds) = (self.tables, self.rows, self.seconds.max(0.001));
        let (megabytes, rate) = (self.bytes as f64 / 1e6, rows as f64 / seconds);
        writeln!(f, "imported {tables} tables, {rows} rows, {megabytes:.1} MB in {seconds:.1} s ({rate:.0} rows/s)")?;
        if self.attempts > 1 {
            let (attempts, repaired) = (self.attempts, self.repaired);
            writeln!(
                f,
                "attempt {attempts}; {repaired} rows of earlier ones had changed in the source \
                 and were brought up to date"
            )?;
        }
        write!(f, "{} members joined, {} left", self.members.joined, self.members.left)
    }
}

/// Imports, or finds that the import is complete.
pub async fn run(source: &Source, destination: &Destination, request: &ImportRequest) -> Result<Imported, LegacyError> {
    let mut system = destination.connect(TargetDatabase::System).await?;
    let before = state::read(&mut system).await?;
    let plans = plan_tables(source, destination, request.unmapped, before.as_ref()).await?;
    let mut done = Imported {
        already_imported: true,
        source: source.name.clone(),
        generation: plans.generation.as_str(),
        attempts: before.as_ref().map_or(0, |import| import.run),
        snapshot: None,
        tables: plans.tables.len(),
        left: plans.left.clone(),
        rows: 0,
        bytes: 0,
        repaired: 0,
        members: Members::default(),
        seconds: 0.0,
    };
    match before.map(|import| import.stage) {
        None => destination.check_empty(&plans.tables, &destination.tables(TargetDatabase::Tenant).await?).await?,
        Some(Stage::Importing) => {}
        Some(_) => return Ok(done),
    }
    domains(destination, &request.domains).await?;
    let run = state::begin(&mut system, &source.name, plans.generation, request.unmapped).await?;
    let ended = attempt(source, destination, request, &plans, run, &mut done).await;
    // The attempt may have written something, so a refusal is no refusal any more.
    ended.map_err(|error| match error {
        LegacyError::Refused(why) => LegacyError::Stopped(why),
        other => other,
    })?;
    Ok(done)
}

/// How far the move has come, and the plans of its tables. Refuses before the first import.
pub async fn started(source: &Source, destination: &Destination) -> Result<(Import, TablePlans), LegacyError> {
    let before = state::read(&mut destination.connect(TargetDatabase::System).await?).await?;
    let Some(before) = before else {
        return Err(LegacyError::Refused("nothing has been imported yet: run `provisioner legacy import`".into()));
    };
    let plans = plan_tables(source, destination, before.unmapped, Some(&before)).await?;
    Ok((before, plans))
}

/// Plans all tables, or says why they cannot be moved. Changes nothing.
pub async fn plan_tables(
    source: &Source,
    destination: &Destination,
    unmapped: Unmapped,
    before: Option<&Import>,
) -> Result<TablePlans, LegacyError> {
    if let Some(before) = before {
        if before.source != source.name {
            return Err(LegacyError::Refused(format!(
                "this installation is moved from {}, and the source is now {}",
                before.source, source.name
            )));
        }
        if before.unmapped != unmapped {
            let chosen = before.unmapped.as_str();
            return Err(LegacyError::Refused(format!(
                "the import was begun with --unmapped {chosen}: continue with that choice"
            )));
        }
    }
    let mut connection = source.connect().await?;
    let tables = source.tables(&mut connection).await?;
    let (system, tenant) =
        (destination.tables(TargetDatabase::System).await?, destination.tables(TargetDatabase::Tenant).await?);
    let mut plans = resolve(&tables, &system, &tenant, unmapped).map_err(LegacyError::Refused)?;
    let TablePlans { tables, nulls, changes, refusals, .. } = &mut plans;
    refusals.extend(checks::refusals(&mut connection, tables, nulls, changes).await?);
    match plans.refusals.as_slice() {
        [] => Ok(plans),
        refusals => Err(LegacyError::Refused(refusals.join("\n"))),
    }
}

async fn attempt(
    source: &Source,
    destination: &Destination,
    request: &ImportRequest,
    plans: &TablePlans,
    run: u32,
    done: &mut Imported,
) -> Result<(), LegacyError> {
    let mut system = destination.connect(TargetDatabase::System).await?;
    destination.change(source, &plans.changes).await?;
    let states = state::tables(&mut system).await?;
    let progress = Progress::new("importing", plans.tables.iter().map(|plan| plan.rows).sum());
    let began = state::now(&mut system).await?;
    let snapshot = Snapshot::take(source, &plans.names(), request.jobs).await?;
    if snapshot.how == How::OneConnection {
        eprintln!("the source's tables cannot be locked for a moment (LOCK TABLES): one connection reads them");
    }
    (done.already_imported, done.attempts, done.snapshot) = (false, run, Some(snapshot.how));
    let mut sets = ConnectionSet::all(destination, snapshot.readers).await?;
    let (copied, repaired) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let tenant_id = destination.tenant.tenant_id.as_str();
    in_parallel(&mut sets, &plans.tables, async |set, plan| {
        let transfer = transfer_of(plan, Direction::Forward, tenant_id)?;
        let state = states.get(&plan.table).cloned().unwrap_or_default();
        let before = state.copied_rows;
        let (rows, otherwise) = table(set, plan, &transfer, state, run, &progress).await?;
        written::record(set, plan, &transfer, ReadAt::Near).await?;
        copied.set(copied.get() + rows - before);
        repaired.set(repaired.get() + otherwise);
        progress.table();
        Ok(())
    })
    .await?;
    progress.finish();
    (done.rows, done.bytes, done.repaired) = (copied.get(), progress.bytes(), repaired.get());
    next_keys::copy(source, destination, plans).await?;
    let recording = Progress::new("recording members", 0);
    done.members = members::complete(destination, request.admins, &recording).await?;
    recording.finish();
    state::synced(&mut system, &began).await?;
    state::enter(&mut system, Stage::Imported).await?;
    done.seconds = progress.seconds();
    Ok(())
}

/// Brings one table over. Returns how many of its rows all attempts have copied, and how many rows of earlier attempts
/// differed from the snapshot.
async fn table(
    set: &mut ConnectionSet,
    plan: &TablePlan,
    transfer: &TableTransfer,
    mut state: TableState,
    run: u32,
    progress: &Progress,
) -> Result<(u64, u64), LegacyError> {
    let ConnectionSet { source, system, tenant, checkpoints } = set;
    let writer = match plan.target {
        TargetDatabase::System => system,
        TargetDatabase::Tenant => tenant,
    };
    begin_table(writer, plan).await?;
    let resumed = state.first_run != 0;
    let earlier = Range { after: None, to: state.last_key.as_deref().and_then(|key| key.parse().ok()) };
    let was_complete = state.complete;
    state.first_run = if resumed { state.first_run } else { run };
    state.last_run = run;
    state.raise_newest(newest(source, &transfer.from).await?);
    state::store_table(checkpoints, &plan.table, &state).await?;
    if plan.key.is_none() {
        let rows = rewrite(transfer, Pair { from: source, to: writer }, progress).await?;
        state.complete = true;
        state.copied_rows += rows;
        state::store_table(checkpoints, &plan.table, &state).await?;
        return Ok((state.copied_rows, 0));
    }
    if !was_complete {
        let rest = Range { after: earlier.to, to: None };
        if resumed && plan.unique && earlier.to.is_some() {
            // A unique value may have gone from a row of an earlier attempt to one that is still to come.
            remove_unequal(transfer, earlier, Pair { from: source, to: writer }).await?;
        }
        if resumed {
            let delete = format!("DELETE FROM {} WHERE {}", transfer.to.table, transfer.to.within(&rest));
            writer
                .execute(sqlx::raw_sql(&delete))
                .await
                .doing(|| format!("removing rows of {} that were not recorded", transfer.name))?;
        }
        copy(transfer, rest, source, writer, Commit::Chunks, progress, async |last, rows| {
            state.last_key = last.map(|key| key.to_string()).or(state.last_key.take());
            state.copied_rows += rows;
            Ok(state::store_table(checkpoints, &plan.table, &state).await?)
        })
        .await?;
        state.complete = true;
        state::store_table(checkpoints, &plan.table, &state).await?;
    }
    // An earlier attempt copied rows of an earlier snapshot.
    let repair = Repair::UpTo(state.newest());
    let repaired = match (resumed, was_complete, earlier.to) {
        (true, true, _) => compare(transfer, Range::default(), Pair { from: source, to: writer }, repair, progress)
            .await?
            .changes
            .rows(),
        (true, false, Some(_)) => {
            compare(transfer, earlier, Pair { from: source, to: writer }, repair, progress).await?.changes.rows()
        }
        _ => 0,
    };
    Ok((state.copied_rows, repaired))
}

async fn domains(destination: &Destination, domains: &[DomainName]) -> Result<(), LegacyError> {
    let tenant_id = &destination.tenant.tenant_id;
    for domain in domains.iter().filter(|domain| !destination.tenant.domains.contains(domain)) {
        let register = Command::RegisterDomain { domain: domain.clone() };
        match destination.store.execute(tenant_id, ACTOR, register).await {
            // An earlier attempt has registered it.
            Ok(_) | Err(CommandError::Rejected(Rejection::DomainPresent)) => {}
            Err(CommandError::DomainTaken(domain)) => {
                return Err(LegacyError::Refused(format!(
                    "the domain {domain} belongs to another tenant, or did until recently"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
