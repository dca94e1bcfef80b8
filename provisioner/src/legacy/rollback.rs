//! `rollback`: takes what the new system wrote back into the old database, so that the old system can be used again.
//!
//! **Guarantees.** Nothing written since the cut-over is lost. The command makes every old table equal to the new one,
//! new, changed and deleted rows alike, and then compares both once more. It writes to the old database only if that
//! holds what the cut-over recorded (rows and checksums), unless `--overwrite` says otherwise. The default tenant is in
//! maintenance and its accounts are locked meanwhile, so that no node writes behind the comparison. Users stand in the
//! system database, which has no account to lock: change no user through the admin API while the command runs.
//!
//! Rows of users who belong to other tenants only stay in the new system. [`super::mapping`] says what goes back
//! instead of a NULL that the old schema does not allow.

use super::LegacyError;
use super::destination::Destination;
use super::direction::{Direction, transfer_of};
use super::error::is_denied;
use super::import;
use super::mapping::TargetDatabase;
use super::parallel::{ConnectionSet, begin_table, in_parallel};
use super::shut::{self, Shut};
use super::source::{How, Source};
use super::state::{self, Import, Stage};
use super::table_plan::TablePlans;
use super::verify::{self, Report};
use super::{switch, written};
use crate::tables::Doing;
use crate::tables::compare::{Changes, Pair, Repair, compare, newest};
use crate::tables::guarded::ReadAt;
use crate::tables::progress::Progress;
use crate::tables::session::begin_copying;
use crate::tables::transfer::Range;
use clap::ValueEnum;
use kernel::database::sql;
use kernel::process::failpoint;
use serde::Serialize;
use sqlx::Executor;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

/// What to roll back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// Data and routing: the old system is the one in use afterwards.
    #[default]
    Whole,
    /// Rows go back. The new system serves requests again once an operator ends the maintenance.
    Data,
    /// Every request goes to the default tenant again, as with a single database. No row is changed.
    Routing,
}

/// The choices of the operator.
#[derive(Clone, Copy, Debug)]
pub struct RollbackRequest {
    /// Compare, and change nothing.
    pub dry_run: bool,
    pub component: Component,
    /// Overwrite what was written to the old database since the cut-over.
    pub overwrite: bool,
    /// How many connections to open to the old database.
    pub jobs: usize,
}

/// What the command did, or would do.
#[derive(Debug, Serialize)]
pub struct RolledBack {
    pub dry_run: bool,
    pub component: Component,
    /// New, changed and deleted rows of each table that has any.
    pub tables: BTreeMap<String, Changes>,
    /// Sum of these rows.
    pub rows: u64,
    /// The comparison of both sides afterwards.
    pub verification: Option<Report>,
    /// Whether every request goes to the default tenant now.
    pub single_database: bool,
}

impl RolledBack {
    /// Whether the comparison afterwards found both sides equal.
    pub fn is_well(&self) -> bool {
        self.verification.as_ref().is_none_or(|report| report.tables.iter().all(|table| table.equal))
    }
}

/// Rolls back, or with `dry_run` only compares.
pub async fn run(
    source: &Source,
    destination: &Destination,
    request: &RollbackRequest,
) -> Result<RolledBack, LegacyError> {
    let mut done = RolledBack {
        dry_run: request.dry_run,
        component: request.component,
        tables: BTreeMap::new(),
        rows: 0,
        verification: None,
        single_database: false,
    };
    if request.component != Component::Routing {
        let (import, plans) = import::started(source, destination).await?;
        let shut = data(source, destination, request, &import, &plans, &mut done).await?;
        let switched = route_to_default(destination, request, &mut done).await;
        // The account opens after the switch only: a node that does not report would otherwise write what stays behind.
        if let Some(mut shut) = shut {
            shut.unlock().await?;
        }
        return switched.map(|()| done);
    }
    route_to_default(destination, request, &mut done).await?;
    Ok(done)
}

/// Sends every request to the default tenant, if that was requested and the old database has everything.
async fn route_to_default(
    destination: &Destination,
    request: &RollbackRequest,
    done: &mut RolledBack,
) -> Result<(), LegacyError> {
    if request.component != Component::Data && !request.dry_run && done.is_well() {
        switch::set_multi_tenant(destination, false).await?;
        done.single_database = true;
    }
    Ok(())
}

