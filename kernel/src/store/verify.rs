//! [`verify_log`] checks the event log row by row against its hash chain.
//!
//! **Guarantees.** Every row up to the head is read once, in the order of positions, in batches of bounded size. The
//! result names the first wrong position and what is wrong there: a row is missing, a row was changed (or exchanged
//! with another), a version does not follow, or the head does not belong to the log. Appends continue in the meantime;
//! events after the head that was read are left to the next run.

use super::chain::{self, Hash};
use crate::domain::Position;
use chrono::NaiveDateTime;
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};

/// Rows that are read at once. An event has at most 64 KB.
const BATCH: u32 = 200;

/// What is wrong at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wrong {
    /// The log has no event at this position.
    Missing,
    /// A column of the row does not have its form.
    Unreadable,
    /// The row's hash does not match its columns and the previous row.
    Hash,
    /// The row's version does not follow the previous one in its tenant's stream.
    Version,
    /// The row is newer than the head.
    Beyond,
    /// The rows are correct, but the head has another hash.
    Head,
}

/// The result of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The position of the head when the verification began.
    pub head: Position,
    /// The number of checked rows.
    pub checked: u64,
    /// The first wrong position, and what is wrong there.
    pub wrong: Option<(Position, Wrong)>,
}

/// Checks the log from position `from` on. Earlier rows are trusted: the chain begins with the hash of the row before
/// `from`.
pub async fn verify_log(connection: &mut MySqlConnection, from: Position) -> Result<Verified, sqlx::Error> {
    // One statement, because an append changes both values at once.
    let row = sqlx::query(
        "SELECT position, hash, (SELECT MAX(position) FROM saas_events) FROM saas_heads WHERE name = 'events'",
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else {
        return Ok(Verified { head: Position(0), checked: 0, wrong: Some((Position(0), Wrong::Head)) });
    };
    let head = Position(row.try_get(0)?);
    let newest: Option<u64> = row.try_get(2)?;
    let found = |checked, at, wrong| Ok(Verified { head, checked, wrong: Some((Position(at), wrong)) });

    let mut before = from.0.max(1) - 1;
    let mut hash = match hash_at(connection, before).await? {
        Some(hash) => hash,
        None => return found(0, before, Wrong::Missing),
    };
    let mut checked = 0;
    while before < head.0 {
        let limit = u64::from(BATCH).min(head.0 - before);
        let rows = sqlx::query(
            "SELECT position, version, occurred_at, tenant_id, event_id, event_type, actor, data, hash FROM saas_events
             WHERE position > ? ORDER BY position LIMIT ?",
        )
        .bind(before)
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
        let misplaced = out_of_order(connection, before, before + limit).await?;
        for row in &rows {
            let next = before + 1;
            if row.try_get::<u64, _>(0)? != next {
                return found(checked, next, Wrong::Missing);
            }
            match check(&hash, row) {
                Err(_) => return found(checked, next, Wrong::Unreadable),
                Ok(None) => return found(checked, next, Wrong::Hash),
                Ok(Some(link)) => hash = link,
            }
            if misplaced == Some(next) {
                return found(checked, next, Wrong::Version);
            }
            (before, checked) = (next, checked + 1);
        }
        if (rows.len() as u64) < limit {
            return found(checked, before + 1, Wrong::Missing);
        }
    }
    if newest.unwrap_or_default() > head.0 {
        return found(checked, head.0 + 1, Wrong::Beyond);
    }
    if before == head.0 && row.try_get::<Vec<u8>, _>(1)? != hash {
        return found(checked, head.0, Wrong::Head);
    }
    Ok(Verified { head, checked, wrong: None })
}

/// The row's hash, if it matches the previous hash and the row's columns.
fn check(before: &Hash, row: &MySqlRow) -> Result<Option<Hash>, sqlx::Error> {
    let text = |column: usize| row.try_get::<String, _>(column);
    let (tenant_id, event_id, kind, actor, data) = (text(3)?, text(4)?, text(5)?, text(6)?, text(7)?);
    let columns = chain::Columns {
        position: row.try_get(0)?,
        version: row.try_get(1)?,
        occurred_at_micros: row.try_get::<NaiveDateTime, _>(2)?.and_utc().timestamp_micros(),
        tenant_id: &tenant_id,
        event_id: &event_id,
        kind: &kind,
        actor: &actor,
        data: &data,
    };
    let link = chain::link(before, &columns);
    Ok((row.try_get::<Vec<u8>, _>(8)? == link).then_some(link))
}

/// The first row in `(after, until]` whose tenant does not have the previous version at an earlier position. The chain
/// proves that rows are unchanged, and this check proves that they were written in order.
async fn out_of_order(connection: &mut MySqlConnection, after: u64, until: u64) -> Result<Option<u64>, sqlx::Error> {
    let (position,): (Option<u64>,) = sqlx::query_as(
        "SELECT MIN(e.position) FROM saas_events e
         LEFT JOIN saas_events p ON p.tenant_id = e.tenant_id AND p.version = CAST(e.version AS SIGNED) - 1
         WHERE e.position > ? AND e.position <= ?
           AND (e.version = 0 OR (e.version > 1 AND (p.position IS NULL OR p.position >= e.position)))",
    )
    .bind(after)
    .bind(until)
    .fetch_one(connection)
    .await?;
    Ok(position)
}

/// The hash that the row after `position` continues.
async fn hash_at(connection: &mut MySqlConnection, position: u64) -> Result<Option<Hash>, sqlx::Error> {
    if position == 0 {
        return Ok(Some(chain::FIRST));
    }
    let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT hash FROM saas_events WHERE position = ?")
        .bind(position)
        .fetch_optional(connection)
        .await?;
    Ok(row.and_then(|(hash,)| hash.try_into().ok()))
}
