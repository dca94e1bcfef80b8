//! `cutover`: the steps of the change as one command: backup, plan, import, sync, a last pass with the source locked, verify, switch,
//! health.
//!
//! Until the switch the old system is the one in use, whatever fails. The source is locked from the last pass until the switch
//! is recorded, so nothing is written between them. What was waiting for that lock is written when it ends: the command looks
//! once more and says so, because those rows are in the old database only. Stop the old application before the last step.

use super::checks::NAMED;
use super::destination::Destination;
use super::direction::Direction;
use super::import::{self, Wishes};
use super::mapping::Place;
use super::members::ACTOR;
use super::rollback::{changed_since_cut_over, set_multi_tenant};
use super::routes::Routing;
use super::source::{Snapshot, Source};
use super::state::{self, Stage};
use super::verify::{self, Report};
use super::work::Worker;
use super::{LegacyError, backup, plan, sync};
use crate::tables::Doing;
use kernel::domain::{Command, Rejection};
use kernel::store::CommandError;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Passes before the last one, at most.
const PASSES: u32 = 3;

/// What the command did.
#[derive(Debug, Default, Serialize)]
pub struct CutOver {
    /// Steps that were done, in order.
    pub steps: Vec<Step>,
    /// What was found wrong, and the way on.
    pub wrong: Option<String>,
    /// Both sides compared while the source was locked.
    pub verification: Option<Report>,
    /// Whether the new system is the one in use.
    pub switched: bool,
}

/// A step that was done.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Which.
    pub name: &'static str,
    /// What came of it.
    pub result: String,
    /// Seconds it took.
    pub seconds: f64,
}

impl CutOver {
    /// Whether everything went well.
    pub fn is_well(&self) -> bool {
        self.switched && self.wrong.is_none()
    }

    fn done(&mut self, name: &'static str, began: Instant, result: impl fmt::Display) {
        let step = Step { name, result: result.to_string(), seconds: began.elapsed().as_secs_f64() };
        eprintln!("{}: {} ({:.1} s)", step.name, step.result.lines().last().unwrap_or_default(), step.seconds);
        self.steps.push(step);
    }
}

/// Way back while the old system is in use.
const BEFORE: &str = "The old system is still the one in use, and nothing in it was changed: let it go on. Run the same command again \
                      when the reason is gone; what was moved so far is kept.";
/// Way back afterwards.
const AFTER: &str = "The new system is the one in use. The way back: `provisioner legacy rollback --dry-run` shows what would go back into \
                     the old database, `provisioner legacy rollback` does it.";

/// Runs it.
pub async fn run(
    source: &Source,
    destination: &Destination,
    wishes: &Wishes,
    backup: Option<&Path>,
) -> Result<CutOver, LegacyError> {
    let mut done = CutOver::default();
    let ended = steps(source, destination, wishes, backup, &mut done).await;
    if ended.is_err() || !done.is_well() {
        eprintln!("{}", if done.switched { AFTER } else { BEFORE });
    }
    ended.map(|()| done)
}

