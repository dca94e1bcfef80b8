//! `import`: everything once, from one moment of the source.
//!
//! **Guarantees.** Each attempt reads one snapshot. Rows are copied in the order of their key and what is durable is recorded, so
//! an attempt that was killed costs at most a chunk of eight megabytes for each table in work. Beyond the recorded key there may
//! be rows of a chunk that was not recorded any more: they are removed before the table goes on. **The next attempt has
//! another snapshot**: rows that an earlier one copied may have changed in the source since. So every table with rows of an
//! earlier attempt is compared with the present snapshot, range by range, and made equal. When `import` ends, all tables
//! are as the source was at one moment, however often it was killed; what changed after that moment is the work of `sync`.
//!
//! An import that is complete is not repeated: the command says so and changes nothing.

use super::destination::Destination;
use super::direction::{Direction, transfer_of};
use super::mapping::Place;
use super::members::{self, ACTOR, AdminsBecome, Members};
use super::routes::{Route, Routing, Unmapped, resolve};
use super::source::{How, Snapshot, Source};
use super::state::{self, Import, Stage, TableState};
use super::work::{Worker, begin_table, in_parallel};
use super::{LegacyError, checks};
use crate::tables::Doing;
use crate::tables::compare::{Pair, compare, newest, rewrite};
use crate::tables::copy::{Commit, copy};
use crate::tables::progress::Progress;
use crate::tables::transfer::{Range, TableTransfer};
use kernel::database::sql;
use kernel::domain::{Command, DomainName, Rejection};
use kernel::store::CommandError;
use serde::Serialize;
use sqlx::Executor;
use std::fmt;

/// What an import is asked for.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// See [`Unmapped`].
    pub unmapped: Unmapped,
    /// See [`AdminsBecome`].
    pub admins: AdminsBecome,
    /// Domains of the old installation.
    pub domains: Vec<DomainName>,
    /// Connections to the source.
    pub jobs: usize,
}

/// What an import did.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// It was complete before, and nothing was done.
    pub already_imported: bool,
    /// Where from.
    pub source: String,
    /// Which schema that has.
    pub generation: &'static str,
    /// Attempts it took, this one included.
    pub attempts: u32,
    /// How the snapshot was taken.
    pub snapshot: Option<How>,
    /// Tables brought over.
    pub tables: usize,
    /// Tables and views left, and why.
    pub left: Vec<(String, String)>,
    /// Rows copied by this attempt.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Rows of earlier attempts that had to be made equal.
    pub repaired: u64,
    /// Memberships recorded.
    pub members: Members,
    /// Seconds this attempt took.
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
                "attempt {attempts}; {repaired} rows of earlier ones had changed in the source and were brought up to date"
            )?;
        }
        write!(f, "{} members joined, {} left", self.members.joined, self.members.left)
    }
}

/// Runs it.
pub async fn run(source: &Source, destination: &Destination, wishes: &Wishes) -> Result<Imported, LegacyError> {
    let mut system = destination.connect(Place::System).await?;
    let before = state::read(&mut system).await?;
    let routing = routing(source, destination, wishes.unmapped, before.as_ref()).await?;
    let mut done = Imported {
        already_imported: true,
        source: source.name.clone(),
        generation: routing.generation.as_str(),
        attempts: before.as_ref().map_or(0, |import| import.run),
        snapshot: None,
        tables: routing.routes.len(),
        left: routing.left.clone(),
        rows: 0,
        bytes: 0,
        repaired: 0,
        members: Members::default(),
        seconds: 0.0,
    };
    match before.map(|import| import.stage) {
        None => destination.check_empty(&routing.routes, &destination.tables(Place::Tenant).await?).await?,
        Some(Stage::Importing) => {}
        Some(_) => return Ok(done),
    }
    domains(destination, &wishes.domains).await?;
    let run = state::begin(&mut system, &source.name, routing.generation, wishes.unmapped).await?;
    let ended = attempt(source, destination, wishes, &routing, run, &mut done).await;
    // From here on something may have been written.
    ended.map_err(|error| match error {
        LegacyError::Refused(why) => LegacyError::Stopped(why),
        other => other,
    })?;
    Ok(done)
}

