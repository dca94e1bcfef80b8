//! Reads rows of the log back as events, and folds events into a tenant's state at any point in time.
//!
//! **Guarantees.** The folded events are a prefix of the tenant's stream in version order, and each is read as the type
//! that was appended. A log that this program cannot read (because of an event of a newer version, or a stream with a
//! gap) gives a [`FoldError`] that names the position. The program neither guesses nor panics, because the log may be
//! newer than the program.

use super::{EventRow, Store};
use crate::domain::{Position, RecordedEvent, Tenant, TenantEvent, TenantId, Version};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

/// Events that are read at once. Most tenants have fewer.
const BATCH: u32 = 500;

/// Why events could not be folded. The message always names the event.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The type of the event is unknown, or a column does not have its form. A newer version of this program wrote it,
    /// or the row was damaged.
    #[error("event {position} ({kind}) cannot be read by this version of the program")]
    Unreadable {
        /// Position of the event.
        position: u64,
        /// Type of the event.
        kind: String,
        /// Why it cannot be read.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The event does not continue the tenant's stream.
    #[error("event {position} is version {found} of {tenant_id}, expected {expected}")]
    Broken {
        /// Position of the event.
        position: u64,
        tenant_id: String,
        /// The version of the event.
        found: u32,
        /// The version that should follow.
        expected: u32,
    },
    /// The stream does not begin with the creation, or has it twice.
    #[error("event {position} ({kind}) is out of place: a stream begins with tenant.created, once")]
    OutOfPlace {
        /// Position of the event.
        position: u64,
        /// Type of the event.
        kind: &'static str,
    },
    /// The system database failed.
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
}

/// A point in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Right after the event at this position.
    Position(Position),
    /// At this time of the database's clock. Times do not order events, because clocks are set back; so the stream
    /// counts up to its first later event.
    Time(DateTime<Utc>),
}

impl At {
    fn is_before(self, event: &EventRow) -> bool {
        match self {
            Self::Position(position) => event.position > position.0,
            Self::Time(time) => event.occurred_at > time,
        }
    }
}

impl Store {
    /// The tenant at the point `at`, folded from its events; `None` before the first event.
    pub async fn tenant_at(&self, id: &TenantId, at: At) -> Result<Option<Tenant>, FoldError> {
        let mut tenant: Option<Tenant> = None;
        loop {
            let version = tenant.as_ref().map_or(0, |tenant| tenant.version.0);
            let rows = self.tenant_events(id, version, BATCH).await?;
            for row in &rows {
                if at.is_before(row) {
                    return Ok(tenant);
                }
                tenant = Some(step(tenant, &recorded(row)?)?);
            }
            if rows.len() < BATCH as usize {
                return Ok(tenant);
            }
        }
    }
}

/// Reads the event of a row.
pub(super) fn recorded(row: &EventRow) -> Result<RecordedEvent, FoldError> {
    let unreadable = |source: Box<dyn std::error::Error + Send + Sync>| FoldError::Unreadable {
        position: row.position,
        kind: row.kind.clone(),
        source,
    };
    Ok(RecordedEvent {
        position: Position(row.position),
        tenant_id: row.tenant_id.parse().map_err(|error| unreadable(Box::new(error)))?,
        version: Version(row.version),
        event_id: row.event_id.parse().map_err(|error| unreadable(Box::new(error)))?,
        occurred_at: row.occurred_at,
        actor: row.actor.clone(),
        event: event(&row.kind, &row.data).map_err(|error| unreadable(Box::new(error)))?,
    })
}

/// The tenant after `event`, which must be the next one of its stream.
pub(super) fn step(now: Option<Tenant>, event: &RecordedEvent) -> Result<Tenant, FoldError> {
    let position = event.position.0;
    let expected = now.as_ref().map_or(Version(0), |tenant| tenant.version).next();
    if event.version != expected {
        return Err(FoldError::Broken {
            position,
            tenant_id: event.tenant_id.to_string(),
            found: event.version.0,
            expected: expected.0,
        });
    }
    if now.is_none() != matches!(event.event, TenantEvent::Created { .. }) {
        return Err(FoldError::OutOfPlace { position, kind: event.event.kind() });
    }
    Ok(Tenant::apply(now, event))
}

fn event(kind: &str, data: &RawValue) -> Result<TenantEvent, serde_json::Error> {
    let kind = serde_json::to_string(kind)?;
    serde_json::from_str(&format!(r#"{{"type":{kind},"data":{data}}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(version: u32, kind: &str, data: &str) -> EventRow {
        EventRow {
            position: u64::from(version) + 10,
            tenant_id: "acme".into(),
            version,
            event_id: "00000000-0000-0000-0000-000000000000".into(),
            kind: kind.into(),
            occurred_at: DateTime::UNIX_EPOCH,
            actor: "test".into(),
            data: RawValue::from_string(data.into()).unwrap(),
        }
    }

    fn created(version: u32) -> RecordedEvent {
        let data = r#"{"tenant_name":"A","plan_type":"basic","server":"main","database_name":"a","max_connections":1}"#;
        recorded(&row(version, "tenant.created", data)).unwrap()
    }

    #[test]
    fn a_row_reads_back_as_its_event() {
        let renamed = recorded(&row(2, "tenant.renamed", r#"{"tenant_name":"B"}"#)).unwrap();
        let tenant = step(Some(step(None, &created(1)).unwrap()), &renamed).unwrap();
        assert_eq!((tenant.tenant_name.as_str(), tenant.version, tenant.position), ("B", Version(2), Position(12)));
    }

    #[test]
    fn an_unreadable_event_is_named() {
        for (kind, data) in [("tenant.teleported", "{}"), ("tenant.renamed", "{}"), ("tenant\"", "{}"), ("", "3")] {
            let error = recorded(&row(7, kind, data)).unwrap_err();
            assert!(matches!(error, FoldError::Unreadable { position: 17, .. }), "{error}");
        }
    }

    #[test]
    fn an_incomplete_stream_is_refused() {
        let tenant = step(None, &created(1)).unwrap();
        let renamed = |version| recorded(&row(version, "tenant.renamed", r#"{"tenant_name":"B"}"#)).unwrap();
        assert!(matches!(step(Some(tenant.clone()), &renamed(3)), Err(FoldError::Broken { expected: 2, .. })));
        assert!(matches!(step(None, &renamed(1)), Err(FoldError::OutOfPlace { .. })));
        assert!(matches!(step(Some(tenant), &created(2)), Err(FoldError::OutOfPlace { .. })));
    }

    proptest! {
        /// Permissions are free JSON. If a number read back differently, a rebuilt row would differ from the live one.
        #[test]
        fn an_event_reads_back_byte_for_byte(
            number in any::<f64>().prop_filter("JSON has no others", |n| n.is_finite())
        ) {
            let permissions = serde_json::json!({"b": [number], "a": "学\""});
            let event = TenantEvent::MemberChanged {
                user_id: "u".parse().unwrap(),
                role: crate::domain::Role::User,
                permissions: Some(permissions),
            };
            let data = super::super::append::data_json(&event);
            let back = recorded(&row(1, event.kind(), &data)).unwrap().event;
            prop_assert_eq!(super::super::append::data_json(&back), data);
        }
    }
}
