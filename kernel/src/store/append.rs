//! [`UnitOfWork`]: an append is one transaction. [`super`] says what that guarantees.

use super::{Store, chain, projections, tables};
use crate::database::is_duplicate;
use crate::domain::{Command, DomainName, Position, RecordedEvent, Rejection, Tenant, TenantEvent, TenantId, Version};
use crate::process::telemetry::traces;
use chrono::{DateTime, Utc};
use sqlx::{MySql, MySqlConnection, QueryBuilder, Row, Transaction};
use std::sync::Arc;
use tokio::sync::Notify;
use uuid::Uuid;

/// Why a command did not take effect. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The tenant's rules refuse it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Another tenant has the domain, or had it until recently.
    #[error("the domain belongs to another tenant")]
    DomainTaken(DomainName),
    /// Another command created the tenant at the same time, twice in a row, or another worker has taken the job.
    #[error("another process was faster: it created the tenant, or took the job")]
    Conflict,
    /// The system database failed.
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
}

impl CommandError {
    /// Whether the same command may succeed if it is decided again on the newest state.
    ///
    /// A unit that has waited for a lock as long as it may is no such case, because its caller has waited long enough.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Conflict => true,
            Self::Database(error) => crate::database::is_deadlock(error),
            Self::Rejected(_) | Self::DomainTaken(_) => false,
        }
    }
}

/// One transaction of the store. If it is dropped without [`UnitOfWork::commit`], it leaves nothing behind.
pub struct UnitOfWork {
    tx: Transaction<'static, MySql>,
    bell: Arc<Notify>,
    appended: bool,
    /// The tenant whose row this unit has locked last. Only this unit changes it until the unit ends.
    locked: Option<Tenant>,
}

impl UnitOfWork {
    pub(super) fn new(tx: Transaction<'static, MySql>, bell: Arc<Notify>) -> Self {
        Self { tx, bell, appended: false, locked: None }
    }

    /// The connection of the transaction, for rows that belong to the same unit (a job, an idempotency key).
    pub fn connection(&mut self) -> &mut MySqlConnection {
        &mut self.tx
    }

    /// The current state of the tenant, locked: until this unit ends, no other unit decides anything about the tenant.
    /// If another unit holds the tenant, this call waits for that unit's end, at most as long as a session waits for
    /// any lock. A tenant that does not exist yet cannot be locked.
    pub async fn tenant(&mut self, id: &TenantId) -> Result<Option<Tenant>, sqlx::Error> {
        if self.locked.as_ref().is_none_or(|locked| locked.tenant_id != *id) {
            self.locked = super::read::lock_snapshot(&mut self.tx, id).await?;
        }
        Ok(self.locked.clone())
    }

    /// Decides `command` on the current state of the tenant, and appends the events.
    pub async fn execute(&mut self, id: &TenantId, actor: &str, command: Command) -> Result<Tenant, CommandError> {
        let now = self.tenant(id).await?;
        let events = Tenant::decide(id, now.as_ref(), command)?;
        if events.is_empty() {
            return now.ok_or(CommandError::Rejected(Rejection::NotFound));
        }
        self.append(id, now, events, actor).await
    }

    /// Decides several commands for one tenant, each on the state that the previous ones lead to, and appends all their
    /// events under one lock of the head. This is for many members at once, which would otherwise need as many
    /// transactions. If one command is refused, all are. Returns the number of events.
    pub async fn execute_all(
        &mut self,
        id: &TenantId,
        actor: &str,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<usize, CommandError> {
        let before = self.tenant(id).await?;
        let mut events = Vec::new();
        let mut now = before.clone();
        for command in commands {
            for event in Tenant::decide(id, now.as_ref(), command)? {
                // Enough for the next decision. Positions, versions and times are assigned at the append.
                now = Some(Tenant::apply(
                    now.take(),
                    &RecordedEvent {
                        position: Position(0),
                        tenant_id: id.clone(),
                        version: Version(0),
                        event_id: Uuid::nil(),
                        occurred_at: DateTime::UNIX_EPOCH,
                        actor: String::new(),
                        event: event.clone(),
                    },
                ));
                events.push(event);
            }
        }
        let appended = events.len();
        if appended > 0 {
            self.append(id, before, events, actor).await?;
        }
        Ok(appended)
    }

    async fn append(
        &mut self,
        id: &TenantId,
        before: Option<Tenant>,
        events: Vec<TenantEvent>,
        actor: &str,
    ) -> Result<Tenant, CommandError> {
        crate::process::failpoint::hit("append.before_lock").await;
        let mut head = lock_head(&mut self.tx).await?;
        let mut version = before.as_ref().map_or(Version(0), |tenant| tenant.version);
        let mut recorded = Vec::with_capacity(events.len());
        let mut rows = QueryBuilder::new(
            "INSERT INTO saas_events (position, tenant_id, version, event_id, event_type, occurred_at, actor, data,
                                      hash) ",
        );
        let mut prepared = Vec::with_capacity(events.len());
        for event in events {
            version = version.next();
            head.position = head.position.next();
            let event = RecordedEvent {
                position: head.position,
                tenant_id: id.clone(),
                version,
                event_id: Uuid::now_v7(),
                occurred_at: head.now,
                actor: actor.to_owned(),
                event,
            };
            let data = data_json(&event.event);
            head.hash = chain::of_event(&head.hash, &event, &data);
            prepared.push((event.clone(), data, head.hash));
            recorded.push(event);
        }
        rows.push_values(&prepared, |mut row, (event, data, hash)| {
            row.push_bind(event.position.0)
                .push_bind(event.tenant_id.as_str())
                .push_bind(event.version.0)
                .push_bind(event.event_id.to_string())
                .push_bind(event.event.kind())
                .push_bind(event.occurred_at.naive_utc())
                .push_bind(&event.actor)
                .push_bind(data)
                .push_bind(&hash[..]);
        });
        // Only the statement for one event is prepared for later calls: one for each number would fill the cache.
        let rows = rows.build().persistent(recorded.len() == 1);
        if let Err(error) = rows.execute(&mut *self.tx).await {
            // Under the lock no other transaction takes positions. So a duplicate is the tenant's version. A tenant
            // that exists is locked, so another command has created this one at the same time.
            return Err(if is_duplicate(&error) { CommandError::Conflict } else { error.into() });
        }
        let after = recorded.iter().fold(before.clone(), |now, event| Some(Tenant::apply(now, event)));
        let after = after.expect("at least one event was applied");
        projections::write(&mut self.tx, &tables::LIVE, before.is_none(), &after, &recorded).await?;
        sqlx::query("UPDATE saas_heads SET position = ?, hash = ? WHERE name = 'events'")
            .bind(head.position.0)
            .bind(&head.hash[..])
            .execute(&mut *self.tx)
            .await?;
        self.appended = true;
        self.locked = Some(after.clone());
        self.store_trace(&recorded).await?;
        Ok(after)
    }

