//! Compares the two ends of a transfer, range by range, and makes the far end like the near one.
//!
//! **Guarantees.** The comparison reads every row, whatever its columns say about the time of its last change: the old
//! tables have no index on those columns, statements by hand do not update them, and deleted rows have none. It skips a
//! range whose rows and checksum agree, and pairs the rows of another range by their keys. It makes a range equal in
//! one transaction, deletions first, so a kill leaves the range as it was. Neither end has more than [`STEP`] rows in a
//! range, so memory is bounded.
//!
//! A unique value that has changed its row may still stand in a row of another range. Then all rows that are not equal
//! are deleted first, range by range, and the next pass writes those that are missing.

use super::copy::{Commit, copy, copy_keys, list};
use super::progress::Progress;
use super::transfer::{End, Range, TableTransfer};
use super::{Doing, TableError};
use serde::Serialize;
use sqlx::{Executor, MySqlConnection, Row};
use std::collections::HashMap;

/// The most rows of a range.
const STEP: u64 = 10_000;

/// The most keys that are named.
const NAMED: usize = 20;

/// The rows of a table or range, counted and checksummed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub rows: u64,
    /// The sum of the rows' checksums, as [`super::transfer`] defines it.
    pub checksum: u128,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.checksum = self.checksum.wrapping_add(other.checksum);
    }
}

/// The differences that a comparison found, or a repair removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Rows that the far end lacked.
    pub missing: u64,
    /// Rows that the far end had with other values.
    pub changed: u64,
    /// Rows that only the far end had.
    pub extra: u64,
    /// Keys of the first twenty such rows.
    pub keys: Vec<String>,
}

/// Whether a comparison makes the far end equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    No,
    Yes,
    /// Yes, but the near end has given keys up to this one only. A row beyond it is of another writer: it stays, and
    /// the comparison fails.
    UpTo(Option<i128>),
}

/// What a comparison does about rows that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It counts them.
    Count,
    /// It deletes those of the far end.
    Remove,
    /// It makes the far end equal.
    Repair,
}

/// How a range is gone through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub mode: Mode,
    /// The highest key that the near end has given, if rows beyond it must stay.
    pub known: Option<Option<i128>>,
    /// What begins and ends the transactions of the writing modes.
    pub commit: Commit,
}

impl Changes {
    pub(super) fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.changed += other.changed;
        self.extra += other.extra;
        let room = NAMED.saturating_sub(self.keys.len());
        self.keys.extend(other.keys.into_iter().take(room));
    }

    /// The rows of a table without a key cannot be paired, so their numbers say what differs.
    pub(super) fn without_key(near: Sum, far: Sum) -> Self {
        Self {
            missing: near.rows.saturating_sub(far.rows),
            extra: far.rows.saturating_sub(near.rows),
            changed: u64::from(near != far && near.rows == far.rows),
            keys: Vec::new(),
        }
    }

    /// Rows that differ.
    pub fn rows(&self) -> u64 {
        self.missing + self.changed + self.extra
    }
}

/// The result of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    pub from: Sum,
    /// The far end before any repair.
    pub to: Sum,
    pub changes: Changes,
}

/// The connections of a comparison.
pub struct Pair<'a> {
    pub from: &'a mut MySqlConnection,
    pub to: &'a mut MySqlConnection,
}

/// Compares the rows of the range `whole`, and by `repair` makes the far end equal.
pub async fn compare(
    transfer: &TableTransfer,
    whole: Range,
    mut pair: Pair<'_>,
    repair: Repair,
    progress: &Progress,
) -> Result<Compared, TableError> {
    if transfer.from.key.is_none() {
        return without_key(transfer, pair, repair != Repair::No, progress).await;
    }
    let known = if let Repair::UpTo(known) = repair { Some(known) } else { None };
    let mode = if repair == Repair::No { Mode::Count } else { Mode::Repair };
    let work = |mode| Work { mode, known, commit: Commit::Chunks };
    let mut found = Compared::default();
    match ranges(transfer, whole, &mut pair, work(mode), progress, &mut found).await {
        Err(error) if mode == Mode::Repair && error.is_duplicate() => {
            pair.to.execute("ROLLBACK").await.doing(|| format!("writing {}", transfer.name))?;
            let first = std::mem::take(&mut found.changes);
            found = Compared::default();
            found.changes = first;
            ranges(transfer, whole, &mut pair, work(Mode::Remove), progress, &mut found).await?;
            // These rows are counted already.
            let mut written = Compared::default();
            ranges(transfer, whole, &mut pair, work(Mode::Repair), &Progress::quiet(), &mut written).await?;
            Ok(found)
        }
        compared => compared.map(|()| found),
    }
}

