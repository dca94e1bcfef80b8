//! Rows as `INSERT` statements of about a megabyte each.

use super::transfer::TableTransfer;
use super::{Doing, TableError};
use kernel::database::sql::push_value;
use sqlx::Row;
use sqlx::mysql::MySqlRow;

/// Length of a statement, in bytes, at which the next one begins.
const STATEMENT: usize = 1 << 20;

/// A statement with some rows.
pub struct Batch {
    /// `INSERT INTO ... VALUES (...),(...)`, on one line.
    pub statement: String,
    /// How many rows it has.
    pub rows: u64,
    /// Key of the last of them, if the table has one.
    pub last_key: Option<i128>,
}

/// Collects rows into batches.
pub struct Inserts<'a> {
    transfer: &'a TableTransfer,
    /// The server's longest statement.
    limit: usize,
    batch: Batch,
    row: String,
}

impl<'a> Inserts<'a> {
    /// Begins without rows. No statement is longer than `limit` bytes, which a caller that executes the statements at
    /// once lowers by what a statement needs beside its text.
    pub fn new(transfer: &'a TableTransfer, limit: usize) -> Self {
        Self { transfer, limit, batch: Batch::new(transfer), row: String::new() }
    }

    /// Adds a row that [`TableTransfer::read`] gave. Returns the batch before it, if the row has no room there.
    pub fn add(&mut self, row: &MySqlRow) -> Result<Option<Batch>, TableError> {
        let reading = || format!("reading {}", self.transfer.name);
        let mut key = None;
        self.row.clear();
        self.row.push('(');
        for (index, form) in self.transfer.forms.iter().enumerate() {
            if index > 0 {
                self.row.push(',');
            }
            let value: Option<&[u8]> = row.try_get_unchecked(index).doing(reading)?;
            push_value(&mut self.row, value, *form);
            if Some(index) == self.transfer.key_index {
                key = value.and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| key.parse().ok());
            }
        }
        self.row.push(')');
        if self.transfer.insert.len() + self.row.len() > self.limit {
            return Err(TableError::RowTooLong {
                table: self.transfer.name.clone(),
                key: key.map_or_else(|| "without key".to_owned(), |key| format!("key {key}")),
                bytes: self.row.len(),
                limit: self.limit,
            });
        }
        let full = self.batch.rows > 0 && self.batch.statement.len() + self.row.len() > STATEMENT.min(self.limit);
        let full = full.then(|| std::mem::replace(&mut self.batch, Batch::new(self.transfer)));
        if self.batch.rows > 0 {
            self.batch.statement.push(',');
        }
        self.batch.statement.push_str(&self.row);
        self.batch.rows += 1;
        self.batch.last_key = key;
        Ok(full)
    }

    /// The last batch, if it has rows.
    pub fn finish(self) -> Option<Batch> {
        Some(self.batch).filter(|batch| batch.rows > 0)
    }
}

impl Batch {
    fn new(transfer: &TableTransfer) -> Self {
        let mut statement = String::with_capacity(STATEMENT + STATEMENT / 8);
        statement.push_str(&transfer.insert);
        Self { statement, rows: 0, last_key: None }
    }
}
