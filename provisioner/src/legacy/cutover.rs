//! `cutover`: all steps of the change as one command: plan, backup, import, sync, a last pass with the source locked,
//! verify, switch, health.
//!
//! Until the switch the old system is the one in use, whatever fails. From the last pass until the switch the default
//! tenant is in maintenance and its accounts are locked, so that no node writes to it, and the command checks that its
//! locks are alive before it switches. The command locks the source from the last pass until the switch is recorded, so
//! no client writes between them. Clients that waited for the lock write when it ends, and those rows are in the old
//! database only. The command therefore compares the source once more and names such tables. Stop the old application
//! before the last pass.
//!
//! The switch is recorded before anything is opened. A command that is killed before that leaves the old system in use
//! and the default tenant shut, and the next command opens the tenant ([`super::shut`]). If it is killed after that,
//! the new system is the one in use, and the next command finishes the switch.

use super::checks::NAMED;
use super::destination::Destination;
use super::direction::Direction;
use super::import::{self, ImportRequest};
use super::mapping::TargetDatabase;
use super::parallel::ConnectionSet;
use super::source::{Snapshot, Source};
use super::state::{self, Stage};
use super::sync::{Others, SyncRequest};
use super::table_plan::TablePlans;
use super::verify::{self, Report};
use super::{LegacyError, next_keys, plan, shut, source_dump, switch, sync};
use crate::tables::Doing;
use kernel::process::failpoint;
use kernel::store::Nodes;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Most passes before the last one.
const PASSES: u32 = 3;

/// What the command did.
#[derive(Debug, Default, Serialize)]
pub struct CutOver {
    /// The steps that were done, in order.
    pub steps: Vec<Step>,
    /// What was found wrong, and what to do about it.
    pub wrong: Option<String>,
    /// The comparison of both sides while the source was locked.
    pub verification: Option<Report>,
    /// Whether the new system is the one in use.
    pub switched: bool,
}

#[derive(Debug, Serialize)]
pub struct Step {
    pub name: &'static str,
    pub result: String,
    pub seconds: f64,
}

impl CutOver {
    pub fn is_well(&self) -> bool {
        self.switched && self.wrong.is_none()
    }

    fn done(&mut self, name: &'static str, began: Instant, result: impl fmt::Display) {
        let step = Step { name, result: result.to_string(), seconds: began.elapsed().as_secs_f64() };
        eprintln!("{}: {} ({:.1} s)", step.name, step.result.lines().last().unwrap_or_default(), step.seconds);
        self.steps.push(step);
    }
}

/// What to do while the old system is in use.
const BEFORE: &str = "The old system is still the one in use, and nothing in it was changed: keep using it. Run \
                      the same command again when the reason is gone. What was moved so far stays moved.";
/// What to do after the switch.
const AFTER: &str = "The new system is the one in use. `provisioner legacy rollback --dry-run` shows what would go \
                     back into the old database, and `provisioner legacy rollback` takes it back.";

/// Runs all steps; says what to do if one fails.
pub async fn run(
    source: &Source,
    destination: &Destination,
    request: &ImportRequest,
    backup: Option<&Path>,
) -> Result<CutOver, LegacyError> {
    let mut done = CutOver::default();
    let ended = steps(source, destination, request, backup, &mut done).await;
    if ended.is_err() || !done.is_well() {
        eprintln!("{}", if done.switched { AFTER } else { BEFORE });
    }
    ended.map(|()| done)
}

