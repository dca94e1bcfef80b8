//! Makes the far end equal to the near one, and leaves what another writer has written to the far end meanwhile.
//!
//! **Guarantees.** The far end is written only where it still holds what the earlier pass wrote. A range of keys is
//! remembered by its rows and their checksum. The pass locks the rows of the range and the gaps between them, computes
//! the checksum under that lock, and writes only if it is the remembered one. Otherwise another writer has inserted,
//! changed or deleted a row there: the range stays as it is, and its rows that differ are reported. Rows beyond the
//! last range cannot be of an earlier pass.
//!
//! The content that a range is about to get is remembered before it is committed. A killed pass has left one of the two
//! contents, and the next pass accepts both.

use super::compare::{
    Changes, Compared, Mode, Pair, Sum, Work, bound, newest, ranges, rewrite_within, sum, sum_locked,
};
use super::copy::Commit;
use super::progress::Progress;
use super::transfer::{Range, TableTransfer};
use super::{Doing, TableError};
use sqlx::Executor;

/// How often a range is tried again after its transaction and another one had waited for each other.
const ATTEMPTS: u32 = 5;

/// What was written to a range of keys, which begins after the last key of the range before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenRange {
    /// Its last key. For a table without a key it says nothing, and there is one range.
    pub to: i128,
    pub written: Sum,
    /// What the pass at work is about to write.
    pub next: Option<Sum>,
}

impl WrittenRange {
    fn accepts(&self, there: Sum) -> bool {
        there == self.written || Some(there) == self.next
    }
}

/// What a pass did.
#[derive(Clone, Debug, Default)]
pub struct Guarded {
    /// The rows that it wrote.
    pub changes: Changes,
    /// Rows that differ, in ranges that another writer has changed. They are as they were.
    pub conflicts: Changes,
}

/// Where the content of the far end is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAt {
    /// At the near end, to which the far end was made equal. What others write to the far end meanwhile is not taken
    /// for content of the pass.
    Near,
    /// At the far end, which was not made equal to the near one, and to which nothing else writes now.
    Far,
}

/// Reads what the far end holds, in ranges of the keys of the near end.
pub async fn written(
    transfer: &TableTransfer,
    pair: &mut Pair<'_>,
    read_at: ReadAt,
) -> Result<Vec<WrittenRange>, TableError> {
    let mut all = Vec::new();
    let newest = newest(pair.from, &transfer.from).await?;
    let mut after = None;
    loop {
        let to = cut(transfer, pair, after, newest).await?;
        // A table without rows has one empty range, which tells it from a table that no pass has written.
        if to.is_none() && !all.is_empty() {
            return Ok(all);
        }
        let range = Range { after, to };
        let written = match read_at {
            ReadAt::Near => sum(pair.from, &transfer.from, &range, &transfer.name).await?,
            ReadAt::Far => sum(pair.to, &transfer.to, &range, &transfer.name).await?,
        };
        all.push(WrittenRange { to: to.unwrap_or_default(), written, next: None });
        if to.is_none() {
            return Ok(all);
        }
        after = to;
    }
}

/// The last key of the next range of the near end, if it has rows beyond `after`.
async fn cut(
    transfer: &TableTransfer,
    pair: &mut Pair<'_>,
    after: Option<i128>,
    newest: Option<i128>,
) -> Result<Option<i128>, TableError> {
    if newest.is_none() || after >= newest {
        return Ok(None);
    }
    let rest = Range { after, to: newest };
    Ok(bound(pair.from, &transfer.from, &rest, &transfer.name).await?.or(newest))
}

/// Makes the far end equal, range by range, where it holds what `written` says. `record` stores a changed range.
pub async fn repair(
    transfer: &TableTransfer,
    pair: Pair<'_>,
    written: Vec<WrittenRange>,
    progress: &Progress,
    record: impl AsyncFnMut(usize, &WrittenRange) -> Result<(), TableError>,
) -> Result<Guarded, TableError> {
    let mut pass = Pass { transfer, pair, written, record, found: Guarded::default() };
    if pass.round(Mode::Repair, progress, false).await? {
        return Ok(pass.found);
    }
    // A unique value has changed its row: the rows that are not equal are deleted first.
    pass.round(Mode::Remove, progress, true).await?;
    let removed = std::mem::take(&mut pass.found.changes);
    pass.round(Mode::Repair, &Progress::quiet(), true).await?;
    Ok(Guarded { changes: removed, ..pass.found })
}

struct Pass<'a, R> {
    transfer: &'a TableTransfer,
    pair: Pair<'a>,
    written: Vec<WrittenRange>,
    record: R,
    found: Guarded,
}