/// The ways of all tables, or why there are none. Changes nothing.
pub async fn routing(
    source: &Source,
    destination: &Destination,
    unmapped: Unmapped,
    before: Option<&Import>,
) -> Result<Routing, LegacyError> {
    if let Some(before) = before {
        if before.source != source.name {
            return Err(LegacyError::Refused(format!(
                "this installation is moved from {}, and the source is now {}",
                before.source, source.name
            )));
        }
        if before.unmapped != unmapped {
            let chosen = before.unmapped.as_str();
            return Err(LegacyError::Refused(format!("the import was begun with --unmapped {chosen}: go on with it")));
        }
    }
    let mut connection = source.connect().await?;
    let tables = source.tables(&mut connection).await?;
    let (system, tenant) = (destination.tables(Place::System).await?, destination.tables(Place::Tenant).await?);
    let mut routing = resolve(&tables, &system, &tenant, unmapped).map_err(LegacyError::Refused)?;
    routing.refusals.extend(checks::refusals(&mut connection, &routing.routes, &routing.nulls).await?);
    match routing.refusals.as_slice() {
        [] => Ok(routing),
        refusals => Err(LegacyError::Refused(refusals.join("\n"))),
    }
}

async fn attempt(
    source: &Source,
    destination: &Destination,
    wishes: &Wishes,
    routing: &Routing,
    run: u32,
    done: &mut Imported,
) -> Result<(), LegacyError> {
    let mut system = destination.connect(Place::System).await?;
    destination.change(source, &routing.changes).await?;
    let states = state::tables(&mut system).await?;
    let progress = Progress::new("importing", routing.routes.iter().map(|route| route.rows).sum());
    let began = state::now(&mut system).await?;
    let snapshot = Snapshot::take(source, &routing.tables(), wishes.jobs).await?;
    if snapshot.how == How::OneConnection {
        eprintln!("the source's tables cannot be locked for a moment (LOCK TABLES): it is read over one connection");
    }
    (done.already_imported, done.attempts, done.snapshot) = (false, run, Some(snapshot.how));
    let mut workers = Worker::all(destination, snapshot.readers).await?;
    let (copied, repaired) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let tenant_id = destination.tenant.tenant_id.as_str();
    in_parallel(&mut workers, &routing.routes, async |worker, route| {
        let transfer = transfer_of(route, Direction::Forward, tenant_id)?;
        let state = states.get(&route.table).cloned().unwrap_or_default();
        let before = state.copied_rows;
        let (rows, otherwise) = table(worker, route, &transfer, state, run, &progress).await?;
        copied.set(copied.get() + rows - before);
        repaired.set(repaired.get() + otherwise);
        progress.table();
        Ok(())
    })
    .await?;
    progress.finish();
    (done.rows, done.bytes, done.repaired) = (copied.get(), progress.bytes(), repaired.get());
    next_keys(source, destination, routing).await?;
    let recording = Progress::new("recording members", 0);
    done.members = members::complete(destination, wishes.admins, &recording).await?;
    recording.finish();
    state::synced(&mut system, &began).await?;
    state::enter(&mut system, Stage::Imported).await?;
    done.seconds = progress.seconds();
    Ok(())
}