async fn steps(
    source: &Source,
    destination: &Destination,
    wishes: &Wishes,
    backup: Option<&Path>,
    done: &mut CutOver,
) -> Result<(), LegacyError> {
    let mut system = destination.connect(Place::System).await?;
    if let Some(before) = state::read(&mut system).await?
        && matches!(before.stage, Stage::CutOver | Stage::RollingBack)
    {
        return Err(LegacyError::Refused("the cut-over is done already".into()));
    }
    let began = Instant::now();
    let plan = plan::make(source, wishes.unmapped, NAMED).await?;
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
        Some(dir) => done.done("backup", began, backup::make(source, dir, &plan.problems).await?.display()),
        None => done.done("backup", began, "skipped, as asked for"),
    }
    let began = Instant::now();
    let imported = import::run(source, destination, wishes).await?;
    done.done("import", began, imported);

    let (import, routing) = super::begun(source, destination).await?;
    let began = Instant::now();
    let synced = sync::run(source, destination, &import, &routing, false, PASSES, wishes.jobs).await?;
    done.done("sync", began, synced);

    let mut snapshot = Snapshot::take_and_hold(source, &routing.tables(), wishes.jobs).await?;
    let began = Instant::now();
    let mut workers = Worker::all(destination, std::mem::take(&mut snapshot.readers)).await?;
    let pass = sync::pass(destination, &routing, &mut workers, true).await?;
    import::next_keys(source, destination, &routing).await?;
    done.done("last pass, the source locked", began, format!("{} rows", pass.rows));

    let began = Instant::now();
    let report = verify::look(destination, &routing, &mut workers, snapshot.how, Direction::Forward).await?;
    drop(workers);
    if !report.equal {
        snapshot.release().await;
        done.wrong = Some(report.to_string());
        done.verification = Some(report);
        return Ok(());
    }
    done.done("verify, the source locked", began, "source and destination are equal");

    let began = Instant::now();
    switch(destination, &routing, &report).await?;
    done.verification = Some(report);
    done.switched = true;
    done.done("switch", began, "the new system is the one in use");
    snapshot.release().await;

    let began = Instant::now();
    let health = health(destination).await?;
    done.done("health", began, health);
    let began = Instant::now();
    // What was waiting for the lock has been written by now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut sources = Vec::with_capacity(wishes.jobs);
    for _ in 0..wishes.jobs {
        sources.push(source.connect().await?);
    }
    let mut workers = Worker::all(destination, sources).await?;
    let late = changed_since_cut_over(destination, &routing, &mut workers).await?;
    if late.is_empty() {
        done.done("late writes", began, "none: the old database is as it was at the switch");
    } else {
        done.wrong = Some(format!(
            "the old application wrote after the switch, in {}: stop it; `provisioner legacy verify` names the rows, which are \
             in the old database only",
            late.join(", ")
        ));
    }
    Ok(())
}

/// Records what the source is, then that the new system is in use: from there on `sync` refuses.
async fn switch(destination: &Destination, routing: &Routing, report: &Report) -> Result<(), LegacyError> {
    let mut system = destination.connect(Place::System).await?;
    for table in report.tables.iter().filter(|table| routing.routes.iter().any(|route| route.table == table.table)) {
        state::keep_cut_over(&mut system, &table.table, table.source_rows, &table.source_checksum)
            .await
            .doing(|| "recording the cut-over".into())?;
    }
    set_multi_tenant(destination, true).await?;
    match destination
        .store
        .execute(&destination.tenant.tenant_id, ACTOR, Command::SetMaintenance { enabled: false })
        .await
    {
        // It was not in maintenance.
        Ok(_) | Err(CommandError::Rejected(Rejection::State(_))) => {}
        Err(error) => return Err(error.into()),
    }
    state::enter(&mut system, Stage::CutOver).await?;
    Ok(())
}

/// Both databases answer, and what is known of the nodes that serve them.
async fn health(destination: &Destination) -> Result<String, LegacyError> {
    let head = destination.store.heads().await?.events;
    let tenant = destination.store.tenant(&destination.tenant.tenant_id).await?;
    let state = tenant.map_or_else(|| "gone".to_owned(), |tenant| tenant.state.to_string());
    let mut database = destination.connect(Place::Tenant).await?;
    let rows: u64 =
        sqlx::query_scalar("SELECT CAST(COUNT(*) AS UNSIGNED) FROM tenant_config").fetch_one(&mut database).await?;
    let (nodes, current): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(position >= ?), 0) AS SIGNED) FROM saas_nodes
         WHERE seen_at > UTC_TIMESTAMP(6) - INTERVAL 10 SECOND",
    )
    .bind(head.0)
    .fetch_one(destination.store.pool())
    .await?;
    if rows == 0 || state != "active" {
        return Err(LegacyError::Stopped(format!("the default tenant is {state}, its configuration has {rows} rows")));
    }
    Ok(format!("the default tenant is {state}; {current} of {nodes} data nodes have heard of it"))
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
                "the new system is the one in use: send users there. The way back: `provisioner legacy rollback`, until the old \
                 database is given up"
            ),
            (None, false) => write!(f, "not switched"),
        }
    }
}
