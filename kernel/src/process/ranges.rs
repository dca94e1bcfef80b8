//! The range of every setting that is a number, and the length of texts that go into a column or a name.
//!
//! Without a bound, a number that is meant as "for ever" overflows a date or a timer long after the start.

use super::config::{ConfigError, wrong};

/// A century, in days: longer than anything is stored.
const CENTURY: u64 = 36_500;

/// A day, in seconds.
const DAY: u64 = 86_400;

/// Numbers: the setting, the least value and the greatest one.
const NUMBERS: &[(&str, u64, u64)] = &[
    ("ACCESS_LOG_BUFFER", 1, 10_000_000),
    ("ACCESS_LOG_DAYS", 1, CENTURY),
    ("ACCESS_LOG_MAX_ROWS", 1, 10_000_000_000),
    ("ACCESS_LOG_ROWS_PER_SECOND", 0, 1_000_000),
    ("ACCESS_LOG_STRANGER_ROWS_PER_SECOND", 0, 1_000_000),
    ("BACKUP_KEEP_DAYS", 1, CENTURY),
    ("BACKUP_KEEP_LAST", 1, 100_000),
    ("BACKUP_WORKERS", 1, 1000),
    ("CONTROL_PLANE_CONCURRENCY", 1, 100_000),
    ("CONTROL_PLANE_CONNECTIONS", 1, 100_000),
    ("DATA_PLANE_CONNECTIONS", 1, 100_000),
    ("DATA_PLANE_IDLE", 1, DAY),
    ("DATA_PLANE_SYSTEM_CONNECTIONS", 1, 100_000),
    ("DATA_PLANE_TENANT_CONNECTIONS", 1, 100_000),
    ("DATA_PLANE_WAIT", 0, 60_000),
    // The request that waits has 10 s.
    ("DNS_TIMEOUT", 1, 8),
    ("DOMAIN_CHALLENGE_DAYS", 1, 365),
    ("HEALTH_CONNECTIONS", 1, 10_000),
    ("HEALTH_EVERY", 1, DAY),
    ("HTTP_BODY_TIMEOUT", 1, DAY),
    ("HTTP_CONNECTIONS", 1, 10_000_000),
    ("HTTP_CONNECTIONS_PER_ADDRESS", 1, 10_000_000),
    ("HTTP_HEADER_TIMEOUT", 1, DAY),
    ("HTTP_WRITE_TIMEOUT", 1, DAY),
    ("IDEMPOTENCY_KEY_DAYS", 1, CENTURY),
    ("JOB_LEASE", 2, DAY),
    ("JOB_PATIENCE", 1, 30 * DAY),
    ("METRIC_TENANTS", 0, 1_000_000),
    ("OPERATION_DAYS", 1, CENTURY),
    ("PROVISIONER_DDL_AT_ONCE", 1, 1000),
    ("PROVISIONER_WORKERS", 1, 1000),
    ("RESTORE_TESTS_AT_ONCE", 0, 10_000),
    ("ROTATIONS_AT_ONCE", 0, 10_000),
    ("ROTATION_MAX_AGE_DAYS", 0, CENTURY),
    ("SCHEDULE_RUN_DAYS", 1, CENTURY),
    ("SCHEMA_WORKERS", 1, 1000),
    ("SHUTDOWN_DEADLINE", 0, DAY),
    ("SHUTDOWN_NOTICE", 0, DAY),
    ("SIGNUPS_PER_ADDRESS_PER_HOUR", 1, 1_000_000),
    ("SIGNUPS_PER_HOUR", 1, 1_000_000),
    ("STATISTICS_CONNECTIONS", 1, 1000),
    ("STORAGE_MEASURE_EVERY", 1, DAY),
    ("TENANT_RETENTION_DAYS", 0, CENTURY),
];

/// Texts: the setting and the most characters.
const TEXTS: [(&str, usize); 3] = [
    // Names of queues and exchanges have at most 255 bytes.
    ("AMQP_PREFIX", 100),
    // The column `saas_nodes.node_name`.
    ("NODE_NAME", 100),
    // The column `Host` of the servers' table of users.
    ("TENANT_ACCOUNT_HOST", 255),
];

/// Whether the text is in the range of the setting.
///
/// # Errors
/// Names the setting and its range.
pub(super) fn check(name: &str, text: &str) -> Result<(), ConfigError> {
    if let Some((_, least, greatest)) = NUMBERS.iter().find(|(number, ..)| *number == name) {
        let is_in_range = text.parse::<u64>().is_ok_and(|number| (*least..=*greatest).contains(&number));
        return if is_in_range {
            Ok(())
        } else {
            Err(wrong(name, format!("a whole number from {least} to {greatest}")))
        };
    }
    match TEXTS.iter().find(|(limited, _)| *limited == name) {
        Some((_, most)) if text.chars().count() > *most => Err(wrong(name, format!("at most {most} characters"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{DEFAULTS, Settings};
    use super::*;

    fn defaults() -> impl Iterator<Item = (&'static str, &'static str)> {
        DEFAULTS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
    }

    #[test]
    fn every_number_has_a_range_that_is_named() {
        // A share, which its reader checks.
        let numbers = defaults().filter(|(name, value)| value.parse::<f64>().is_ok() && *name != "OTLP_SAMPLE");
        for (name, default) in numbers {
            assert!(NUMBERS.iter().any(|(number, ..)| *number == name), "{name} has no range");
            assert!(check(name, default).is_ok(), "{name}: its default is out of its range");
        }
        for &(name, least, greatest) in NUMBERS {
            assert!(defaults().any(|(known, _)| known == name), "{name} is no setting");
            for bad in ["", "-1", "1.5", "forever", "99999999999999999999", &(greatest + 1).to_string()] {
                let settings = Settings::from_pairs([(name.to_owned(), bad.to_owned())]);
                let error = settings.get::<f64>(name).unwrap_err().to_string();
                assert!(error.contains(name) && error.contains(&greatest.to_string()), "{name}={bad}: {error}");
            }
            assert!(least == 0 || check(name, &(least - 1).to_string()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_text_that_fits_no_column_is_refused() {
        for (name, most) in TEXTS {
            assert!(check(name, &"x".repeat(most)).is_ok());
            assert!(check(name, &"x".repeat(most + 1)).unwrap_err().to_string().contains(name));
        }
    }
}
