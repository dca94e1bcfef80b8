//! Copies rows of one table: one connection reads while another writes.
//!
//! **Guarantees.** Values pass as the text the server gave, so none is converted on the way. Memory is bounded whatever the
//! table's size: at most four statements of about a megabyte each (a single longer row is a statement of its own). Rows
//! become durable in chunks; after each, `kept` is told the last key, so that whoever comes after a kill knows what is
//! certainly there.

use super::LegacyError;
use super::destination::statement_limit;
use super::error::Doing;
use super::lane::{Lane, Range};
use super::progress::Progress;
use futures::StreamExt;
use kernel::database::sql::push_value;
use sqlx::{Executor, MySqlConnection, Row};
use tokio::sync::mpsc;

/// Bytes of a statement.
const STATEMENT: usize = 1 << 20;
/// Rows read by one query. Their stream goes on while they are written.
const PAGE: u64 = 100_000;
/// Bytes that become durable together: one wait for the disk each.
const CHUNK: u64 = 8 << 20;
/// Statements that wait to be written.
const WAITING: usize = 2;

/// Rows on their way.
struct Batch {
    statement: String,
    rows: u64,
    last_key: Option<i128>,
}

/// Who begins and ends the transactions of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The copy, after each chunk.
    Chunks,
    /// The caller, around all of it.
    Caller,
}

/// Copies the rows of a range in the order of their key. `kept` is called after each commit with the last key and how many
/// rows it was.
pub async fn copy(
    lane: &Lane,
    range: Range,
    reader: &mut MySqlConnection,
    writer: &mut MySqlConnection,
    commit: Commit,
    progress: &Progress,
    kept: impl AsyncFnMut(Option<i128>, u64) -> Result<(), LegacyError>,
) -> Result<(), LegacyError> {
    let limit = statement_limit(writer).await?;
    let (send, receive) = mpsc::channel(WAITING);
    let reading = async {
        let result = read(lane, range, reader, limit, &send).await;
        // The writer ends when nobody can send any more.
        drop(send);
        result
    };
    let (read, written) = tokio::join!(reading, write(lane, writer, receive, commit, progress, kept));
    // A writer that fails makes the reader fail too; its reason is the better one.
    written.and(read)
}

async fn read(
    lane: &Lane,
    mut range: Range,
    reader: &mut MySqlConnection,
    limit: usize,
    send: &mpsc::Sender<Batch>,
) -> Result<(), LegacyError> {
    loop {
        let condition = match &lane.from.key {
            Some(key) => format!("{} ORDER BY {key} LIMIT {PAGE}", lane.from.within(&range)),
            None => "TRUE".into(),
        };
        let rows = rows_to_batches(lane, &lane.read(&condition), reader, limit, send).await?;
        match rows {
            (PAGE, Some(last)) => range.after = Some(last),
            _ => return Ok(()),
        }
    }
}

/// Sends the rows of a query; returns how many they were and the last one's key.
async fn rows_to_batches(
    lane: &Lane,
    query: &str,
    reader: &mut MySqlConnection,
    limit: usize,
    send: &mpsc::Sender<Batch>,
) -> Result<(u64, Option<i128>), LegacyError> {
    let reading = || format!("reading {}", lane.name);
    let mut rows = sqlx::raw_sql(query).fetch(reader);
    let (mut count, mut last) = (0, None);
    let mut batch = Batch::new(lane);
    let mut tuple = String::new();
    while let Some(row) = rows.next().await {
        let row = row.doing(reading)?;
        tuple.clear();
        for (index, form) in lane.forms.iter().enumerate() {
            tuple.push(if index == 0 { '(' } else { ',' });
            let value: Option<&[u8]> = row.try_get_unchecked(index).doing(reading)?;
            push_value(&mut tuple, value, *form);
            if Some(index) == lane.key_index {
                last = value.and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| key.parse().ok());
            }
        }
        tuple.push(')');
        if lane.insert.len() + tuple.len() + 1024 > limit {
            return Err(LegacyError::Stopped(format!(
                "a row of {} ({}) has {} bytes, more than the destination's max_allowed_packet of {limit}: raise it there",
                lane.name,
                last.map_or_else(|| "without key".to_owned(), |key| format!("key {key}")),
                tuple.len()
            )));
        }
        if batch.rows > 0 && batch.statement.len() + tuple.len() > STATEMENT.min(limit - 1024) {
            let full = std::mem::replace(&mut batch, Batch::new(lane));
            if send.send(full).await.is_err() {
                return Ok((0, None));
            }
        }
        batch.add(&tuple, last);
        count += 1;
    }
    if batch.rows > 0 && send.send(batch).await.is_err() {
        return Ok((0, None));
    }
    Ok((count, last))
}

impl Batch {
    fn new(lane: &Lane) -> Self {
        let mut statement = String::with_capacity(STATEMENT + STATEMENT / 8);
        statement.push_str(&lane.insert);
        Self { statement, rows: 0, last_key: None }
    }

    fn add(&mut self, tuple: &str, key: Option<i128>) {
        if self.rows > 0 {
            self.statement.push(',');
        }
        self.statement.push_str(tuple);
        self.rows += 1;
        self.last_key = key;
    }
}

async fn write(
    lane: &Lane,
    writer: &mut MySqlConnection,
    mut receive: mpsc::Receiver<Batch>,
    commit: Commit,
    progress: &Progress,
    mut kept: impl AsyncFnMut(Option<i128>, u64) -> Result<(), LegacyError>,
) -> Result<(), LegacyError> {
    let writing = || format!("writing {}", lane.name);
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
            kept(last, rows).await?;
            (open, rows, bytes) = (false, 0, 0);
        }
    }
    if open {
        writer.execute("COMMIT").await.doing(writing)?;
    }
    if rows > 0 {
        kept(last, rows).await?;
    }
    Ok(())
}

/// Copies the rows of these keys inside the transaction that `writer` is in.
pub async fn copy_keys(
    lane: &Lane,
    keys: &[i128],
    reader: &mut MySqlConnection,
    writer: &mut MySqlConnection,
) -> Result<(), LegacyError> {
    let limit = statement_limit(writer).await?;
    let Some(key) = &lane.from.key else { return Ok(()) };
    for keys in keys.chunks(1000) {
        let query = lane.read(&format!("{key} IN ({}) ORDER BY {key}", list(keys)));
        let (send, mut receive) = mpsc::channel::<Batch>(WAITING);
        let reading = async {
            let result = rows_to_batches(lane, &query, reader, limit, &send).await;
            drop(send);
            result
        };
        let writing = async {
            while let Some(batch) = receive.recv().await {
                writer.execute(sqlx::raw_sql(&batch.statement)).await.doing(|| format!("writing {}", lane.name))?;
            }
            Ok::<_, LegacyError>(())
        };
        let (read, written) = tokio::join!(reading, writing);
        written.and(read.map(drop))?;
    }
    Ok(())
}

/// Keys, separated by commas.
pub fn list(keys: &[i128]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
