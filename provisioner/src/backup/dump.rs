//! One moment of a database as SQL text, one statement a line.
//!
//! **Guarantees.** Definitions, rows and checksums are of the same moment: one connection reads all of them in one
//! transaction that sees one snapshot, and the dump fails if a table is altered meanwhile. Values pass as the text of
//! the server, by the same sessions, literals and checksums as everywhere ([`crate::tables`]).
//!
//! **Design note.** A program like mariadb-dump takes its own snapshot, which no other connection can join, so a
//! checksum of a table in use would prove nothing. It would also have to be installed wherever a provisioner runs.
//! `provisioner backup export` prints the dump as text that any client of the server can read.

use super::error::BackupError;
use super::manifest::TableContent;
use super::sink::Sink;
use crate::server::MARKER_TABLE;
use crate::tables::Doing;
use crate::tables::compare::sum;
use crate::tables::definition::read_definition;
use crate::tables::insert::Inserts;
use crate::tables::schema::{self, Table, Tables};
use crate::tables::session::{self, begin_copying, statement_limit};
use crate::tables::stored_objects::StoredObject;
use crate::tables::transfer::{Range, TableTransfer};
use futures::StreamExt;
use kernel::database::sql;
use sqlx::{Executor, MySqlConnection};

/// The ending of tables that a command creates and drops while it runs.
const PASSING: &str = "__rebuild";

/// The table that marks a system database as being restored.
pub const RESTORING: &str = "_restoring";

/// The table that is written last: without it no service accepts a system database.
pub const MIGRATIONS: &str = "saas_schema_migrations";

/// The beginning of the line of a stored object. These lines come first, so that they can be read without the rows. A
/// client of the server takes them for comments.
const OBJECT: &str = "-- object ";

/// Prepares a session for reading or writing a dump of `database`.
pub async fn begin(connection: &mut MySqlConnection, database: &str) -> Result<(), BackupError> {
    begin_copying(connection).await?;
    let session =
        format!("SET SESSION foreign_key_checks = 0, SESSION unique_checks = 0; USE {}", sql::identifier(database)?);
    connection.execute(sqlx::raw_sql(&session)).await.doing(|| format!("opening the database {database}"))?;
    Ok(())
}

/// Begins the snapshot that `connection` reads. Returns its time by the server's clock.
pub async fn begin_snapshot(connection: &mut MySqlConnection) -> Result<chrono::DateTime<chrono::Utc>, BackupError> {
    session::begin_snapshot(connection).await?;
    let now: chrono::NaiveDateTime = sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)")
        .fetch_one(connection)
        .await
        .doing(|| "taking a snapshot".into())?;
    Ok(now.and_utc())
}

/// The tables that a dump holds. Refuses a database with anything that is neither an ordinary table nor a stored
/// object, because the backup would lose it.
pub async fn tables(connection: &mut MySqlConnection, database: &str) -> Result<Tables, BackupError> {
    let mut tables = schema::read(connection, database).await?;
    tables.retain(|name, table| {
        name != MARKER_TABLE && name != RESTORING && !name.ends_with(PASSING) && table.kind != "VIEW"
    });
    match tables.iter().find(|(_, table)| table.kind != "BASE TABLE") {
        Some((name, table)) => Err(BackupError::Refused(format!(
            "{name} in {database} is a {}, which a backup cannot hold",
            table.kind.to_lowercase()
        ))),
        None => Ok(tables),
    }
}

pub async fn write_object(object: &StoredObject, sink: &mut Sink) -> Result<(), BackupError> {
    let json = serde_json::to_string(object).map_err(std::io::Error::from)?;
    sink.statement(&format!("{OBJECT}{json}")).await
}

/// The stored object in a line of a dump, if it is one.
pub fn object(line: &str) -> Result<Option<StoredObject>, BackupError> {
    let json = line.strip_prefix(OBJECT).map(serde_json::from_str).transpose();
    json.map_err(|_| BackupError::Damaged("an object in the backup cannot be read".into()))
}

/// Rows and checksum of a table, in the snapshot of the session.
pub async fn content(connection: &mut MySqlConnection, name: &str, table: &Table) -> Result<TableContent, BackupError> {
    let transfer = TableTransfer::of_table(name, table)?;
    let sum = sum(connection, &transfer.from, &Range::default(), name).await?;
    Ok(TableContent { name: name.to_owned(), rows: sum.rows, checksum: sum.checksum.to_string() })
}

/// Writes the definition and the rows of a table.
pub async fn write(
    connection: &mut MySqlConnection,
    name: &str,
    table: &Table,
    sink: &mut Sink,
) -> Result<(), BackupError> {
    let limit = statement_limit(connection).await?;
    let definition = read_definition(connection, name).await?;
    // Quoted text has no line break, because the server writes \n there. Elsewhere a line break is a blank.
    sink.statement(&definition.replace('\n', " ")).await?;
    let transfer = TableTransfer::of_table(name, table)?;
    let mut inserts = Inserts::new(&transfer, limit);
    let query = transfer.read("TRUE");
    let mut rows = sqlx::raw_sql(&query).fetch(connection);
    while let Some(row) = rows.next().await {
        if let Some(batch) = inserts.add(&row.doing(|| format!("reading {name}"))?)? {
            sink.statement(&batch.statement).await?;
        }
    }
    match inserts.finish() {
        Some(batch) => sink.statement(&batch.statement).await,
        None => Ok(()),
    }
}
