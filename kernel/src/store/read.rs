//! The queries that read the event log and its projections.

use super::Store;
use super::tables::{self, Tables};
use crate::domain::{Position, Tenant, TenantId, TenantState};
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};
use std::collections::HashMap;
use utoipa::ToSchema;

/// One row of the log as stored. `data` stays text, so that an event of a newer version passes through unchanged.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventRow {
    /// Place in the whole log.
    pub position: u64,
    /// Whose event it is.
    pub tenant_id: String,
    /// Place in the tenant's stream.
    pub version: u32,
    /// Stable identity.
    #[schema(format = "uuid")]
    pub event_id: String,
    /// Public type name, also the routing key.
    #[serde(rename = "type")]
    pub kind: String,
    /// When, for people.
    pub occurred_at: DateTime<Utc>,
    /// Who caused it.
    pub actor: String,
    /// What happened.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
}

/// The newest position of the event log, and counters of other changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// The position of the newest event.
    pub events: Position,
    /// How often sessions were revoked.
    pub sessions: u64,
    /// How often users were changed.
    pub users: u64,
}

impl Heads {
    /// Takes the position of a row of `saas_heads`. Rows of newer versions are passed over.
    pub fn set(&mut self, name: &str, position: u64) {
        match name {
            "events" => self.events = Position(position),
            "sessions" => self.sessions = position,
            "users" => self.users = position,
            _ => {}
        }
    }
}

/// Which tenants to list.
#[derive(Clone, Debug, Default)]
pub struct TenantFilter {
    /// Only tenants with this status number.
    pub status: Option<i16>,
    /// Only tenants in this state. Several states share a number.
    pub state: Option<TenantState>,
    /// Only tenants created after this position.
    pub after: Position,
    /// The most tenants to return.
    pub limit: u32,
}

impl Store {
    /// The newest positions, in one statement.
    pub async fn heads(&self) -> Result<Heads, sqlx::Error> {
        let rows: Vec<(String, u64)> =
            sqlx::query_as("SELECT name, position FROM saas_heads").fetch_all(self.pool()).await?;
        let mut heads = Heads::default();
        rows.iter().for_each(|(name, position)| heads.set(name, *position));
        Ok(heads)
    }

    /// Events after `position`, oldest first.
    pub async fn events_after(&self, position: Position, limit: u32) -> Result<Vec<EventRow>, sqlx::Error> {
        events_after(&mut *self.pool().acquire().await?, position, limit).await
    }

    /// The traces of events in `(after, until]`, by position. Events without a trace are not included.
    pub async fn traces(&self, after: Position, until: Position) -> Result<HashMap<u64, String>, sqlx::Error> {
        let rows: Vec<(u64, String)> =
            sqlx::query_as("SELECT position, traceparent FROM saas_event_traces WHERE position > ? AND position <= ?")
                .bind(after.0)
                .bind(until.0)
                .fetch_all(self.pool())
                .await?;
        Ok(rows.into_iter().collect())
    }

    /// Events of one tenant after its `version`, oldest first.
    pub async fn tenant_events(&self, id: &TenantId, version: u32, limit: u32) -> Result<Vec<EventRow>, sqlx::Error> {
        let rows = sqlx::query(concat_columns!("WHERE tenant_id = ? AND version > ? ORDER BY version LIMIT ?"))
            .bind(id.as_str())
            .bind(version)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(event_row).collect()
    }

    /// The current state of the tenant.
    pub async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, sqlx::Error> {
        snapshot(&mut *self.pool().acquire().await?, &tables::LIVE, id).await
    }

