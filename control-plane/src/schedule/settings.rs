//! The settings of the schedules, checked at start.

use super::{Expression, SCHEDULES, Schedule};
use kernel::process::config::{ConfigError, Settings, wrong};

/// The settings of the schedules.
pub struct ScheduleSettings {
    /// Expressions in the order of [`SCHEDULES`]; `None`: a run only begins on request.
    expressions: Vec<Option<Expression>>,
    /// Days that the answer to an `Idempotency-Key` stays.
    pub key_days: u32,
    /// Days that an ended operation stays.
    pub operation_days: u32,
    /// Days that an ended run stays.
    pub run_days: u32,
    /// Days that a row of the access log stays.
    pub access_log_days: u32,
    /// Rows that the access log has at most.
    pub access_log_rows: u64,
    /// Days after which a credential is replaced; 0: never.
    pub rotation_days: u32,
    /// Most rotations that one run requests.
    pub rotations_at_once: u32,
    /// Whether scheduled audits repair what is safe.
    pub audit_repair: bool,
    /// Whether `BACKUP_STORE` is set.
    pub backups: bool,
    /// Most restore tests that one run requests.
    pub restore_tests: u32,
}

impl ScheduleSettings {
    /// Reads them; names the first that is wrong.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let mut expressions = Vec::new();
        for Schedule { setting, .. } in &SCHEDULES {
            let text: String = settings.get(setting)?;
            let parsed = (!text.trim().is_empty()).then(|| text.parse::<Expression>());
            expressions.push(parsed.transpose().map_err(|reason| wrong(setting, reason))?);
        }
        let (key_days, operation_days): (u32, u32) =
            (settings.get("IDEMPOTENCY_KEY_DAYS")?, settings.get("OPERATION_DAYS")?);
        if operation_days < key_days {
            let reason = "a stored answer names its operation, so operations stay as long as IDEMPOTENCY_KEY_DAYS";
            return Err(wrong("OPERATION_DAYS", reason));
        }
        Ok(Self {
            expressions,
            key_days,
            operation_days,
            run_days: settings.get("SCHEDULE_RUN_DAYS")?,
            access_log_days: settings.get("ACCESS_LOG_DAYS")?,
            access_log_rows: settings.get("ACCESS_LOG_MAX_ROWS")?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_is_named() {
        let refused = |name: &str, value: &str| {
            let settings = Settings::from_pairs([(name.to_owned(), value.to_owned())]);
            ScheduleSettings::from_settings(&settings).err().unwrap().to_string()
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
        assert!(ScheduleSettings::from_settings(&Settings::from_pairs([])).is_ok());
    }
}
