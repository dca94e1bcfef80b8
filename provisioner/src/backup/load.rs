//! Loading a backup into a database that nobody uses, and the proof that it holds what the backup says.

use super::dump;
use super::error::{BackupError, Doing};
use super::manifest::{Kept, Manifest};
use super::reader::Reader;
use super::store::{BackupStore, Subject};
use crate::legacy::progress::Progress;
use kernel::crypto::KeyRing;
use sqlx::{Executor, MySqlConnection};

/// Bytes that become durable together.
const TOGETHER: usize = 16 << 20;

/// Loads all of it into the empty `database` and compares every table with the manifest.
pub async fn load(
    store: &BackupStore,
    keys: &KeyRing,
    subject: &Subject,
    kept: &Kept,
    connection: &mut MySqlConnection,
    database: &str,
) -> Result<(), BackupError> {
    dump::begin(connection, database).await?;
    let progress = Progress::new("loading", kept.manifest.rows());
    let mut reader = Reader::open(store, keys, subject, kept).await?;
    let loading = || format!("loading into {database}");
    connection.execute("SET SESSION autocommit = 0").await.doing(loading)?;
    let (mut together, mut read) = (0, 0);
    while let Some(statement) = reader.statement().await? {
        if statement.starts_with("INSERT INTO `keyless`") && kernel::failpoint::fails("restore.lost") {
            continue;
        }
        let rows = connection.execute(sqlx::raw_sql(&statement)).await.doing(loading)?.rows_affected();
        progress.add(rows, reader.bytes() - read);
        read = reader.bytes();
        together += statement.len();
        if together >= TOGETHER {
            connection.execute("COMMIT").await.doing(loading)?;
            together = 0;
        }
        kernel::failpoint::hit("restore.statement").await;
    }
    connection.execute("COMMIT; SET SESSION autocommit = 1").await.doing(loading)?;
    progress.finish();
    compare(&kept.manifest, connection, database).await
}

/// Whether the database holds what the manifest says, table by table.
pub async fn compare(manifest: &Manifest, connection: &mut MySqlConnection, database: &str) -> Result<(), BackupError> {
    let mut contents = dump::contents(connection, database).await?;
    for expected in &manifest.tables {
        let not_equal = |how: String| BackupError::NotEqual(format!("the table {} {how}", expected.name));
        let Some(table) = contents.tables.remove(&expected.name) else {
            return Err(not_equal("is missing after the backup was loaded".into()));
        };
        let found = dump::content(connection, &expected.name, &table).await?;
        if found != *expected {
            return Err(not_equal(format!(
                "has {} rows with checksum {} after the backup was loaded, and had {} with {}",
                found.rows, found.checksum, expected.rows, expected.checksum
            )));
        }
    }
    match contents.tables.keys().next() {
        Some(name) => Err(BackupError::NotEqual(format!("the table {name} is there and not in the backup"))),
        None => Ok(()),
    }
}

/// Reads all of it and opens every chunk, without a database; returns how many statements it has.
pub async fn verify(store: &BackupStore, keys: &KeyRing, subject: &Subject, kept: &Kept) -> Result<u64, BackupError> {
    let mut reader = Reader::open(store, keys, subject, kept).await?;
    let mut statements = 0;
    while reader.statement().await?.is_some() {
        statements += 1;
    }
    Ok(statements)
}
