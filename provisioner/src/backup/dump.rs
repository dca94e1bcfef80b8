//! One moment of a database as SQL text, a statement a line.
//!
//! **Guarantees.** Definitions, rows and checksums are of the same moment: one connection reads all of them in one transaction
//! that sees one snapshot, and a table that is altered meanwhile makes it fail. Values pass as the text of the server, as they do in the
//! move from the old database ([`crate::tables::copy`]): same session, same literals, same checksums.
//!
//! **Design note.** A program like mariadb-dump takes its own snapshot, at a moment that nobody else can join; then a checksum
//! of a table in use proves nothing. It would also have to be installed wherever a provisioner runs. `provisioner backup export`
//! prints what is written here, which any client of the server can read.

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

/// Tables that are made and dropped by a command while it runs.
const PASSING: &str = "__rebuild";

/// A table that is there while a system database is being restored.
pub const RESTORING: &str = "_restoring";

/// Written last: without it no service takes a system database for whole.
pub const MIGRATIONS: &str = "saas_schema_migrations";

/// What the line of a stored object begins with. They come first, so that they can be had without reading the rows; to a client of
/// the server they are comments.
const OBJECT: &str = "-- object ";

/// Gives a session the form for reading or writing dumps, in `database`.
pub async fn begin(connection: &mut MySqlConnection, database: &str) -> Result<(), BackupError> {
    begin_copying(connection).await?;
    let session =
        format!("SET SESSION foreign_key_checks = 0, SESSION unique_checks = 0; USE {}", sql::identifier(database)?);
    connection.execute(sqlx::raw_sql(&session)).await.doing(|| format!("opening the database {database}"))?;
    Ok(())
}

/// The moment from which on `connection` reads; its time, by the server's clock.
pub async fn begin_snapshot(connection: &mut MySqlConnection) -> Result<chrono::DateTime<chrono::Utc>, BackupError> {
    session::begin_snapshot(connection).await?;
    let now: chrono::NaiveDateTime = sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)")
        .fetch_one(connection)
        .await
        .doing(|| "taking a snapshot".into())?;
    Ok(now.and_utc())
}

/// Its tables by name. What is neither a table of the ordinary kind nor a stored object would be lost, and is refused.
pub async fn tables(connection: &mut MySqlConnection, database: &str) -> Result<Tables, BackupError> {
    let mut tables = schema::read(connection, database).await?;
    tables.retain(|name, table| {
        name != MARKER_TABLE && name != RESTORING && !name.ends_with(PASSING) && table.kind != "VIEW"
    });
    match tables.iter().find(|(_, table)| table.kind != "BASE TABLE") {
        Some((name, table)) => Err(BackupError::Refused(format!(
            "{name} in {database} is a {}, which cannot be saved as it is: a backup without it would not be whole",
            table.kind.to_lowercase()
        ))),
        None => Ok(tables),
    }
}

/// Writes a stored object.
pub async fn write_object(object: &StoredObject, sink: &mut Sink) -> Result<(), BackupError> {
    let json = serde_json::to_string(object).map_err(std::io::Error::from)?;
    sink.statement(&format!("{OBJECT}{json}")).await
}

/// The stored object that a line of a dump is.
pub fn object(line: &str) -> Result<Option<StoredObject>, BackupError> {
    let json = line.strip_prefix(OBJECT).map(serde_json::from_str).transpose();
    json.map_err(|_| BackupError::Damaged("an object in the backup cannot be read".into()))
}

/// Rows and checksum of a table of the session's database, in the session's snapshot.
pub async fn content(connection: &mut MySqlConnection, name: &str, table: &Table) -> Result<TableContent, BackupError> {
    let transfer = TableTransfer::of_table(name, table)?;
    let sum = sum(connection, &transfer.from, &Range::default(), name).await?;
    Ok(TableContent { name: name.to_owned(), rows: sum.rows, checksum: sum.checksum.to_string() })
}

/// Writes definition and rows of a table.
pub async fn write(
    connection: &mut MySqlConnection,
    name: &str,
    table: &Table,
    sink: &mut Sink,
) -> Result<(), BackupError> {
    let limit = statement_limit(connection).await?;
    let definition = read_definition(connection, name).await?;
    // Outside of what is quoted, where the server writes \n, an end of a line is a blank.
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
