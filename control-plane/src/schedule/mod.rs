//! Work that begins by the clock.
//!
//! **Guarantees.** Expressions are cron in UTC, parsed at start; a wrong one stops the process with its name. Slots are
//! compared with the database's clock. A slot has one run at most: its row is unique. One process at a time leads, under a
//! lease with an epoch, and whatever a run commits, it commits under a lock of that lease: a leader that was stopped and
//! wakes up again commits nothing. A run that a leader left in the middle is taken up by the next one, so every work here
//! finds out from the database what is left to do, and asks for slow things by the ordinary commands.
//!
//! **Missed slots.** After a time without any leader, the newest slot of each schedule that was missed gets its run, once,
//! and the older ones get none: everything here does all that is due, however long it has been due.
//!
//! Another schedule is one entry in [`SCHEDULES`] and one setting.

mod audit;
mod backups;
mod command;
mod domains;
mod history;
mod leader;
mod rotation;
mod runs;
mod schema;
mod statistics;
mod tenants;

pub use command::{ScheduleCommand, run as run_command};
pub use leader::lead;
pub use runs::{Due, Report, RequestRun, Run, register, report};

use crate::serve::App;
use chrono::{DateTime, Duration, SubsecRound, Utc};
use futures::future::BoxFuture;
use kernel::lease::{Lease, LeaseError};
use kernel::process::config::{ConfigError, Settings, wrong};
use std::str::FromStr;

/// What a schedule is, in code.
pub struct Schedule {
    /// Its name in the API, in rows and as actor (`schedule:<name>`).
    pub name: &'static str,
    /// The setting that holds its expression.
    setting: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    /// Does it; returns how many things it asked for or removed. May be repeated at any moment.
    work: for<'a> fn(&'a App, &'a Lease, &'a Run) -> BoxFuture<'a, Result<u64, RunError>>,
}

/// All of them.
pub const SCHEDULES: [Schedule; 9] = [
    Schedule {
        name: "tenant-retention",
        setting: "SCHEDULE_TENANT_RETENTION",
        about: "purge deleted tenants whose retention has passed",
        work: |app, lease, _| Box::pin(tenants::purge_expired(app, lease)),
    },
    Schedule {
        name: "history-retention",
        setting: "SCHEDULE_HISTORY_RETENTION",
        about: "remove old idempotency keys, ended operations, ended runs and rows of the access log",
        work: |app, lease, _| Box::pin(history::remove_old(app, lease)),
    },
    Schedule {
        name: "credential-rotation",
        setting: "SCHEDULE_CREDENTIAL_ROTATION",
        about: "rotate credentials older than ROTATION_MAX_AGE_DAYS",
        work: |app, lease, run| Box::pin(rotation::rotate_old(app, lease, run)),
    },
    Schedule {
        name: "daily-statistics",
        setting: "SCHEDULE_DAILY_STATISTICS",
        about: "have the days that are over counted, and today so far",
        work: |app, lease, run| Box::pin(statistics::collect(app, lease, run)),
    },
    Schedule {
        name: "audit",
        setting: "SCHEDULE_AUDIT",
        about: "compare the database servers with the events, and repair what is safe if AUDIT_REPAIR says so",
        work: |app, lease, _| Box::pin(audit::begin(app, lease)),
    },
    Schedule {
        name: "schema-migration",
        setting: "SCHEDULE_SCHEMA_MIGRATION",
        about: "have tenants that are behind brought to the schema of this version",
        work: |app, lease, _| Box::pin(schema::migrate_behind(app, lease)),
    },
    Schedule {
        name: "backup",
        setting: "SCHEDULE_BACKUP",
        about: "have a backup taken of every tenant and of the system database, and old ones removed",
        work: |app, lease, run| Box::pin(backups::back_up(app, lease, run)),
    },
    Schedule {
        name: "restore-test",
        setting: "SCHEDULE_RESTORE_TEST",
        about: "have the backups that waited longest for it loaded and compared, RESTORE_TESTS_AT_ONCE of them",
        work: |app, lease, run| Box::pin(backups::test(app, lease, run)),
    },
    Schedule {
        name: "domain-verification",
        setting: "SCHEDULE_DOMAIN_VERIFICATION",
        about: "look for the records of domains that wait for their proof, forget those whose time has passed",
        work: |app, lease, _| Box::pin(domains::verify_pending(app, lease)),
    },
];

/// The schedule of this name.
pub fn find(name: &str) -> Option<&'static Schedule> {
    SCHEDULES.iter().find(|schedule| schedule.name == name)
}

/// Why a run did not end well.
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

/// What the schedules are told by the settings.
#[derive(Clone)]
pub struct Plan {
    /// Expressions in the order of [`SCHEDULES`]; `None`: only when somebody asks for a run.
    expressions: Vec<Option<Expression>>,
    /// Days an answer is kept for its `Idempotency-Key`.
    pub key_days: u32,
    /// Days an ended operation is kept.
    pub operation_days: u32,
    /// Days an ended run is kept.
    pub run_days: u32,
    /// Days a row of the access log is kept.
    pub access_log_days: u32,
    /// Days after which a credential is replaced; 0: never.
    pub rotation_days: u32,
    /// Most rotations asked for by one run.
    pub rotations_at_once: u32,
    /// Whether the audits of the clock repair what is safe.
    pub audit_repair: bool,
    /// Whether there is a place for backups.
    pub backups: bool,
    /// Most restore tests asked for by one run.
    pub restore_tests: u32,
}

