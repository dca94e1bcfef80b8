//! `rollback`: takes what the new system wrote back into the old database, so that the old system can go on with it.
//!
//! **Guarantees.** Nothing written since the cut-over is lost: every table is compared from the new side, and the old one is made
//! equal to it, rows that came, changed and went; then both are compared once more. The old database is only written to if
//! it is what it was at the cut-over (its rows and checksums were recorded then), unless `--overwrite` says so. The default
//! tenant is in maintenance meanwhile, so that nothing is written behind the comparison.
//!
//! Rows of users who belong to other tenants only stay in the new system. Where the new schema has NULL and the old one cannot,
//! [`super::mapping`] says what goes back.

use super::LegacyError;
use super::destination::Destination;
use super::direction::{Direction, transfer_of};
use super::error::is_denied;
use super::mapping::Place;
use super::members::ACTOR;
use super::routes::Routing;
use super::source::{How, Source};
use super::state::{self, Import, Stage};
use super::verify::{self, Report};
use super::work::{Worker, begin_table, in_parallel};
use crate::tables::Doing;
use crate::tables::compare::{Changes, Pair, compare, newest, sum};
use crate::tables::progress::Progress;
use crate::tables::transfer::Range;
use clap::ValueEnum;
use kernel::database::sql;
use kernel::domain::{Command, Rejection};
use kernel::store::CommandError;
use serde::Serialize;
use sqlx::Executor;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// What is rolled back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// Data and routing: the old system is the one in use afterwards.
    #[default]
    Whole,
    /// Rows go back; requests are still served by the new system, once maintenance is ended.
    Data,
    /// Every request goes to the default tenant again, as with a single database; no row is touched.
    Routing,
}

/// What a rollback is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// Only look.
    pub dry_run: bool,
    /// See [`Component`].
    pub component: Component,
    /// Also over what was written to the old database since the cut-over.
    pub overwrite: bool,
    /// Connections to the old database.
    pub jobs: usize,
}

/// What a rollback did, or would do.
#[derive(Debug, Serialize)]
pub struct RolledBack {
    /// Nothing was changed.
    pub dry_run: bool,
    /// See [`Component`].
    pub component: Component,
    /// Rows that came, changed and went in the new system, by table; tables without any are left out.
    pub tables: BTreeMap<String, Changes>,
    /// All of them together.
    pub rows: u64,
    /// Both sides compared afterwards.
    pub verification: Option<Report>,
    /// Whether every request goes to the default tenant now.
    pub single_database: bool,
}

impl RolledBack {
    /// Whether what was done was seen to be right.
    pub fn is_well(&self) -> bool {
        self.verification.as_ref().is_none_or(|report| report.tables.iter().all(|table| table.equal))
    }
}

/// Runs it.
pub async fn run(source: &Source, destination: &Destination, wishes: &Wishes) -> Result<RolledBack, LegacyError> {
    let mut done = RolledBack {
        dry_run: wishes.dry_run,
        component: wishes.component,
        tables: BTreeMap::new(),
        rows: 0,
        verification: None,
        single_database: false,
    };
    if wishes.component != Component::Routing {
        let (import, routing) = super::begun(source, destination).await?;
        data(source, destination, wishes, &import, &routing, &mut done).await?;
    }
    if wishes.component != Component::Data && !wishes.dry_run && done.is_well() {
        set_multi_tenant(destination, false).await?;
        done.single_database = true;
    }
    Ok(done)
}

async fn data(
    source: &Source,
    destination: &Destination,
    wishes: &Wishes,
    import: &Import,
    routing: &Routing,
    done: &mut RolledBack,
) -> Result<(), LegacyError> {
    let mut system = destination.connect(Place::System).await?;
    match import.stage {
        Stage::CutOver | Stage::RollingBack | Stage::RolledBack => {}
        Stage::Importing => {
            return Err(LegacyError::Refused("the import is not complete: the old system is in use".into()));
        }
        Stage::Imported if wishes.dry_run || wishes.overwrite => {}
        Stage::Imported => {
            return Err(LegacyError::Refused(
                "there was no cut-over: the old system is in use, and what it wrote since would be lost (--overwrite accepts that)"
                    .into(),
            ));
        }
    }
    let connections = async || {
        let mut sources = Vec::with_capacity(wishes.jobs);
        for _ in 0..wishes.jobs {
            sources.push(source.connect().await?);
        }
        Worker::all(destination, sources).await
    };
    let mut workers = connections().await?;
    if !wishes.dry_run {
        check_rights(&mut workers, routing).await?;
    }
    // After a rollback that was killed, the old database is on its way already.
    if import.stage == Stage::CutOver && !wishes.overwrite {
        refuse_changed_source(destination, routing, &mut workers).await?;
    }
    if !wishes.dry_run {
        state::enter(&mut system, Stage::RollingBack).await?;
        begin_maintenance(destination).await?;
    }
    let progress = Progress::new("comparing", routing.routes.iter().map(|route| route.rows).sum());
    let tables = RefCell::new(BTreeMap::new());
    let states = state::tables(&mut system).await?;
    let tenant_id = destination.tenant.tenant_id.as_str();
    in_parallel(&mut workers, &routing.routes, async |worker, route| {
        let transfer = transfer_of(route, Direction::Back, tenant_id)?;
        let (from, to) = worker.ends(route, Direction::Back);
        begin_table(to, route).await?;
        let found = compare(&transfer, Range::default(), Pair { from, to }, !wishes.dry_run, &progress).await?;
        progress.table();
        if !wishes.dry_run {
            // These rows are the old database's own from now on: a later synchronisation must not take them for foreign.
            let mut state = states.get(&route.table).cloned().unwrap_or_default();
            state.raise_newest(newest(&mut worker.source, &transfer.to).await?);
            state::keep_table(&mut worker.checkpoints, &route.table, &state).await?;
        }
        if found.changes.rows() > 0 {
            tables.borrow_mut().insert(route.table.clone(), found.changes);
        }
        Ok(())
    })
    .await?;
    progress.finish();
    done.tables = tables.into_inner();
    done.rows = done.tables.values().map(Changes::rows).sum();
    if !wishes.dry_run {
        let report = verify::look(destination, routing, &mut workers, How::OneConnection, Direction::Back).await?;
        done.verification = Some(report);
        if done.is_well() {
            state::enter(&mut system, Stage::RolledBack).await?;
        }
    }
    Ok(())
}

