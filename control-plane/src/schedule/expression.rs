//! Cron expressions: when a schedule is due.

use chrono::{DateTime, Duration, SubsecRound, Utc};
use std::str::FromStr;

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
}