    /// At most `limit` deleted tenants whose retention has passed by the clock of the database, those that wait for
    /// longest first. A tenant with an open job is not among them, unless the job is of a kind in the list `harmless`:
    /// purges that do not end hold up no others.
    pub async fn expired(&self, limit: u32, harmless: &str) -> Result<Vec<TenantId>, sqlx::Error> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT s.tenant_id FROM saas_tenants t JOIN saas_tenant_snapshots s ON s.tenant_id = t.tenant_id
             WHERE t.deleted = 1 AND s.status = 0 AND s.state = 'deleted'
               AND STR_TO_DATE(LEFT(JSON_UNQUOTE(JSON_EXTRACT(s.snapshot, '$.purge_after')), 19), '%Y-%m-%dT%H:%i:%s')
                   <= UTC_TIMESTAMP()
               AND NOT EXISTS (SELECT 1 FROM saas_operations o
                               WHERE o.tenant_id = s.tenant_id AND o.due_at IS NOT NULL AND NOT FIND_IN_SET(o.kind, ?))
             ORDER BY JSON_UNQUOTE(JSON_EXTRACT(s.snapshot, '$.purge_after')) LIMIT ?",
        )
        .bind(harmless)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().filter_map(|(id,)| id.parse().ok()).collect())
    }

    /// Tenants in the order of their creation. Each comes with the position after which the next page begins.
    pub async fn tenants(&self, filter: &TenantFilter) -> Result<Vec<(Position, Tenant)>, sqlx::Error> {
        let rows: Vec<(u64, String)> = sqlx::query_as(
            "SELECT created_position, snapshot FROM saas_tenant_snapshots
             WHERE created_position > ? AND (? IS NULL OR status = ?)
               AND (? IS NULL OR state = ?)
             ORDER BY created_position LIMIT ?",
        )
        .bind(filter.after.0)
        .bind(filter.status)
        .bind(filter.status)
        .bind(filter.state.map(TenantState::as_str))
        .bind(filter.state.map(TenantState::as_str))
        .bind(filter.limit)
        .fetch_all(self.pool())
        .await?;
        rows.into_iter().map(|(position, json)| Ok((Position(position), parse(&json)?))).collect()
    }
}

/// A constant query for the columns of [`EventRow`], with a condition after them.
macro_rules! concat_columns {
    ($condition:literal) => {
        concat!(
            "SELECT position, tenant_id, version, event_id, event_type, occurred_at, actor, data FROM saas_events ",
            $condition
        )
    };
}
use concat_columns;

/// Events after `position`, oldest first, in the current transaction of `connection`.
pub(super) async fn events_after(
    connection: &mut MySqlConnection,
    position: Position,
    limit: u32,
) -> Result<Vec<EventRow>, sqlx::Error> {
    let rows = sqlx::query(concat_columns!("WHERE position > ? ORDER BY position LIMIT ?"))
        .bind(position.0)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(event_row).collect()
}

fn event_row(row: &MySqlRow) -> Result<EventRow, sqlx::Error> {
    let data: String = row.try_get(7)?;
    Ok(EventRow {
        position: row.try_get(0)?,
        tenant_id: row.try_get(1)?,
        version: row.try_get(2)?,
        event_id: row.try_get(3)?,
        kind: row.try_get(4)?,
        occurred_at: row.try_get::<NaiveDateTime, _>(5)?.and_utc(),
        actor: row.try_get(6)?,
        data: RawValue::from_string(data).map_err(|error| sqlx::Error::Decode(error.into()))?,
    })
}

pub(super) async fn snapshot(
    connection: &mut MySqlConnection,
    tables: &Tables,
    id: &TenantId,
) -> Result<Option<Tenant>, sqlx::Error> {
    select_snapshot(connection, &format!("SELECT snapshot FROM {} WHERE tenant_id = ?", tables.snapshots), id).await
}

/// The tenant's current state, locked until the transaction of `connection` ends.
pub(super) async fn lock_snapshot(
    connection: &mut MySqlConnection,
    id: &TenantId,
) -> Result<Option<Tenant>, sqlx::Error> {
    let query = format!("SELECT snapshot FROM {} WHERE tenant_id = ? FOR UPDATE", tables::LIVE.snapshots);
    select_snapshot(connection, &query, id).await
}

async fn select_snapshot(
    connection: &mut MySqlConnection,
    query: &str,
    id: &TenantId,
) -> Result<Option<Tenant>, sqlx::Error> {
    let row: Option<(String,)> = sqlx::query_as(query).bind(id.as_str()).fetch_optional(connection).await?;
    row.map(|(json,)| parse(&json)).transpose()
}

fn parse(json: &str) -> Result<Tenant, sqlx::Error> {
    serde_json::from_str(json).map_err(|error| sqlx::Error::Decode(error.into()))
}