/// Deletes the rows of the range `whole` of the far end that the near end does not have or has otherwise, so that no
/// unique value of theirs is in the way.
pub async fn remove_unequal(transfer: &TableTransfer, whole: Range, mut pair: Pair<'_>) -> Result<(), TableError> {
    let mut found = Compared::default();
    let work = Work { mode: Mode::Remove, known: None, commit: Commit::Chunks };
    ranges(transfer, whole, &mut pair, work, &Progress::quiet(), &mut found).await
}

/// Goes through the range `whole`, in steps, and adds to `found` what it found.
pub(super) async fn ranges(
    transfer: &TableTransfer,
    whole: Range,
    pair: &mut Pair<'_>,
    work: Work,
    progress: &Progress,
    found: &mut Compared,
) -> Result<(), TableError> {
    let mut after = whole.after;
    loop {
        let rest = Range { after, to: whole.to };
        let (near, far) = tokio::join!(
            bound(pair.from, &transfer.from, &rest, &transfer.name),
            bound(pair.to, &transfer.to, &rest, &transfer.name)
        );
        let to = match (near?, far?) {
            (Some(near), Some(far)) => Some(near.min(far)),
            (near, far) => near.or(far),
        };
        let range = Range { after, to: to.or(whole.to) };
        let (near, far) = tokio::join!(
            sum(pair.from, &transfer.from, &range, &transfer.name),
            sum(pair.to, &transfer.to, &range, &transfer.name)
        );
        let (near, far) = (near?, far?);
        if near != far {
            found.changes.add(pair_rows(transfer, &range, pair, work).await?);
        }
        found.from.add(near);
        found.to.add(far);
        progress.add(near.rows, 0);
        match to {
            Some(to) => after = Some(to),
            None => return Ok(()),
        }
    }
}

/// The key of the last row of the first step of a range, if the range has as many rows.
pub(super) async fn bound(
    connection: &mut MySqlConnection,
    end: &End,
    range: &Range,
    name: &str,
) -> Result<Option<i128>, TableError> {
    let row = connection
        .fetch_optional(sqlx::raw_sql(&end.bound(range, STEP)))
        .await
        .doing(|| format!("reading the keys of {name}"))?;
    row.map(|row| number(&row, 0)).transpose()
}

/// Rows and checksum of a range.
pub async fn sum(connection: &mut MySqlConnection, end: &End, range: &Range, name: &str) -> Result<Sum, TableError> {
    sum_of(connection, &end.checksum(range), name).await
}

/// The same, and nothing changes the range until the transaction ends.
pub(super) async fn sum_locked(
    connection: &mut MySqlConnection,
    end: &End,
    range: &Range,
    name: &str,
) -> Result<Sum, TableError> {
    sum_of(connection, &format!("{} FOR UPDATE", end.checksum(range)), name).await
}

async fn sum_of(connection: &mut MySqlConnection, query: &str, name: &str) -> Result<Sum, TableError> {
    let row = connection.fetch_one(sqlx::raw_sql(query)).await.doing(|| format!("computing the checksum of {name}"))?;
    Ok(Sum { rows: number(&row, 0)?, checksum: number(&row, 1)? })
}

/// The highest key of an end, if it has rows and a key.
pub async fn newest(connection: &mut MySqlConnection, end: &End) -> Result<Option<i128>, TableError> {
    let Some(query) = end.newest() else { return Ok(None) };
    let row = connection.fetch_optional(sqlx::raw_sql(&query)).await?;
    row.map(|row| number(&row, 0)).transpose()
}

fn number<T: std::str::FromStr>(row: &sqlx::mysql::MySqlRow, column: usize) -> Result<T, TableError> {
    let text: &str = row.try_get_unchecked(column)?;
    text.parse().map_err(|_| sqlx::Error::Decode(format!("{text} is no whole number").into()).into())
}