impl Plan {
    /// Reads them; names the first that is wrong.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let mut expressions = Vec::new();
        for Schedule { setting, .. } in &SCHEDULES {
            let text: String = settings.get(setting)?;
            let parsed = (!text.trim().is_empty()).then(|| text.parse::<Expression>());
            expressions.push(parsed.transpose().map_err(|reason| wrong(setting, reason))?);
        }
        let days = |name| match settings.get::<u32>(name)? {
            0 => Err(wrong(name, "at least 1 day")),
            days => Ok(days),
        };
        let (key_days, operation_days) = (days("IDEMPOTENCY_KEY_DAYS")?, days("OPERATION_DAYS")?);
        if operation_days < key_days {
            let reason = "a kept answer names its operation, so operations are kept as long as IDEMPOTENCY_KEY_DAYS";
            return Err(wrong("OPERATION_DAYS", reason));
        }
        Ok(Self {
            expressions,
            key_days,
            operation_days,
            run_days: days("SCHEDULE_RUN_DAYS")?,
            access_log_days: days("ACCESS_LOG_DAYS")?,
            rotation_days: settings.get("ROTATION_MAX_AGE_DAYS")?,
            rotations_at_once: settings.get("ROTATIONS_AT_ONCE")?,
            audit_repair: settings.get("AUDIT_REPAIR")?,
            backups: !settings.get::<String>("BACKUP_STORE")?.is_empty(),
            restore_tests: settings.get("RESTORE_TESTS_AT_ONCE")?,
        })
    }

    /// The expression of a schedule, unless it is off.
    pub fn expression(&self, schedule: &Schedule) -> Option<&Expression> {
        let at = SCHEDULES.iter().position(|other| other.name == schedule.name)?;
        self.expressions[at].as_ref()
    }
}

/// A cron expression of six fields, seconds first, in UTC.
#[derive(Clone)]
pub struct Expression {
    /// As it was written.
    pub text: String,
    slots: cron::Schedule,
}

impl FromStr for Expression {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let slots = cron::Schedule::from_str(text.trim()).map_err(
            |_| "a cron expression of six fields is needed (second minute hour day month weekday, weekdays by name)",
        )?;
        Ok(Self { text: text.trim().to_owned(), slots })
    }
}

impl Expression {
    /// The newest slot that has come and is after `last`.
    pub fn due(&self, last: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let before = now.trunc_subsecs(0) + Duration::seconds(1);
        self.slots.after(&before).next_back().filter(|slot| *slot > last && *slot <= now)
    }

    /// The first slot after `now`.
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.slots.after(&now).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn of_many_missed_slots_the_newest_is_due_once() {
        let daily: Expression = "0 30 2 * * *".parse().unwrap();
        let due = |last: &str, now: &str| daily.due(at(last), at(now));
        let slot = at("2026-03-05T02:30:00Z");
        assert_eq!(due("2026-03-01T00:00:00Z", "2026-03-05T09:00:00Z"), Some(slot));
        assert_eq!(due("2026-03-05T02:30:00Z", "2026-03-05T09:00:00Z"), None);
        assert_eq!(due("2026-03-05T00:00:00Z", "2026-03-05T02:30:00Z"), Some(slot), "a slot is due when it comes");
        assert_eq!(due("2026-03-05T00:00:00Z", "2026-03-05T02:29:59.999999Z"), None);
        assert_eq!(daily.next(slot), Some(at("2026-03-06T02:30:00Z")));
        let often: Expression = "*/2 * * * * *".parse().unwrap();
        let now = at("2026-01-01T00:00:01.5Z");
        assert_eq!(often.due(at("2025-12-31T23:59:59Z"), now), Some(at("2026-01-01T00:00:00Z")));
    }

    #[test]
    fn names_are_unique_and_fit_their_column() {
        let names: std::collections::HashSet<_> = SCHEDULES.iter().map(|schedule| schedule.name).collect();
        assert!(names.len() == SCHEDULES.len() && names.iter().all(|name| name.len() <= 32));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let refused = |name: &str, value: &str| {
            let settings = Settings::from_pairs([(name.to_owned(), value.to_owned())]);
            Plan::from_settings(&settings).err().unwrap().to_string()
        };
        for (name, value) in [
            ("SCHEDULE_HISTORY_RETENTION", "30 2 * * *"),
            ("SCHEDULE_CREDENTIAL_ROTATION", "0 0 25 * * *"),
            ("IDEMPOTENCY_KEY_DAYS", "0"),
            ("OPERATION_DAYS", "1"),
            ("SCHEDULE_AUDIT", "at night"),
            ("AUDIT_REPAIR", "perhaps"),
        ] {
            assert!(refused(name, value).contains(name), "{name}");
        }
        assert!(Plan::from_settings(&Settings::from_pairs([])).is_ok());
    }
}