async fn check_rights(workers: &mut [Worker], routing: &Routing) -> Result<(), LegacyError> {
    let Some(worker) = workers.first_mut() else { return Ok(()) };
    for table in routing.tables() {
        let table = sql::identifier(&table)?;
        // They touch no row, and the server looks at the account's rights first.
        let delete = format!("DELETE FROM {table} WHERE FALSE");
        let insert = format!("INSERT INTO {table} SELECT * FROM {table} WHERE FALSE");
        for statement in [delete, insert] {
            match worker.source.execute(statement.as_str()).await {
                Ok(_) => {}
                Err(error) if is_denied(&error) => {
                    return Err(LegacyError::Refused(format!(
                        "the account of LEGACY_DB_URL needs SELECT, INSERT and DELETE on {table} to take rows back"
                    )));
                }
                checked => drop(checked.doing(|| format!("checking the rights on {table}"))?),
            }
        }
    }
    Ok(())
}

/// What was written to the old database since the cut-over would be lost.
async fn refuse_changed_source(
    destination: &Destination,
    routing: &Routing,
    workers: &mut [Worker],
) -> Result<(), LegacyError> {
    let changed = changed_since_cut_over(destination, routing, workers).await?;
    match changed.as_slice() {
        [] => Ok(()),
        _ => Err(LegacyError::Refused(format!(
            "the old database was written to since the cut-over, in {}: those rows would be lost (--overwrite accepts that)",
            changed.join(", ")
        ))),
    }
}

/// Tables of the old database that are not what was recorded at the cut-over.
pub async fn changed_since_cut_over(
    destination: &Destination,
    routing: &Routing,
    workers: &mut [Worker],
) -> Result<Vec<String>, LegacyError> {
    let states = state::tables(&mut destination.connect(Place::System).await?).await?;
    let changed = RefCell::new(Vec::new());
    let tenant_id = destination.tenant.tenant_id.as_str();
    in_parallel(workers, &routing.routes, async |worker, route| {
        let transfer = transfer_of(route, Direction::Forward, tenant_id)?;
        let now = sum(&mut worker.source, &transfer.from, &Range::default(), &route.table).await?;
        let then = states.get(&route.table).and_then(|state| state.cut_over.clone());
        if then != Some((now.rows, format!("{:x}", now.checksum))) {
            changed.borrow_mut().push(route.table.clone());
        }
        Ok(())
    })
    .await?;
    Ok(changed.into_inner())
}

/// Nodes that report must have heard of it before rows are compared.
async fn begin_maintenance(destination: &Destination) -> Result<(), LegacyError> {
    const PATIENCE: Duration = Duration::from_secs(15);
    let begin = Command::SetMaintenance { enabled: true };
    let position = match destination.store.execute(&destination.tenant.tenant_id, ACTOR, begin).await {
        Ok(tenant) => tenant.position,
        // It is in maintenance already.
        Err(CommandError::Rejected(Rejection::State(_))) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let began = Instant::now();
    loop {
        let behind: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM saas_nodes WHERE seen_at > UTC_TIMESTAMP(6) - INTERVAL 10 SECOND AND position < ?",
        )
        .bind(position.0)
        .fetch_one(destination.store.pool())
        .await?;
        if behind == 0 {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(LegacyError::Stopped(format!(
                "{behind} data nodes have not heard of the maintenance within 15 s"
            )));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Switches between many tenants and one.
pub async fn set_multi_tenant(destination: &Destination, enabled: bool) -> Result<(), LegacyError> {
    Ok(kernel::store::installation::set_multi_tenant(destination.store.pool(), enabled).await?)
}

impl fmt::Display for RolledBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let would = if self.dry_run { "would go" } else { "went" };
        for (table, Changes { missing, changed, extra, keys, .. }) in &self.tables {
            writeln!(f, "{table}: {missing} new, {changed} changed, {extra} removed (id {})", keys.join(", "))?;
        }
        if self.component != Component::Routing {
            writeln!(f, "{} rows {would} back into the old database", self.rows)?;
        }
        if let Some(report) = &self.verification {
            for table in report.tables.iter().filter(|table| !table.equal) {
                writeln!(f, "{} is NOT EQUAL (id {})", table.table, table.keys.join(", "))?;
            }
            let equal = if self.is_well() { "equal" } else { "NOT EQUAL" };
            writeln!(f, "compared afterwards: both sides are {equal}")?;
        }
        match (self.dry_run, self.component, self.is_well()) {
            (true, ..) => write!(f, "nothing was changed"),
            (_, _, false) => write!(f, "run the command again; the default tenant stays in maintenance"),
            (_, Component::Whole, _) => write!(
                f,
                "every request goes to the default tenant, which is in maintenance: now start the old application and send its \
                 users there"
            ),
            (_, Component::Data, _) => {
                write!(f, "the default tenant is in maintenance: end it, or start the old application")
            }
            (_, Component::Routing, _) => write!(f, "every request goes to the default tenant now"),
        }
    }
}