/// Brings one table over; returns how many of its rows were copied, by all attempts, and how many rows of earlier attempts were
/// not as the snapshot has them.
async fn table(
    worker: &mut Worker,
    route: &Route,
    transfer: &TableTransfer,
    mut state: TableState,
    run: u32,
    progress: &Progress,
) -> Result<(u64, u64), LegacyError> {
    let Worker { source, system, tenant, checkpoints } = worker;
    let writer = match route.place {
        Place::System => system,
        Place::Tenant => tenant,
    };
    begin_table(writer, route).await?;
    let resumed = state.first_run != 0;
    let earlier = Range { after: None, to: state.last_key.as_deref().and_then(|key| key.parse().ok()) };
    let was_complete = state.complete;
    state.first_run = if resumed { state.first_run } else { run };
    state.last_run = run;
    state.raise_newest(newest(source, &transfer.from).await?);
    state::keep_table(checkpoints, &route.table, &state).await?;
    if route.key.is_none() {
        let rows = rewrite(transfer, Pair { from: source, to: writer }, progress).await?;
        state.complete = true;
        state.copied_rows += rows;
        state::keep_table(checkpoints, &route.table, &state).await?;
        return Ok((state.copied_rows, 0));
    }
    if !was_complete {
        let rest = Range { after: earlier.to, to: None };
        if resumed {
            let delete = format!("DELETE FROM {} WHERE {}", transfer.to.table, transfer.to.within(&rest));
            writer
                .execute(sqlx::raw_sql(&delete))
                .await
                .doing(|| format!("removing what was not recorded of {}", transfer.name))?;
        }
        copy(transfer, rest, source, writer, Commit::Chunks, progress, async |last, rows| {
            state.last_key = last.map(|key| key.to_string()).or(state.last_key.take());
            state.copied_rows += rows;
            Ok(state::keep_table(checkpoints, &route.table, &state).await?)
        })
        .await?;
        state.complete = true;
        state::keep_table(checkpoints, &route.table, &state).await?;
    }
    // Rows that an earlier attempt copied are as an earlier snapshot had them.
    let repaired = match (resumed, was_complete, earlier.to) {
        (true, true, _) => {
            compare(transfer, Range::default(), Pair { from: source, to: writer }, true, progress).await?.changes.rows()
        }
        (true, false, Some(_)) => {
            compare(transfer, earlier, Pair { from: source, to: writer }, true, progress).await?.changes.rows()
        }
        _ => 0,
    };
    Ok((state.copied_rows, repaired))
}

/// Ids that the source would give next are given next in the tenant's database too: an id of a row that was removed is not
/// given again. (The accounts of the system database may not do that; there the next id follows the highest.)
pub async fn next_keys(source: &Source, destination: &Destination, routing: &Routing) -> Result<(), LegacyError> {
    let rows: Vec<(String, u64)> = sqlx::query_as(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4), CAST(AUTO_INCREMENT AS UNSIGNED) FROM information_schema.TABLES
         WHERE TABLE_SCHEMA = ? AND AUTO_INCREMENT > 1",
    )
    .bind(&source.database)
    .fetch_all(&mut source.connect().await?)
    .await?;
    let mut tenant = destination.connect(Place::Tenant).await?;
    for (table, next) in rows {
        // Beyond the last id there is no next one.
        let possible = i64::try_from(next).is_ok();
        if possible && routing.routes.iter().any(|route| route.table == table && route.place == Place::Tenant) {
            // Lower than the highest id there is, it changes nothing.
            let alter = format!("ALTER TABLE {} AUTO_INCREMENT = {next}", sql::identifier(&table)?);
            tenant.execute(alter.as_str()).await.doing(|| format!("setting the next id of {table}"))?;
        }
    }
    Ok(())
}

async fn domains(destination: &Destination, domains: &[DomainName]) -> Result<(), LegacyError> {
    let tenant_id = &destination.tenant.tenant_id;
    for domain in domains.iter().filter(|domain| !destination.tenant.domains.contains(domain)) {
        let register = Command::RegisterDomain { domain: domain.clone() };
        match destination.store.execute(tenant_id, ACTOR, register).await {
            // Registered by an attempt that was killed after it.
            Ok(_) | Err(CommandError::Rejected(Rejection::DomainPresent)) => {}
            Err(CommandError::DomainTaken(domain)) => {
                return Err(LegacyError::Refused(format!(
                    "the domain {domain} belongs to another tenant, or did until lately"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
