//! Copies rows of one table: one connection reads while another writes.
//!
//! **Guarantees.** Values pass as the text that the server gave, so none is converted on the way. Memory is bounded
//! whatever the table's size: at most four statements of about a megabyte each (a longer row is a statement of its
//! own). Rows become durable in chunks. After each chunk the copy calls `committed` with the last key, so the attempt
//! after a kill knows which rows are certainly there.

use super::insert::{Batch, Inserts};
use super::progress::Progress;
use super::session::statement_limit;
use super::transfer::{Range, TableTransfer};
use super::{Doing, TableError};
use futures::StreamExt;
use sqlx::{Executor, MySqlConnection};
use tokio::sync::mpsc;

/// What a statement needs beside its text, in bytes.
const OVERHEAD: usize = 1024;
/// Rows of one query. It streams them while they are written.
const PAGE: u64 = 100_000;
/// Bytes that become durable together, with one wait for the disk.
const CHUNK: u64 = 8 << 20;
/// Statements that wait to be written.
const WAITING: usize = 2;

/// What begins and ends the transactions of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The copy, for each chunk.
    Chunks,
    /// The caller, around all of it.
    Caller,
}

/// Copies the rows of a range in the order of their key. After each commit it calls `committed` with the last key and
/// the number of rows.
pub async fn copy(
    transfer: &TableTransfer,
    range: Range,
    reader: &mut MySqlConnection,
    writer: &mut MySqlConnection,
    commit: Commit,
    progress: &Progress,
    committed: impl AsyncFnMut(Option<i128>, u64) -> Result<(), TableError>,
) -> Result<(), TableError> {
    let limit = statement_limit(writer).await?;
    let (send, receive) = mpsc::channel(WAITING);
    let reading = async {
        let result = read(transfer, range, reader, limit, &send).await;
        // The writer ends when the channel is closed.
        drop(send);
        result
    };
    let (read, written) = tokio::join!(reading, write(transfer, writer, receive, commit, progress, committed));
    // A writer that fails makes the reader fail too, so the writer's reason counts.
    written.and(read)
}

async fn read(
    transfer: &TableTransfer,
    mut range: Range,
    reader: &mut MySqlConnection,
    limit: usize,
    send: &mpsc::Sender<Batch>,
) -> Result<(), TableError> {
    loop {
        let condition = match &transfer.from.key {
            Some(key) => format!("{} ORDER BY {key} LIMIT {PAGE}", transfer.from.within(&range)),
            None => "TRUE".into(),
        };
        let rows = rows_to_batches(transfer, &transfer.read(&condition), reader, limit, send).await?;
        match rows {
            (PAGE, Some(last)) => range.after = Some(last),
            _ => return Ok(()),
        }
    }
}

/// Sends the rows of a query. Returns how many they were, and the key of the last one.
async fn rows_to_batches(
    transfer: &TableTransfer,
    query: &str,
    reader: &mut MySqlConnection,
    limit: usize,
    send: &mpsc::Sender<Batch>,
) -> Result<(u64, Option<i128>), TableError> {
    let mut rows = sqlx::raw_sql(query).fetch(reader);
    let (mut count, mut last) = (0, None);
    let mut inserts = Inserts::new(transfer, limit - OVERHEAD);
    let mut sent = async |batch: Batch| {
        count += batch.rows;
        last = batch.last_key;
        send.send(batch).await.is_ok()
    };
    while let Some(row) = rows.next().await {
        let row = row.doing(|| format!("reading {}", transfer.name))?;
        if let Some(full) = inserts.add(&row)?
            && !sent(full).await
        {
            return Ok((0, None));
        }
    }
    if let Some(batch) = inserts.finish()
        && !sent(batch).await
    {
        return Ok((0, None));
    }
    Ok((count, last))
}

async fn write(
    transfer: &TableTransfer,
    writer: &mut MySqlConnection,
    mut receive: mpsc::Receiver<Batch>,
    commit: Commit,
    progress: &Progress,
    mut committed: impl AsyncFnMut(Option<i128>, u64) -> Result<(), TableError>,
) -> Result<(), TableError> {
    let writing = || format!("writing {}", transfer.name);
    if let Some([begin, _]) = transfer.modes() {
        writer.execute(begin).await.doing(writing)?;
    }
    let (mut open, mut rows, mut bytes, mut last) = (false, 0, 0, None);
    while let Some(batch) = receive.recv().await {
        if !open && commit == Commit::Chunks {
            writer.execute("START TRANSACTION").await.doing(writing)?;
            open = true;
        }
        writer.execute(sqlx::raw_sql(&batch.statement)).await.doing(writing)?;
        progress.add(batch.rows, batch.statement.len() as u64);
        (rows, bytes, last) = (rows + batch.rows, bytes + batch.statement.len() as u64, batch.last_key);
        if open && bytes >= CHUNK {
            kernel::process::failpoint::hit("legacy.before_commit").await;
            writer.execute("COMMIT").await.doing(writing)?;
            kernel::process::failpoint::hit("legacy.after_commit").await;
            committed(last, rows).await?;
            (open, rows, bytes) = (false, 0, 0);
        }
    }
    if open {
        writer.execute("COMMIT").await.doing(writing)?;
    }
    if let Some([_, end]) = transfer.modes() {
        writer.execute(end).await.doing(writing)?;
    }
    if rows > 0 {
        committed(last, rows).await?;
    }
    Ok(())
}

/// Copies the rows with these keys, within the transaction that `writer` has begun.
pub async fn copy_keys(
    transfer: &TableTransfer,
    keys: &[i128],
    reader: &mut MySqlConnection,
    writer: &mut MySqlConnection,
) -> Result<(), TableError> {
    let limit = statement_limit(writer).await?;
    let Some(key) = &transfer.from.key else { return Ok(()) };
    let mode = || format!("writing {}", transfer.name);
    if let Some([begin, _]) = transfer.modes() {
        writer.execute(begin).await.doing(mode)?;
    }
    for keys in keys.chunks(1000) {
        let query = transfer.read(&format!("{key} IN ({}) ORDER BY {key}", list(keys)));
        let (send, mut receive) = mpsc::channel::<Batch>(WAITING);
        let reading = async {
            let result = rows_to_batches(transfer, &query, reader, limit, &send).await;
            drop(send);
            result
        };
        let writing = async {
            while let Some(batch) = receive.recv().await {
                writer.execute(sqlx::raw_sql(&batch.statement)).await.doing(|| format!("writing {}", transfer.name))?;
            }
            Ok::<_, TableError>(())
        };
        let (read, written) = tokio::join!(reading, writing);
        written.and(read.map(drop))?;
    }
    if let Some([_, end]) = transfer.modes() {
        writer.execute(end).await.doing(mode)?;
    }
    Ok(())
}

/// Keys as a list for SQL.
pub fn list(keys: &[i128]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