    /// Stores the trace that the events belong to, if one is recorded. It has a table of its own, because events are
    /// never changed.
    async fn store_trace(&mut self, recorded: &[RecordedEvent]) -> Result<(), sqlx::Error> {
        let Some(traceparent) = traces::current() else { return Ok(()) };
        let mut rows = QueryBuilder::new("INSERT INTO saas_event_traces (position, traceparent, created_at) ");
        rows.push_values(recorded, |mut row, event| {
            row.push_bind(event.position.0).push_bind(&traceparent).push("UTC_TIMESTAMP(6)");
        });
        rows.push(" ON DUPLICATE KEY UPDATE traceparent = VALUES(traceparent), created_at = VALUES(created_at)");
        rows.build().persistent(recorded.len() == 1).execute(&mut *self.tx).await.map(drop)
    }

    /// Rolls back at once. A unit that is merely dropped holds its locks until its connection is cleaned up.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        self.tx.rollback().await
    }

    /// Commits the unit, and then rings the store's bell if events were appended.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        crate::process::failpoint::hit("append.before_commit").await;
        self.tx.commit().await?;
        crate::process::failpoint::hit("append.after_commit").await;
        if self.appended {
            self.bell.notify_waiters();
            self.bell.notify_one();
        }
        Ok(())
    }
}

impl Store {
    /// Runs one command as a unit of its own. If another command created the tenant in between, or the two waited for
    /// each other, it is decided a second time.
    pub async fn execute(&self, id: &TenantId, actor: &str, command: Command) -> Result<Tenant, CommandError> {
        let mut retried = false;
        loop {
            let mut unit = self.begin().await?;
            let result = match unit.execute(id, actor, command.clone()).await {
                Ok(tenant) => unit.commit().await.map(|()| tenant).map_err(CommandError::from),
                Err(error) => {
                    unit.rollback().await?;
                    Err(error)
                }
            };
            match result {
                Err(error) if error.is_conflict() && !retried => retried = true,
                other => return other,
            }
        }
    }
}

pub(super) struct Head {
    pub(super) position: Position,
    hash: chain::Hash,
    now: DateTime<Utc>,
}

/// Takes the lock under which positions are assigned. No other transaction appends until this one ends.
pub(super) async fn lock_head(connection: &mut MySqlConnection) -> Result<Head, sqlx::Error> {
    let row = sqlx::query("SELECT position, hash, UTC_TIMESTAMP(6) FROM saas_heads WHERE name = 'events' FOR UPDATE")
        .fetch_one(connection)
        .await?;
    let hash: Vec<u8> = row.try_get(1)?;
    Ok(Head {
        position: Position(row.try_get(0)?),
        hash: hash
            .try_into()
            .map_err(|_| sqlx::Error::Decode("the hash in saas_heads does not have 32 bytes".into()))?,
        now: row.try_get::<chrono::NaiveDateTime, _>(2)?.and_utc(),
    })
}

/// The `data` member of the event's JSON, as it is stored, published and hashed.
pub(super) fn data_json(event: &TenantEvent) -> String {
    let mut value = serde_json::to_value(event).expect("events are plain data");
    value["data"].take().to_string()
}
