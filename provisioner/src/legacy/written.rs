//! What the newest pass wrote to the new tables, in the table `saas_legacy_ranges`: an ordinary pass writes only where
//! that still stands.

use super::LegacyError;
use super::parallel::ConnectionSet;
use super::table_plan::TablePlan;
use crate::tables::compare::{Pair, Sum};
use crate::tables::guarded::{self, ReadAt, WrittenRange};
use crate::tables::transfer::TableTransfer;
use sqlx::{Connection, MySqlConnection, Row};

/// Ranges of one statement.
const AT_ONCE: usize = 500;

/// The ranges of a table, in order. None: no pass of a program that records them has written the table.
pub async fn ranges(connection: &mut MySqlConnection, table: &str) -> Result<Vec<WrittenRange>, LegacyError> {
    let rows = sqlx::query(
        "SELECT to_key, written_rows, written_checksum, next_rows, next_checksum FROM saas_legacy_ranges
         WHERE source_table = ? ORDER BY position",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    let next = |row: &sqlx::mysql::MySqlRow| -> Result<Option<Sum>, sqlx::Error> {
        let (rows, checksum): (Option<u64>, Option<String>) = (row.try_get(3)?, row.try_get(4)?);
        let Some((rows, checksum)) = rows.zip(checksum) else { return Ok(None) };
        Ok(Some(Sum { rows, checksum: number(&checksum)? }))
    };
    let range = |row: &sqlx::mysql::MySqlRow| {
        let written = Sum { rows: row.try_get(1)?, checksum: number(row.try_get(2)?)? };
        Ok(WrittenRange { to: number(row.try_get(0)?)?, written, next: next(row)? })
    };
    Ok(rows.iter().map(range).collect::<Result<_, sqlx::Error>>()?)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, sqlx::Error> {
    text.parse().map_err(|_| sqlx::Error::Decode(format!("{text} is no whole number").into()))
}

/// Stores one range of a table.
pub async fn store(
    connection: &mut MySqlConnection,
    table: &str,
    position: usize,
    range: &WrittenRange,
) -> Result<(), sqlx::Error> {
    insert(connection, table, position, std::slice::from_ref(range)).await
}

/// Forgets the ranges of a table, before others are recorded.
async fn forget(connection: &mut MySqlConnection, table: &str) -> Result<(), sqlx::Error> {
    let delete = "DELETE FROM saas_legacy_ranges WHERE source_table = ?";
    sqlx::query(delete).bind(table).execute(connection).await.map(drop)
}

/// Records what the new table holds. `transfer` leads from the source to the new system.
pub async fn record(
    set: &mut ConnectionSet,
    plan: &TablePlan,
    transfer: &TableTransfer,
    read_at: ReadAt,
) -> Result<(), LegacyError> {
    let (from, to, checkpoints) = set.forward(plan);
    let ranges = guarded::written(transfer, &mut Pair { from, to }, read_at).await?;
    let mut transaction = checkpoints.begin().await?;
    forget(&mut transaction, &plan.table).await?;
    for (chunk, ranges) in ranges.chunks(AT_ONCE).enumerate() {
        insert(&mut transaction, &plan.table, chunk * AT_ONCE, ranges).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn insert(
    connection: &mut MySqlConnection,
    table: &str,
    first: usize,
    ranges: &[WrittenRange],
) -> Result<(), sqlx::Error> {
    let rows = vec!["(?, ?, ?, ?, ?, ?, ?)"; ranges.len()].join(", ");
    let insert = format!(
        "INSERT INTO saas_legacy_ranges
            (source_table, position, to_key, written_rows, written_checksum, next_rows, next_checksum) VALUES {rows}
         ON DUPLICATE KEY UPDATE to_key = VALUES(to_key), written_rows = VALUES(written_rows),
            written_checksum = VALUES(written_checksum), next_rows = VALUES(next_rows),
            next_checksum = VALUES(next_checksum)"
    );
    let mut query = sqlx::query(&insert).persistent(false);
    for (position, range) in (first..).zip(ranges) {
        query = query
            .bind(table)
            .bind(position as u64)
            .bind(range.to.to_string())
            .bind(range.written.rows)
            .bind(range.written.checksum.to_string())
            .bind(range.next.map(|next| next.rows))
            .bind(range.next.map(|next| next.checksum.to_string()));
    }
    query.execute(connection).await.map(drop)
}
