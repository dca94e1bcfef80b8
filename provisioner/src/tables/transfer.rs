//! The statements that read, write, delete and checksum the rows of one table, from the near end to the far end.
//!
//! **The checksum of a row** is the SHA-256 of all its columns in the order of the near end. Each value has its length,
//! NULL differs from every value, text is in UTF-8, and its own SHA-256 stands for a long value. The checksum of many
//! rows is the sum of the first 60 bits of theirs, so their order does not matter and two equal rows do not cancel out.
//! Both servers compute it by the same expression, with the names of their own columns. (MD5 would serve as well, but
//! MySQL dropped it in 9.6.)

use super::column::{Column, Family};
use super::schema::Table;
use kernel::database::sql::{self, Form, Unquotable};

/// One end of a transfer.
#[derive(Clone, Debug)]
pub struct End {
    /// Quoted name of the table.
    pub table: String,
    /// Quoted name of the ordering key, if there is one.
    pub key: Option<String>,
    /// Condition that a row must meet to count.
    pub filter: String,
    /// Expression for the SHA-256 of a row, in hexadecimal digits.
    hash: String,
}

/// The transfer of one table's rows.
#[derive(Clone, Debug)]
pub struct TableTransfer {
    /// Name of the table, for messages.
    pub name: String,
    /// The near end, from which rows are read.
    pub from: End,
    /// The far end, to which rows are written.
    pub to: End,
    /// Expressions that read the columns.
    select: Vec<String>,
    /// How a statement writes each column's values.
    pub forms: Vec<Form>,
    /// Index of the key among the columns.
    pub key_index: Option<usize>,
    /// `INSERT INTO t (columns) VALUES `.
    pub insert: String,
    /// The far end computes columns, so its session must be in [`sql::LENIENT_MODE`] while rows are written.
    pub computes: bool,
}

/// Longest text, in bytes, that is part of a row's checksum as it is. Its SHA-256 stands for a longer one.
const SHORT: u64 = 4096;

/// A column of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct TransferColumn<'a> {
    /// Its type at the near end.
    pub column: &'a Column,
    /// Its name at the near end.
    pub from: &'a str,
    /// Its name at the far end.
    pub to: &'a str,
    /// Expression of the near end whose value is written instead of NULL.
    pub null_as: Option<&'a str>,
    /// Text passes as the bytes that it has in the character set that the column has at both ends.
    pub as_bytes: bool,
}

impl<'a> TransferColumn<'a> {
    /// The same column at both ends.
    pub fn same(column: &'a Column) -> Self {
        Self { column, from: &column.name, to: &column.name, null_as: None, as_bytes: column.is_foreign_text() }
    }

    fn form(&self) -> Form {
        if self.as_bytes { Form::Bytes } else { self.column.form() }
    }
}

impl TableTransfer {
    /// A transfer between tables of the same name. `key` is the column that orders the rows. `filter` is the condition
    /// that rows of the near end must meet to count.
    pub fn new(
        table: &str,
        key: Option<&str>,
        filter: String,
        columns: &[TransferColumn<'_>],
    ) -> Result<Self, Unquotable> {
        let (mut select, mut hashed, mut written) = (Vec::new(), Vec::new(), Vec::new());
        for TransferColumn { column, from, to, null_as, as_bytes } in columns {
            let expression = column.exact(from, *as_bytes)?;
            select.push(match null_as {
                Some(instead) => format!("COALESCE({expression}, {instead})"),
                None => expression,
            });
            hashed.push(column.exact(to, *as_bytes)?);
            written.push(sql::identifier(to)?.to_string());
        }
        if select.is_empty() {
            // Every column is computed, so a row says nothing but that it is there.
            select.push("1".into());
        }
        let to = End {
            table: sql::identifier(table)?.to_string(),
            key: key.map(sql::identifier).transpose()?.map(|key| key.to_string()),
            filter: "TRUE".into(),
            hash: row_hash(columns.iter().zip(&hashed)),
        };
        Ok(Self {
            name: table.to_owned(),
            insert: format!("INSERT INTO {} ({}) VALUES ", to.table, written.join(", ")),
            from: End { filter, hash: row_hash(columns.iter().zip(&select)), ..to.clone() },
            to,
            forms: columns.iter().map(TransferColumn::form).collect(),
            select,
            key_index: columns.iter().position(|column| Some(column.from) == key),
            computes: false,
        })
    }

    /// The transfer of all rows of a table to one with the same definition.
    pub fn of_table(name: &str, table: &Table) -> Result<Self, Unquotable> {
        let columns: Vec<_> = table.written_columns().map(TransferColumn::same).collect();
        let transfer = Self::new(name, table.ordering_key(), "TRUE".into(), &columns)?;
        Ok(Self { computes: table.columns.iter().any(|column| column.generated), ..transfer })
    }

    /// The statements that begin and end the writing of rows, where it needs a mode of its own.
    pub fn modes(&self) -> Option<[&'static str; 2]> {
        self.computes.then_some([sql::LENIENT_MODE, sql::COPY_MODE])
    }

    /// The query for rows that meet `condition`.
    pub fn read(&self, condition: &str) -> String {
        format!("SELECT {} FROM {} WHERE {} AND {condition}", self.select.join(", "), self.from.table, self.from.filter)
    }
}

impl End {
    /// The query for rows and checksum of a range: one line of two texts.
    pub fn checksum(&self, range: &Range) -> String {
        checksum_of(&self.hash, &self.table, &self.within(range))
    }