async fn steps(
    source: &Source,
    destination: &Destination,
    request: &ImportRequest,
    backup: Option<&Path>,
    done: &mut CutOver,
) -> Result<(), LegacyError> {
    let mut system = destination.connect(TargetDatabase::System).await?;
    if let Some(before) = state::read(&mut system).await?
        && matches!(before.stage, Stage::CutOver | Stage::RollingBack)
    {
        return Err(LegacyError::Refused("the cut-over is done already".into()));
    }
    let began = Instant::now();
    let plan = plan::make(source, request.unmapped, NAMED).await?;
    if !plan.refusals.is_empty() {
        return Err(LegacyError::Refused(plan.refusals.join("\n")));
    }
    done.done(
        "plan",
        began,
        format!("{} rows in {} tables, {} oddities", plan.rows, plan.tables.len(), plan.problems.len()),
    );
    let began = Instant::now();
    match backup {
        Some(dir) => done.done("backup", began, source_dump::make(source, dir, &plan.problems).await?.display()),
        None => done.done("backup", began, "skipped, as asked for"),
    }
    let began = Instant::now();
    let imported = import::run(source, destination, request).await?;
    done.done("import", began, imported);

    let (import, plans) = import::started(source, destination).await?;
    let began = Instant::now();
    let passes = SyncRequest { r#final: false, passes: PASSES, others: Others::Leave, jobs: request.jobs };
    let synced = sync::run(source, destination, &import, &plans, passes).await?;
    done.done("sync", began, synced);

    let mut shut = shut::shut(destination, shut::For::LastPass).await?;
    let last = last_pass(source, destination, request, &plans, &mut shut, done).await;
    // From the switch on the tenant is open, or the next command finishes what failed.
    let reopened = if done.switched { Ok(()) } else { shut.reopen().await };
    last?;
    reopened?;
    if !done.switched {
        return Ok(());
    }
    let began = Instant::now();
    let health = health(destination).await?;
    done.done("health", began, health);
    let began = Instant::now();
    // Clients that waited for the lock have written by now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut sets = ConnectionSet::all(destination, source.connect_all(request.jobs).await?).await?;
    let late = switch::changed_since_cut_over(destination, &plans, &mut sets).await?;
    if late.is_empty() {
        done.done("late writes", began, "none: the old database is as it was at the switch");
    } else {
        done.wrong = Some(format!(
            "the old application wrote after the switch, in {}: stop it; `provisioner legacy verify` names the rows, \
             which are in the old database only",
            late.join(", ")
        ));
    }
    Ok(())
}

/// The last pass, the comparison and the switch: while the source is locked, and no node can write to the new system.
async fn last_pass(
    source: &Source,
    destination: &Destination,
    request: &ImportRequest,
    plans: &TablePlans,
    shut: &mut shut::Shut<'_>,
    done: &mut CutOver,
) -> Result<(), LegacyError> {
    sync::refuse_foreign_rows(destination, plans).await?;
    let mut snapshot = Snapshot::take_and_hold(source, &plans.names(), request.jobs).await?;
    let began = Instant::now();
    let mut sets = ConnectionSet::all(destination, std::mem::take(&mut snapshot.readers)).await?;
    let pass = sync::pass(destination, plans, &mut sets, true, Others::Leave).await?;
    next_keys::copy(source, destination, plans).await?;
    done.done("last pass, the source locked", began, format!("{} rows", pass.rows));

    let began = Instant::now();
    let report = verify::compare_all(destination, plans, &mut sets, snapshot.how, Direction::Forward).await?;
    drop(sets);
    if !report.equal {
        snapshot.release().await;
        done.wrong = Some(report.to_string());
        done.verification = Some(report);
        return Ok(());
    }
    done.done("verify, the source locked", began, "source and destination are equal");

    let began = Instant::now();
    failpoint::hit("legacy.before_switch").await;
    // A lost lock means that the comparison is no longer true.
    snapshot.verify_held().await?;
    destination.verify_alone().await?;
    shut.verify_held().await?;
    record_switch(destination, plans, &report).await?;
    done.verification = Some(report);
    done.switched = true;
    failpoint::hit("legacy.switch_recorded").await;
    switch::set_multi_tenant(destination, true).await?;
    shut.serve().await?;
    done.done("switch", began, "the new system is the one in use");
    snapshot.release().await;
    Ok(())
}

/// Records what the source holds, and then that the new system is in use. From then on `sync` refuses, and a command
/// after a killed one finishes the switch.
async fn record_switch(destination: &Destination, plans: &TablePlans, report: &Report) -> Result<(), LegacyError> {
    let mut system = destination.connect(TargetDatabase::System).await?;
    for table in report.tables.iter().filter(|table| plans.tables.iter().any(|planned| planned.table == table.table)) {
        state::store_cut_over(&mut system, &table.table, table.source_rows, &table.source_checksum)
            .await
            .doing(|| "recording the cut-over".into())?;
    }
    state::enter(&mut system, Stage::CutOver).await?;
    Ok(())
}

/// Checks that both databases answer, and says how many nodes know of the switch.
async fn health(destination: &Destination) -> Result<String, LegacyError> {
    let head = destination.store.heads().await?.events;
    let tenant = destination.store.tenant(&destination.tenant.tenant_id).await?;
    let state = tenant.map_or_else(|| "gone".to_owned(), |tenant| tenant.state.to_string());
    let mut database = destination.connect(TargetDatabase::Tenant).await?;
    let rows: u64 =
        sqlx::query_scalar("SELECT CAST(COUNT(*) AS UNSIGNED) FROM tenant_config").fetch_one(&mut database).await?;
    let nodes = destination.store.nodes(head).await?;
    if rows == 0 || state != "active" {
        return Err(LegacyError::Stopped(format!("the default tenant is {state}, its configuration has {rows} rows")));
    }
    let Nodes { all, behind } = nodes;
    Ok(format!("the default tenant is {state}; {} of {all} data nodes know of the switch", all - behind))
}

impl fmt::Display for CutOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let mut lines = step.result.lines();
            writeln!(f, "{:<30} {:>8.1} s  {}", step.name, step.seconds, lines.next_back().unwrap_or_default())?;
        }
        match (&self.wrong, self.switched) {
            (Some(wrong), _) => write!(f, "{wrong}"),
            (None, true) => write!(
                f,
                "the new system is the one in use: send users there. Until the old database is given up, \
                 `provisioner legacy rollback` goes back"
            ),
            (None, false) => write!(f, "not switched"),
        }
    }
}
