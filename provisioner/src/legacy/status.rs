//! `status`: how far the move has come, and what the operator does next. It reads the system database only, and it may
//! run while another command is at work.

use super::state::{self, Stage};
use super::{LegacyError, system_database};
use kernel::process::config::Settings;
use serde::Serialize;
use std::fmt;

#[derive(Debug, Serialize)]
pub struct Status {
    /// `None` before the first import.
    pub stage: Option<&'static str>,
    /// `host:port/database`.
    pub source: Option<String>,
    /// Whether a command has shut the default tenant for the last pass: it is in maintenance with a locked account.
    pub shut: bool,
    /// Whether a command is at work at this moment.
    pub at_work: bool,
    pub next: &'static str,
}

pub async fn read(settings: &Settings) -> Result<Status, LegacyError> {
    let (_, mut system) = system_database::connect(settings).await?;
    system_database::verify(&mut system).await?;
    let free: Option<i64> =
        sqlx::query_scalar("SELECT IS_FREE_LOCK(CONCAT('legacy:', DATABASE()))").fetch_one(&mut system).await?;
    let import = state::read(&mut system).await?;
    let (stage, shut) = (import.as_ref().map(|import| import.stage), import.as_ref().is_some_and(|i| i.shut.is_some()));
    let at_work = free == Some(0);
    Ok(Status {
        stage: stage.map(Stage::as_str),
        source: import.map(|import| import.source),
        shut,
        at_work,
        next: next(stage, shut, at_work),
    })
}

fn next(stage: Option<Stage>, shut: bool, at_work: bool) -> &'static str {
    match (stage, shut) {
        _ if at_work => "a command is at work: wait for its end",
        (Some(Stage::CutOver), true) => {
            "a command ended in the middle of the switch, and the default tenant is in maintenance with a locked \
             account: run `provisioner legacy cutover` again, which finishes the switch"
        }
        (_, true) => {
            "a command ended during the last pass, and the default tenant is in maintenance with a locked account: run \
             the same command again, which repeats the last pass, or `provisioner legacy sync`, which opens the tenant"
        }
        (None, _) => "nothing is imported: run `provisioner legacy plan` and then `provisioner legacy import`",
        (Some(Stage::Importing), _) => "the import is not complete: run `provisioner legacy import` again",
        (Some(Stage::Imported), _) => {
            "the old system is the one in use: `provisioner legacy sync` brings over what changes, and `provisioner \
             legacy cutover` switches"
        }
        (Some(Stage::CutOver), _) => "the new system is the one in use: `provisioner legacy rollback` goes back",
        (Some(Stage::RollingBack), _) => {
            "a rollback is not complete, and the default tenant is in maintenance: run `provisioner legacy rollback` \
             again"
        }
        (Some(Stage::RolledBack), _) => "the old system is the one in use again",
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(stage), Some(source)) = (self.stage, &self.source) {
            writeln!(f, "the move from {source} is in the stage {stage}")?;
        }
        write!(f, "{}", self.next)
    }
}
