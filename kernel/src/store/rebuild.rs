//! Rebuilds the projections from the log in shadow tables, compares them with the live ones, and replaces the rows if
//! requested.
//!
//! **Guarantees.** The code of an append fills the shadows. Both sides are compared at one position, in one snapshot of
//! the database: appends go on meanwhile. Only a repair takes the lock of the head, in which no other transaction
//! appends: for the last events, and for the comparison and the swap of those tables that differ. Readers continue to
//! read the live tables all the time, and see the swap as one change. If a table still differs after the swap, it is
//! rolled back. The shadows are dropped at the end, even after a failure, and the next rebuild
//! drops those of a killed one.
//!
//! **Design note.** Almost all events are applied in batches without any lock, so few events remain for the end. Rows
//! are made event by event and not append by append; both give the same rows, because each row is a function of the
//! events alone.

use super::append::{CommandError, lock_head};
use super::compare::{Difference, compare, swap};
use super::fold::{FoldError, recorded, step};
use super::tables::{PROJECTIONS, SHADOWS};
use super::{projections, read};
use crate::database;
use crate::domain::Position;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Connection, Executor, MySqlConnection, Row};

/// Events that are read at once. An event has at most 64 KB.
const BATCH: u32 = 200;

/// Begins a transaction that reads everything as it is now.
const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT";

/// Why nothing was rebuilt. The live tables are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another process rebuilds this database.
    #[error("another rebuild of this database is running")]
    Running,
    /// The account may not create tables.
    #[error("this account may not create and drop tables here; use the one that migrates")]
    NotAllowed,
    /// The log cannot be read to its end.
    #[error("the log cannot be folded; see `control-plane verify-log`")]
    Log(#[from] FoldError),
    /// A position of the log is missing.
    #[error("the log has no event {0}; see `control-plane verify-log`")]
    Gap(Position),
    /// The rows of an event could not be written, because the log contradicts itself or the database failed.
    #[error("the rows of event {position} cannot be written")]
    Event {
        /// Position of the event.
        position: Position,
        /// Why they could not be written.
        #[source]
        source: CommandError,
    },
    /// The tables still differ after the swap, which was rolled back.
    #[error("the table {0} would differ from the log even after the swap; nothing was changed")]
    NotEqual(&'static str),
    /// The system database failed.
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
}

/// The result of a rebuild.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// The position at which the tables were compared: the head.
    pub position: Position,
    /// The differences of every projected table.
    pub tables: Vec<Difference>,
}

/// Rebuilds all projections and compares them with the live tables. With `repair`, it replaces the rows of tables that
/// differ.
pub async fn rebuild(options: &MySqlConnectOptions, repair: bool) -> Result<Rebuilt, RebuildError> {
    let mut connection = database::connect(options).await?;
    let locked: Option<i64> = sqlx::query("SELECT GET_LOCK(CONCAT('rebuild:', DATABASE()), 0)")
        .fetch_one(&mut connection)
        .await?
        .try_get(0)?;
    if locked != Some(1) {
        return Err(RebuildError::Running);
    }
    let result = rebuild_locked(&mut connection, repair).await;
    // A transaction that failed half-way would block the drop of the tables.
    if sqlx::query("ROLLBACK").execute(&mut connection).await.is_err() {
        connection = database::connect(options).await?;
    }
    let dropped = drop_shadows(&mut connection).await;
    let found = result?;
    dropped?;
    let _ = connection.close().await;
    Ok(found)
}

async fn rebuild_locked(connection: &mut MySqlConnection, repair: bool) -> Result<Rebuilt, RebuildError> {
    drop_shadows(connection).await?;
    for projection in &PROJECTIONS {
        let create = format!("CREATE TABLE {} LIKE {}", projection.shadow(), projection.live());
        sqlx::query(&create).execute(&mut *connection).await.map_err(not_allowed)?;
    }
    crate::process::failpoint::hit("rebuild.shadows").await;
    let mut position = Position(0);
    loop {
        let mut tx = connection.begin().await?;
        let (reached, applied) = apply_batch(&mut tx, position).await?;
        tx.commit().await?;
        position = reached;
        if applied < BATCH {
            break;
        }
    }
    let (position, tables) = compare_in_snapshot(connection, position).await?;
    let differing = |table: &Difference| table.differences > 0;
    if repair && tables.iter().any(differing) {
        swap_differing(connection, position, &tables).await?;
    }
    Ok(Rebuilt { position, tables })
}

