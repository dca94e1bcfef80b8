//! Schedules: work that begins at a time.
//!
//! **Guarantees.** Expressions are cron in UTC and parsed at start; a wrong one stops the process and is named. The
//! database's clock decides which slots have come. A slot has one run at most, because its row is unique. One process
//! at a time leads, under a lease with an epoch, and every transaction of a run locks that lease: a leader that was
//! stopped and wakes up commits nothing. The next leader takes up a run that was left unfinished, so every work here
//! reads from the database what is left to do, and requests slow work by the ordinary commands.
//!
//! **Missed slots.** After a time without a leader, the newest missed slot of each schedule gets its run, once, and
//! older ones get none: every work here does all that is due, however long it has been due.
//!
//! A new schedule is an entry in [`SCHEDULES`] and a setting in `deploy/defaults.env`.

mod access_log;
mod audit;
mod backups;
mod domains;
mod expression;
mod history;
mod leader;
mod perform;
mod report;
mod rotation;
mod runs;
mod schema;
mod settings;
mod statistics;
mod tenants;

pub use expression::Expression;
pub use leader::lead;
pub use report::{Due, Report, report};
pub use runs::{RequestRun, Run, find as find_run, register};
pub use settings::ScheduleSettings;

use crate::app::App;
use futures::future::BoxFuture;
use kernel::lease::{LeaseError, RoleLease};
use std::sync::Arc;

/// What the works of the schedules use.
#[derive(Clone)]
pub struct Clock {
    pub app: App,
    pub settings: Arc<ScheduleSettings>,
}

pub struct Schedule {
    /// Its name in the API, in rows, and as actor (`schedule:<name>`).
    pub name: &'static str,
    /// The setting that holds its expression.
    setting: &'static str,
    /// What it does, for operators.
    pub about: &'static str,
    /// Does it, and returns how many things it requested or removed. It may be repeated at any moment.
    work: for<'a> fn(&'a Clock, &'a RoleLease, &'a Run) -> BoxFuture<'a, Result<u64, RunError>>,
}

/// All schedules.
pub const SCHEDULES: [Schedule; 10] = [
    Schedule {
        name: "tenant-retention",
        setting: "SCHEDULE_TENANT_RETENTION",
        about: "purge deleted tenants whose retention has passed",
        work: |clock, lease, _| Box::pin(tenants::purge_expired(&clock.app, lease)),
    },
    Schedule {
        name: "history-retention",
        setting: "SCHEDULE_HISTORY_RETENTION",
        about: "remove old idempotency keys, ended operations, ended runs and rows of the access log",
        work: |clock, lease, _| Box::pin(history::remove_old(clock, lease)),
    },
    Schedule {
        name: "access-log-size",
        setting: "SCHEDULE_ACCESS_LOG_SIZE",
        about: "remove the oldest rows of the access log, so that it has at most ACCESS_LOG_MAX_ROWS",
        work: |clock, lease, _| Box::pin(access_log::cut(clock, lease)),
    },
    Schedule {
        name: "credential-rotation",
        setting: "SCHEDULE_CREDENTIAL_ROTATION",
        about: "rotate credentials older than ROTATION_MAX_AGE_DAYS",
        work: |clock, lease, run| Box::pin(rotation::rotate_old(clock, lease, run)),
    },
    Schedule {
        name: "daily-statistics",
        setting: "SCHEDULE_DAILY_STATISTICS",
        about: "have the days that are over counted, and today so far",
        work: |clock, lease, run| Box::pin(statistics::collect(&clock.app, lease, run)),
    },
    Schedule {
        name: "audit",
        setting: "SCHEDULE_AUDIT",
        about: "compare the database servers with the events, and repair what is safe if AUDIT_REPAIR says so",
        work: |clock, lease, _| Box::pin(audit::begin(clock, lease)),
    },
    Schedule {
        name: "schema-migration",
        setting: "SCHEDULE_SCHEMA_MIGRATION",
        about: "have tenants that are behind brought to the schema of this version",
        work: |clock, lease, _| Box::pin(schema::migrate_behind(&clock.app, lease)),
    },
    Schedule {
        name: "backup",
        setting: "SCHEDULE_BACKUP",
        about: "have a backup taken of every tenant and of the system database, and old ones removed",
        work: |clock, lease, run| Box::pin(backups::back_up(clock, lease, run)),
    },
    Schedule {
        name: "restore-test",
        setting: "SCHEDULE_RESTORE_TEST",
        about: "have the backups that waited longest for it loaded and compared, RESTORE_TESTS_AT_ONCE of them",
        work: |clock, lease, run| Box::pin(backups::test(clock, lease, run)),
    },
    Schedule {
        name: "domain-verification",
        setting: "SCHEDULE_DOMAIN_VERIFICATION",
        about: "check the records of domains that wait for their proof, forget requests that have expired",
        work: |clock, lease, _| Box::pin(domains::verify_pending(&clock.app, lease)),
    },
];

/// The schedule of this name.
pub fn find(name: &str) -> Option<&'static Schedule> {
    SCHEDULES.iter().find(|schedule| schedule.name == name)
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another process leads.
    #[error("another process leads the schedules")]
    Lost,
    /// A command was refused that should not have been.
    #[error("a command was refused: {0}")]
    Refused(String),
    /// The system database failed.
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
}

impl From<LeaseError> for RunError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost(_) => Self::Lost,
            LeaseError::Database(error) => Self::Database(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_their_column() {
        let names: std::collections::HashSet<_> = SCHEDULES.iter().map(|schedule| schedule.name).collect();
        assert!(names.len() == SCHEDULES.len() && names.iter().all(|name| name.len() <= 32));
    }
}