/// Takes the rows back. Unless it is a dry run, the tenant stays shut after it has succeeded.
async fn data<'a>(
    source: &Source,
    destination: &'a Destination,
    request: &RollbackRequest,
    import: &Import,
    plans: &TablePlans,
    done: &mut RolledBack,
) -> Result<Option<Shut<'a>>, LegacyError> {
    let mut system = destination.connect(TargetDatabase::System).await?;
    match import.stage {
        Stage::CutOver | Stage::RollingBack | Stage::RolledBack => {}
        Stage::Importing => {
            return Err(LegacyError::Refused("the import is not complete: the old system is in use".into()));
        }
        Stage::Imported if request.dry_run || request.overwrite => {}
        Stage::Imported => {
            return Err(LegacyError::Refused(
                "there was no cut-over: the old system is in use, and what it has written since the import would be \
                 lost (--overwrite accepts that)"
                    .into(),
            ));
        }
    }
    let mut sources = source.connect_all(request.jobs).await?;
    if !request.dry_run {
        for session in &mut sources {
            begin_copying(session).await?;
        }
    }
    let mut sets = ConnectionSet::all(destination, sources).await?;
    if !request.dry_run {
        check_rights(&mut sets, plans).await?;
    }
    // A killed rollback has changed the old database already.
    if import.stage == Stage::CutOver && !request.overwrite {
        refuse_changed_source(destination, plans, &mut sets).await?;
    }
    if !request.dry_run {
        state::enter(&mut system, Stage::RollingBack).await?;
        let mut shut = shut::shut(destination, shut::For::Rollback).await?;
        failpoint::hit("legacy.rollback_shut").await;
        if let Err(error) = take_back(destination, request, plans, &mut sets, Some(&mut shut), done).await {
            shut.unlock_after(&error).await;
            return Err(error);
        }
        return Ok(Some(shut));
    }
    take_back(destination, request, plans, &mut sets, None, done).await?;
    Ok(None)
}

/// Compares all tables, and unless it is a dry run makes the old ones equal.
async fn take_back(
    destination: &Destination,
    request: &RollbackRequest,
    plans: &TablePlans,
    sets: &mut [ConnectionSet],
    shut: Option<&mut Shut<'_>>,
    done: &mut RolledBack,
) -> Result<(), LegacyError> {
    let mut system = destination.connect(TargetDatabase::System).await?;
    let repair = if request.dry_run { Repair::No } else { Repair::Yes };
    let progress = Progress::new("comparing", plans.tables.iter().map(|plan| plan.rows).sum());
    let tables = RefCell::new(BTreeMap::new());
    let states = state::tables(&mut system).await?;
    let tenant_id = destination.tenant.tenant_id.as_str();
    in_parallel(sets, &plans.tables, async |set, plan| {
        let transfer = transfer_of(plan, Direction::Back, tenant_id)?;
        let (from, to) = set.ends(plan, Direction::Back);
        begin_table(to, plan).await?;
        let found = compare(&transfer, Range::default(), Pair { from, to }, repair, &progress).await?;
        progress.table();
        if !request.dry_run {
            // The old database owns these rows from now on, so a later sync must not take them for foreign ones.
            let mut state = states.get(&plan.table).cloned().unwrap_or_default();
            state.raise_newest(newest(&mut set.source, &transfer.to).await?);
            state::store_table(&mut set.checkpoints, &plan.table, &state).await?;
            // What goes back is not always equal to what is here: the old schema allows fewer NULLs.
            let forward = transfer_of(plan, Direction::Forward, tenant_id)?;
            written::record(set, plan, &forward, ReadAt::Far).await?;
        }
        if found.changes.rows() > 0 {
            tables.borrow_mut().insert(plan.table.clone(), found.changes);
        }
        Ok(())
    })
    .await?;
    progress.finish();
    done.tables = tables.into_inner();
    done.rows = done.tables.values().map(Changes::rows).sum();
    if !request.dry_run {
        let report = verify::compare_all(destination, plans, sets, How::OneConnection, Direction::Back).await?;
        done.verification = Some(report);
        if let Some(shut) = shut {
            shut.verify_held().await?;
        }
        if done.is_well() {
            state::enter(&mut system, Stage::RolledBack).await?;
        }
    }
    Ok(())
}

async fn check_rights(sets: &mut [ConnectionSet], plans: &TablePlans) -> Result<(), LegacyError> {
    let Some(set) = sets.first_mut() else { return Ok(()) };
    for table in plans.names() {
        let table = sql::identifier(&table)?;
        // These statements change no row, and the server checks the account's rights first.
        let delete = format!("DELETE FROM {table} WHERE FALSE");
        let insert = format!("INSERT INTO {table} SELECT * FROM {table} WHERE FALSE");
        for statement in [delete, insert] {
            match set.source.execute(statement.as_str()).await {
                Ok(_) => {}
                Err(error) if is_denied(&error) => {
                    return Err(LegacyError::Refused(format!(
                        "the account of LEGACY_DB_URL needs SELECT, INSERT and DELETE on {table} to take rows back"
                    )));
                }
                checked => {
                    checked.doing(|| format!("checking the rights on {table}"))?;
                }
            }
        }
    }
    Ok(())
}

/// Refuses if the old database was written to since the cut-over, because those rows would be lost.
async fn refuse_changed_source(
    destination: &Destination,
    plans: &TablePlans,
    sets: &mut [ConnectionSet],
) -> Result<(), LegacyError> {
    let changed = switch::changed_since_cut_over(destination, plans, sets).await?;
    match changed.as_slice() {
        [] => Ok(()),
        _ => Err(LegacyError::Refused(format!(
            "the old database was written to since the cut-over, in {}: those rows would be lost \
             (--overwrite accepts that)",
            changed.join(", ")
        ))),
    }
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
                "every request goes to the default tenant, which is in maintenance: now start the old application \
                 and send its users there"
            ),
            (_, Component::Data, _) => {
                write!(f, "the default tenant is in maintenance: end it, or start the old application")
            }
            (_, Component::Routing, _) => write!(f, "every request goes to the default tenant now"),
        }
    }
}