    /// The query for the key and the first 128 bits of the SHA-256 of each row of a range.
    pub fn hashes(&self, range: &Range) -> String {
        let key = self.key.as_deref().unwrap_or("NULL");
        format!("SELECT CAST({key} AS CHAR), LEFT({}, 32) FROM {} WHERE {}", self.hash, self.table, self.within(range))
    }

    /// The query for the key of the `step`-th row of a range.
    pub fn bound(&self, range: &Range, step: u64) -> String {
        let key = self.key.as_deref().unwrap_or("NULL");
        format!(
            "SELECT CAST({key} AS CHAR) FROM {} WHERE {} ORDER BY {key} LIMIT 1 OFFSET {}",
            self.table,
            self.within(range),
            step.saturating_sub(1)
        )
    }

    /// The query for the highest key of a row that counts. It reads from the end of the key, so it is short where most
    /// rows count.
    pub fn newest(&self) -> Option<String> {
        let (table, filter) = (&self.table, &self.filter);
        let of = |key: &str| {
            format!("SELECT CAST({key} AS CHAR) FROM {table} WHERE {filter} ORDER BY {table}.{key} DESC LIMIT 1")
        };
        self.key.as_deref().map(of)
    }

    /// The condition that a row counts and is in a range.
    pub fn within(&self, range: &Range) -> String {
        let mut condition = self.filter.clone();
        if let Some(key) = &self.key {
            if let Some(after) = range.after {
                condition.push_str(&format!(" AND {key} > {after}"));
            }
            if let Some(to) = range.to {
                condition.push_str(&format!(" AND {key} <= {to}"));
            }
        }
        condition
    }
}

/// A range of keys. Without a bound it is open at that end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The key before the first one.
    pub after: Option<i128>,
    /// The last key.
    pub to: Option<i128>,
}

/// The expression for the SHA-256 of a row, from its columns and the expressions that read them.
fn row_hash<'a>(values: impl Iterator<Item = (&'a TransferColumn<'a>, &'a String)>) -> String {
    let piece = |(TransferColumn { column, as_bytes, .. }, value): (&TransferColumn<'_>, &String)| {
        let text = format!("CONVERT({value} USING utf8mb4)");
        let short = column.octets.is_some_and(|octets| octets <= SHORT);
        match column.family() {
            _ if *as_bytes => format!("IFNULL(CONCAT(LENGTH({value}), ':', SHA2({value}, 256)), 'N')"),
            Family::Integer | Family::Decimal | Family::Float | Family::Bits => format!("IFNULL(CONCAT({value}), 'N')"),
            Family::Text if short => format!("IFNULL(CONCAT(LENGTH({text}), ':', {text}), 'N')"),
            Family::Text => format!("IFNULL(CONCAT(LENGTH({text}), ':', SHA2({text}, 256)), 'N')"),
            Family::Bytes => format!("IFNULL(CONCAT(LENGTH({value}), ':', SHA2({value}, 256)), 'N')"),
            Family::Other if column.is_date() => format!("IFNULL(CONCAT({value}), 'N')"),
            Family::Other => format!("IFNULL(CONCAT(LENGTH({text}), ':', SHA2({text}, 256)), 'N')"),
        }
    };
    let mut pieces: Vec<_> = values.map(piece).collect();
    if pieces.is_empty() {
        pieces.push("''".into());
    }
    format!("SHA2(CONCAT_WS('|', {}), 256)", pieces.join(", "))
}

/// The query that counts and checksums rows of `table`. `hash` is the expression for one row.
fn checksum_of(hash: &str, table: &str, condition: &str) -> String {
    format!(
        "SELECT CAST(COUNT(*) AS CHAR), \
                CAST(COALESCE(SUM(CAST(CONV(LEFT({hash}, 15), 16, 10) AS UNSIGNED)), 0) AS CHAR) \
         FROM {table} WHERE {condition}"
    )
}