/// Finds the rows of a range that differ, and does about them what `mode` says.
async fn pair_rows(
    transfer: &TableTransfer,
    range: &Range,
    pair: &mut Pair<'_>,
    Work { mode, known, commit }: Work,
) -> Result<Changes, TableError> {
    let mut changes = Changes::default();
    let (near, far) = tokio::join!(hashes(pair.from, &transfer.from, range), hashes(pair.to, &transfer.to, range));
    let (near, mut far) = (near?, far?);
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    for (key, hash) in near {
        match far.remove(&key) {
            Some(other) if other == hash => {}
            Some(_) => {
                changes.changed += 1;
                unwanted.push(key);
                wanted.push(key);
            }
            None => {
                changes.missing += 1;
                wanted.push(key);
            }
        }
    }
    if let Some(known) = known
        && let Some(key) = far.keys().filter(|key| Some(**key) > known).min()
    {
        return Err(TableError::Foreign { table: transfer.name.clone(), key: *key });
    }
    changes.extra += far.len() as u64;
    unwanted.extend(far.into_keys());
    wanted.sort_unstable();
    unwanted.sort_unstable();
    let mut named: Vec<_> = wanted.iter().chain(&unwanted).copied().collect();
    named.sort_unstable();
    named.dedup();
    changes.keys.extend(named.iter().take(NAMED).map(ToString::to_string));
    if mode == Mode::Count || named.is_empty() {
        return Ok(changes);
    }
    let Some(key) = &transfer.to.key else { return Ok(changes) };
    let writing = || format!("writing {}", transfer.name);
    if commit == Commit::Chunks {
        pair.to.execute("START TRANSACTION").await.doing(writing)?;
    }
    for keys in unwanted.chunks(1000) {
        let delete = format!("DELETE FROM {} WHERE {key} IN ({})", transfer.to.table, list(keys));
        pair.to.execute(sqlx::raw_sql(&delete)).await.doing(writing)?;
    }
    if mode == Mode::Repair {
        copy_keys(transfer, &wanted, pair.from, pair.to).await?;
    }
    if commit == Commit::Chunks {
        kernel::process::failpoint::hit("legacy.before_repair").await;
        pair.to.execute("COMMIT").await.doing(writing)?;
    }
    Ok(changes)
}

async fn hashes(
    connection: &mut MySqlConnection,
    end: &End,
    range: &Range,
) -> Result<HashMap<i128, [u8; 32]>, TableError> {
    let rows = connection.fetch_all(sqlx::raw_sql(&end.hashes(range))).await?;
    rows.iter()
        .map(|row| {
            let hash: &[u8] = row.try_get_unchecked(1)?;
            let hash =
                hash.try_into().map_err(|_| sqlx::Error::Decode("a hash was asked for with 32 digits".into()))?;
            Ok((number(row, 0)?, hash))
        })
        .collect()
}

/// Rows without a key cannot be paired: either all of them are equal, or all are written again.
async fn without_key(
    transfer: &TableTransfer,
    pair: Pair<'_>,
    repair: bool,
    progress: &Progress,
) -> Result<Compared, TableError> {
    let all = Range::default();
    let (near, far) = tokio::join!(
        sum(pair.from, &transfer.from, &all, &transfer.name),
        sum(pair.to, &transfer.to, &all, &transfer.name)
    );
    let (from, to) = (near?, far?);
    progress.add(from.rows, 0);
    if from != to && repair {
        rewrite(transfer, pair, progress).await?;
    }
    Ok(Compared { from, to, changes: Changes::without_key(from, to) })
}

/// Writes all rows of a table again, in one transaction: a table without a key has no point from which to continue.
/// Returns how many rows it wrote.
pub async fn rewrite(transfer: &TableTransfer, mut pair: Pair<'_>, progress: &Progress) -> Result<u64, TableError> {
    let writing = || format!("writing {}", transfer.name);
    pair.to.execute("START TRANSACTION").await.doing(writing)?;
    let copied = rewrite_within(transfer, &mut pair, progress).await?;
    pair.to.execute("COMMIT").await.doing(writing)?;
    Ok(copied)
}

/// The same, within the transaction that the caller has begun at the far end.
pub(super) async fn rewrite_within(
    transfer: &TableTransfer,
    pair: &mut Pair<'_>,
    progress: &Progress,
) -> Result<u64, TableError> {
    let writing = || format!("writing {}", transfer.name);
    let delete = format!("DELETE FROM {}", transfer.to.table);
    pair.to.execute(sqlx::raw_sql(&delete)).await.doing(writing)?;
    let mut copied = 0;
    let count = async |_, rows| {
        copied += rows;
        Ok(())
    };
    copy(transfer, Range::default(), pair.from, pair.to, Commit::Caller, progress, count).await?;
    Ok(copied)
}
