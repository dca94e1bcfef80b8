//! Loads a backup into a database that is not in service, and proves that the database then holds what the backup says.

use super::dump::{self, Line};
use super::error::BackupError;
use super::manifest::{Manifest, StoredBackup};
use super::reader::Reader;
use super::store::{BackupStore, Subject};
use crate::tables::Doing;
use crate::tables::column::Column;
use crate::tables::progress::Progress;
use crate::tables::stored_objects::{self, StoredObject};
use kernel::crypto::KeyRing;
use sqlx::{Executor, MySqlConnection};

/// Bytes that become durable together.
const TOGETHER: usize = 16 << 20;

/// Which stored objects are created when a backup is loaded.
#[derive(Clone, Copy, Debug)]
pub enum LoadObjects<'a> {
    /// None. They cannot move with the tables, so a later step creates them in their final database.
    Later,
    /// All but scheduled events, which would run. Their text may name this database, the tenant's own.
    AllButEvents(&'a str),
    /// All of them.
    All,
}

/// Loads a backup into the empty `database` and compares every table with the manifest.
pub async fn load(
    store: &BackupStore,
    keys: &KeyRing,
    subject: &Subject,
    stored: &StoredBackup,
    connection: &mut MySqlConnection,
    database: &str,
    load_objects: LoadObjects<'_>,
) -> Result<(), BackupError> {
    dump::begin(connection, database).await?;
    let progress = Progress::new("loading", stored.manifest.rows());
    let mut reader = Reader::open(store, keys, subject, stored).await?;
    let loading = || format!("loading into {database}");
    connection.execute("SET SESSION autocommit = 0").await.doing(loading)?;
    let (mut together, mut read, mut objects) = (0, 0, Vec::new());
    while let Some(line) = reader.statement().await? {
        let statement = match Line::read(line)? {
            Line::Object(object) => {
                objects.push(object);
                continue;
            }
            Line::Statement(statement) => statement,
        };
        if statement.starts_with("INSERT INTO `keyless`") && kernel::process::failpoint::fails("restore.lost") {
            continue;
        }
        let doing = || format!("loading into {database} ({})", first_words(&statement));
        let rows = connection.execute(sqlx::raw_sql(&statement)).await.doing(doing)?.rows_affected();
        progress.add(rows, reader.bytes() - read);
        read = reader.bytes();
        together += statement.len();
        if together >= TOGETHER {
            connection.execute("COMMIT").await.doing(loading)?;
            together = 0;
        }
        kernel::process::failpoint::hit("restore.statement").await;
    }
    connection.execute("COMMIT; SET SESSION autocommit = 1").await.doing(loading)?;
    progress.finish();
    compare(&stored.manifest, connection, database, subject).await?;
    match load_objects {
        LoadObjects::Later => Ok(()),
        LoadObjects::AllButEvents(owner) => {
            objects.retain(|object| object.kind != "EVENT");
            Ok(stored_objects::create(connection, database, Some(owner), &objects).await?)
        }
        LoadObjects::All => Ok(stored_objects::create(connection, database, Some(database), &objects).await?),
    }
}

/// The stored objects of a backup, which stand before its rows.
pub async fn objects(
    store: &BackupStore,
    keys: &KeyRing,
    subject: &Subject,
    stored: &StoredBackup,
) -> Result<Vec<StoredObject>, BackupError> {
    let mut all = Vec::new();
    if stored.manifest.objects.is_empty() {
        return Ok(all);
    }
    let mut reader = Reader::open(store, keys, subject, stored).await?;
    while let Some(Line::Object(object)) = reader.statement().await?.map(Line::read).transpose()? {
        all.push(object);
    }
    let as_named = all.iter().map(StoredObject::content).eq(stored.manifest.objects.iter().cloned());
    if as_named {
        Ok(all)
    } else {
        Err(BackupError::Damaged("the backup does not hold the objects that it names".into()))
    }
}

/// The words of a statement up to the name of its table.
fn first_words(statement: &str) -> String {
    let end = statement.match_indices('`').nth(1).map_or(0, |(at, _)| at + 1);
    statement[..end].to_owned()
}

/// Fails unless the database holds the tables that the manifest names, and no others.
pub async fn compare(
    manifest: &Manifest,
    connection: &mut MySqlConnection,
    database: &str,
    subject: &Subject,
) -> Result<(), BackupError> {
    let mut tables = dump::tables(connection, database, subject, &manifest.dialect).await?;
    for expected in &manifest.tables {
        let not_equal = |how: String| BackupError::NotEqual(format!("the table {} {how}", expected.name));
        let Some(table) = tables.remove(&expected.name) else {
            return Err(not_equal("is missing after the backup was loaded".into()));
        };
        let found = dump::content(connection, &expected.name, &table).await?;
        let is_equal = found == *expected
            || table.columns.iter().any(Column::is_foreign_text)
                && dump::content(connection, &expected.name, &table.without_charsets()).await? == *expected;
        if !is_equal {
            return Err(not_equal(format!(
                "has {} rows with checksum {} after the backup was loaded, and had {} with {}",
                found.rows, found.checksum, expected.rows, expected.checksum
            )));
        }
    }
    match tables.keys().next() {
        Some(name) => Err(BackupError::NotEqual(format!("the table {name} is in the database and not in the backup"))),
        None => Ok(()),
    }
}

/// Reads a whole backup and opens every chunk, without a database. Returns how many statements it has.
pub async fn verify(
    store: &BackupStore,
    keys: &KeyRing,
    subject: &Subject,
    stored: &StoredBackup,
) -> Result<u64, BackupError> {
    let mut reader = Reader::open(store, keys, subject, stored).await?;
    let mut statements = 0;
    while reader.statement().await?.is_some() {
        statements += 1;
    }
    Ok(statements)
}
