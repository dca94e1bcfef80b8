//! A checksum of a table, to the byte: the same for the same rows in any order.
//!
//! The rows are hashed as the bytes that the server sends. So no function of a server and no type of a library decides
//! what is equal: an NFC and an NFD spelling, `a` and `A`, `x` and `x ` differ.

use std::collections::BTreeMap;
use std::hash::Hasher;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, MySqlConnection, Row};

use super::columns::{self, Table};
use super::destination;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub rows: u64,
    /// The sum of the hashes of all rows. An exclusive or would not notice a pair of equal rows.
    pub content: u128,
}

/// The checksums by table.
pub type Sums = BTreeMap<String, Sum>;

/// Computes the checksums of all tables of a database.
pub async fn of_database(root_url: &str, database: &str) -> Result<Sums> {
    let mut connection = connect(root_url).await?;
    let mut sums = Sums::new();
    for table in columns::of(&mut connection, database).await? {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        sums.insert(table.name.clone(), of_table(&mut connection, database, &table.name, &names).await?);
    }
    connection.close().await?;
    Ok(sums)
}

/// Computes the checksums of the same tables where they are in the new system.
pub async fn of_new(new_root_url: &str, tables: &[Table]) -> Result<Sums> {
    let mut connection = connect(new_root_url).await?;
    let mut sums = Sums::new();
    for table in tables {
        let names: Vec<&str> =
            table.columns.iter().map(|column| destination::column(&table.name, &column.name)).collect();
        let database = destination::database(&table.name);
        sums.insert(table.name.clone(), of_table(&mut connection, database, &table.name, &names).await?);
    }
    connection.close().await?;
    Ok(sums)
}

/// The tables of a legacy database.
pub async fn tables(root_url: &str, database: &str) -> Result<Vec<Table>> {
    let mut connection = connect(root_url).await?;
    let tables = columns::of(&mut connection, database).await?;
    connection.close().await?;
    Ok(tables)
}

async fn connect(url: &str) -> Result<MySqlConnection> {
    let options: MySqlConnectOptions = url.parse()?;
    let mut connection = options.database("").disable_statement_logging().connect().await?;
    // NULL disables conversions of the character set. Both sides use one time zone.
    let session = "SET SESSION character_set_results = NULL, time_zone = '+00:00'";
    sqlx::raw_sql(session).execute(&mut connection).await?;
    Ok(connection)
}

/// Computes the checksum of one table, with its columns in this order.
async fn of_table(connection: &mut MySqlConnection, database: &str, table: &str, columns: &[&str]) -> Result<Sum> {
    let query = format!("SELECT `{}` FROM `{database}`.`{table}`", columns.join("`, `"));
    let mut sum = Sum::default();
    // The text protocol sends what the server would print.
    let mut rows = sqlx::raw_sql(&query).fetch(connection);
    while let Some(row) = rows.try_next().await.with_context(|| format!("read {database}.{table}"))? {
        sum.rows += 1;
        let mut hashes = [hasher(1), hasher(2)];
        for index in 0..columns.len() {
            let value: Option<&[u8]> = row.try_get_unchecked(index)?;
            for hash in &mut hashes {
                // The length is hashed too, or text could move from one column to the next unnoticed.
                hash.write_u64(value.map_or(u64::MAX, |bytes| bytes.len() as u64));
                hash.write(value.unwrap_or_default());
            }
        }
        let [high, low] = hashes.map(|hash| u128::from(hash.finish()));
        sum.content = sum.content.wrapping_add(high << 64 | low);
    }
    Ok(sum)
}

fn hasher(key: u8) -> impl Hasher {
    // This is the only hash of the standard library without a random key. Both sides of a comparison are computed in
    // one process.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write_u8(key);
    hasher
}

/// The tables that differ, for a message.
pub fn differences(expected: &Sums, found: &Sums) -> Vec<String> {
    let mut different = Vec::new();
    for (table, expected) in expected {
        match found.get(table) {
            Some(found) if found == expected => {}
            Some(found) if found.rows == expected.rows => {
                different.push(format!("{table}: {} rows on both sides, of different content", found.rows));
            }
            found => different.push(format!(
                "{table}: {} rows, expected {}",
                found.map_or(0, |found| found.rows),
                expected.rows
            )),
        }
    }
    different
}