impl<R: AsyncFnMut(usize, &WrittenRange) -> Result<(), TableError>> Pass<'_, R> {
    /// Goes through all ranges. `false`: it met a unique value that stands in another row, and ended there. In the
    /// `last` round such a value belongs to a row of another writer.
    async fn round(&mut self, mode: Mode, progress: &Progress, last: bool) -> Result<bool, TableError> {
        self.found.conflicts = Changes::default();
        let keyless = self.transfer.from.key.is_none();
        let newest = newest(self.pair.from, &self.transfer.from).await?;
        let mut after = None;
        for position in 0.. {
            let to = match self.written.get(position) {
                Some(_) if keyless => None,
                Some(range) => Some(range.to),
                None => cut(self.transfer, &mut self.pair, after, newest).await?,
            };
            let range = Range { after, to };
            match self.range(position, range, mode, progress).await {
                Err(error) if error.is_duplicate() => {
                    self.roll_back().await?;
                    if !last {
                        return Ok(false);
                    }
                    self.conflict(range).await?;
                }
                done => done?,
            }
            if to.is_none() {
                break;
            }
            after = to;
        }
        Ok(true)
    }

    async fn range(
        &mut self,
        position: usize,
        range: Range,
        mode: Mode,
        progress: &Progress,
    ) -> Result<(), TableError> {
        let TableTransfer { from, to, name, .. } = self.transfer;
        let (near, far) = tokio::join!(sum(self.pair.from, from, &range, name), sum(self.pair.to, to, &range, name));
        let (near, far) = (near?, far?);
        progress.add(near.rows, 0);
        if near == far {
            let equal = WrittenRange { to: range.to.unwrap_or_default(), written: near, next: None };
            // Beyond the last key of the near end there is nothing to remember.
            let is_known = self.written.get(position) == Some(&equal);
            return if is_known || self.is_beyond(position, range) {
                Ok(())
            } else {
                self.store(position, equal).await
            };
        }
        for attempt in 1.. {
            match self.write(position, range, mode).await {
                Err(error) if error.is_deadlock() && attempt < ATTEMPTS => self.roll_back().await?,
                done => return done,
            }
        }
        Ok(())
    }

    /// Whether the range is the open one behind the ranges that have rows.
    fn is_beyond(&self, position: usize, range: Range) -> bool {
        range.to.is_none() && position >= self.written.len()
    }

    async fn write(&mut self, position: usize, range: Range, mode: Mode) -> Result<(), TableError> {
        let writing = || format!("writing {}", self.transfer.name);
        // The lock of a gap, which an INSERT would need, exists at this level of isolation.
        let begin = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION";
        self.pair.to.execute(sqlx::raw_sql(begin)).await.doing(writing)?;
        let there = sum_locked(self.pair.to, &self.transfer.to, &range, &self.transfer.name).await?;
        let known = self.written.get(position).cloned();
        let known =
            known.unwrap_or(WrittenRange { to: range.to.unwrap_or_default(), written: Sum::default(), next: None });
        if !known.accepts(there) {
            self.roll_back().await?;
            if self.written.get(position).is_none() && !self.is_beyond(position, range) {
                self.store(position, known).await?;
            }
            return self.conflict(range).await;
        }
        let found = self.make_equal(range, mode).await?;
        let after = sum(self.pair.to, &self.transfer.to, &range, &self.transfer.name).await?;
        self.store(position, WrittenRange { written: there, next: Some(after), ..known }).await?;
        kernel::process::failpoint::hit("legacy.before_repair").await;
        self.pair.to.execute("COMMIT").await.doing(writing)?;
        kernel::process::failpoint::hit("legacy.after_repair").await;
        self.found.changes.add(found);
        Ok(())
    }

    /// Writes the range within the transaction.
    async fn make_equal(&mut self, range: Range, mode: Mode) -> Result<Changes, TableError> {
        let Pair { from, to } = &mut self.pair;
        let mut pair = Pair { from, to };
        if self.transfer.from.key.is_none() {
            let near = sum(pair.from, &self.transfer.from, &range, &self.transfer.name).await?;
            let far = sum(pair.to, &self.transfer.to, &range, &self.transfer.name).await?;
            rewrite_within(self.transfer, &mut pair, &Progress::quiet()).await?;
            return Ok(Changes::without_key(near, far));
        }
        let mut compared = Compared::default();
        let work = Work { mode, known: None, commit: Commit::Caller };
        ranges(self.transfer, range, &mut pair, work, &Progress::quiet(), &mut compared).await?;
        Ok(compared.changes)
    }

    /// Counts the rows of a range that another writer has changed.
    async fn conflict(&mut self, range: Range) -> Result<(), TableError> {
        let Pair { from, to } = &mut self.pair;
        let mut pair = Pair { from, to };
        if self.transfer.from.key.is_none() {
            let near = sum(pair.from, &self.transfer.from, &range, &self.transfer.name).await?;
            let far = sum(pair.to, &self.transfer.to, &range, &self.transfer.name).await?;
            self.found.conflicts.add(Changes::without_key(near, far));
            return Ok(());
        }
        let mut compared = Compared::default();
        let work = Work { mode: Mode::Count, known: None, commit: Commit::Caller };
        ranges(self.transfer, range, &mut pair, work, &Progress::quiet(), &mut compared).await?;
        self.found.conflicts.add(compared.changes);
        Ok(())
    }

    async fn store(&mut self, position: usize, range: WrittenRange) -> Result<(), TableError> {
        (self.record)(position, &range).await?;
        match self.written.get_mut(position) {
            Some(known) => *known = range,
            None => self.written.push(range),
        }
        Ok(())
    }

    async fn roll_back(&mut self) -> Result<(), TableError> {
        self.pair.to.execute("ROLLBACK").await.doing(|| format!("writing {}", self.transfer.name)).map(drop)
    }
}