/// Brings the shadows from `position` to the head of a snapshot and compares all tables there, without any lock.
/// Returns the position of the head.
async fn compare_in_snapshot(
    connection: &mut MySqlConnection,
    position: Position,
) -> Result<(Position, Vec<Difference>), RebuildError> {
    connection.execute(sqlx::raw_sql(SNAPSHOT)).await?;
    let (head,): (u64,) =
        sqlx::query_as("SELECT position FROM saas_heads WHERE name = 'events'").fetch_one(&mut *connection).await?;
    let position = apply_until(connection, position, Position(head)).await?;
    let mut tables = Vec::with_capacity(PROJECTIONS.len());
    for projection in &PROJECTIONS {
        tables.push(compare(connection, projection).await?);
    }
    crate::process::failpoint::hit("rebuild.compared").await;
    connection.execute("COMMIT").await?;
    Ok((position, tables))
}

/// Replaces the rows of the tables that differ, in one transaction under the lock of the head.
async fn swap_differing(
    connection: &mut MySqlConnection,
    position: Position,
    tables: &[Difference],
) -> Result<(), RebuildError> {
    let mut tx = connection.begin().await?;
    lock_tenants(&mut tx).await?;
    let head = lock_head(&mut tx).await?.position;
    apply_until(&mut tx, position, head).await?;
    for (projection, found) in PROJECTIONS.iter().zip(tables) {
        if found.differences > 0 {
            swap(&mut tx, projection).await?;
            if compare(&mut tx, projection).await?.differences > 0 {
                return Err(RebuildError::NotEqual(projection.table));
            }
        }
    }
    crate::process::failpoint::hit("rebuild.before_commit").await;
    Ok(tx.commit().await?)
}

/// Applies the events up to `head` to the shadows.
async fn apply_until(
    connection: &mut MySqlConnection,
    mut position: Position,
    head: Position,
) -> Result<Position, RebuildError> {
    while position < head {
        position = match apply_batch(connection, position).await? {
            (reached, 1..) => reached,
            (_, 0) => return Err(RebuildError::Gap(position.next())),
        };
    }
    Ok(position)
}

/// Locks the rows of all tenants, which the swap replaces. A command locks its tenant's row before the head, so the
/// swap does too: otherwise each would wait for the other.
async fn lock_tenants(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT tenant_id FROM saas_tenant_snapshots FOR UPDATE").execute(connection).await.map(drop)
}

/// Applies the next events to the shadows. Returns the position reached and the number of events.
async fn apply_batch(connection: &mut MySqlConnection, after: Position) -> Result<(Position, u32), RebuildError> {
    let (mut position, mut applied) = (after, 0);
    for row in read::events_after(connection, after, BATCH).await? {
        if row.position != position.next().0 {
            return Err(RebuildError::Gap(position.next()));
        }
        let event = recorded(&row)?;
        let before = read::snapshot(connection, &SHADOWS, &event.tenant_id).await?;
        let created = before.is_none();
        let tenant = step(before, &event)?;
        position = event.position;
        projections::write(connection, &SHADOWS, created, &tenant, &[event])
            .await
            .map_err(|source| RebuildError::Event { position, source })?;
        applied += 1;
    }
    Ok((position, applied))
}

async fn drop_shadows(connection: &mut MySqlConnection) -> Result<(), RebuildError> {
    for projection in &PROJECTIONS {
        let drop = format!("DROP TABLE IF EXISTS {}", projection.shadow());
        sqlx::query(&drop).execute(&mut *connection).await.map_err(not_allowed)?;
    }
    Ok(())
}

fn not_allowed(error: sqlx::Error) -> RebuildError {
    if matches!(database::number(&error), Some(1142 | 1044)) { RebuildError::NotAllowed } else { error.into() }
}
