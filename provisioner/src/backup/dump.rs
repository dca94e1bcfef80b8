//! One moment of a database as SQL text, a statement a line.
//!
//! **Guarantees.** Definitions, rows and checksums are of the same moment: one connection reads all of them in one transaction
//! that sees one snapshot, and a table that is altered meanwhile makes it fail. Values pass as the text of the server, as they do in the
//! move from the old database ([`crate::legacy::copy`]): same session, same literals, same checksums.
//!
//! **Design note.** A program like mariadb-dump takes its own snapshot, at a moment that nobody else can join; then a checksum
//! of a table in use proves nothing. It would also have to be installed wherever a provisioner runs. `provisioner backup export`
//! prints what is written here, which any client of the server can read.

use super::error::{BackupError, Doing};
use super::manifest::TableContent;
use super::objects::StoredObject;
use super::sink::Sink;
use crate::legacy::destination::statement_limit;
use crate::legacy::lane::{checksum_of, hash_of};
use crate::legacy::schema::{self, Table};
use crate::legacy::source::begin_copying;
use crate::server::MARK_TABLE;
use futures::StreamExt;
use kernel::database;
use kernel::database::sql::{self, push_value};
use sqlx::{Executor, MySqlConnection, Row};
use std::collections::BTreeMap;

/// Bytes of a statement with rows.
const STATEMENT: usize = 1 << 20;

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
    connection.execute(sqlx::raw_sql(&session)).await.doing(|| format!("opening the database {database}")).map(drop)
}

/// The moment from which on `connection` reads; its time, by the server's clock.
pub async fn begin_snapshot(connection: &mut MySqlConnection) -> Result<chrono::DateTime<chrono::Utc>, BackupError> {
    let begin = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                 START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
    connection.execute(sqlx::raw_sql(begin)).await.doing(|| "taking a snapshot".into())?;
    let now: chrono::NaiveDateTime = sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)")
        .fetch_one(connection)
        .await
        .doing(|| "taking a snapshot".into())?;
    Ok(now.and_utc())
}

/// Its tables by name. What is neither a table of the ordinary kind nor a stored object would be lost, and is refused.
pub async fn tables(connection: &mut MySqlConnection, database: &str) -> Result<BTreeMap<String, Table>, BackupError> {
    let mut tables = schema::read(connection, database).await?;
    tables.retain(|name, table| {
        name != MARK_TABLE && name != RESTORING && !name.ends_with(PASSING) && table.kind != "VIEW"
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
    let mut values = Vec::new();
    for column in table.columns.iter().filter(|column| !column.generated) {
        values.push((column, column.exact()?));
    }
    let query = checksum_of(&hash_of(values), &sql::identifier(name)?.to_string(), "TRUE");
    let computing = || format!("computing the checksum of {name}");
    let row = connection.fetch_one(sqlx::raw_sql(&query)).await.doing(computing)?;
    let rows = database::text(&row, 0).doing(computing)?;
    let rows = rows.parse().map_err(|_| sqlx::Error::Decode("a count is no number".into())).doing(computing)?;
    Ok(TableContent { name: name.to_owned(), rows, checksum: database::text(&row, 1).doing(computing)? })
}

/// Writes definition and rows of a table.
pub async fn write(
    connection: &mut MySqlConnection,
    name: &str,
    table: &Table,
    sink: &mut Sink,
) -> Result<(), BackupError> {
    let reading = || format!("reading {name}");
    let limit = statement_limit(connection).await?;
    let quoted = sql::identifier(name)?;
    let row = connection.fetch_one(sqlx::raw_sql(&format!("SHOW CREATE TABLE {quoted}"))).await.doing(reading)?;
    // Outside of what is quoted, where the server writes \n, an end of a line is a blank.
    sink.statement(&database::text(&row, 1).doing(reading)?.replace('\n', " ")).await?;
    let columns: Vec<_> = table.columns.iter().filter(|column| !column.generated).collect();
    let mut names = Vec::new();
    let mut values = Vec::new();
    for column in &columns {
        names.push(sql::identifier(&column.name)?.to_string());
        values.push(column.exact()?);
    }
    let insert = format!("INSERT INTO {quoted} ({}) VALUES ", names.join(", "));
    let mut statement = insert.clone();
    let mut tuple = String::new();
    let select = format!("SELECT {} FROM {quoted}", values.join(", "));
    let mut rows = sqlx::raw_sql(&select).fetch(connection);
    while let Some(row) = rows.next().await {
        let row = row.doing(reading)?;
        tuple.clear();
        for (index, column) in columns.iter().enumerate() {
            tuple.push(if index == 0 { '(' } else { ',' });
            let value: Option<&[u8]> = row.try_get_unchecked(index).doing(reading)?;
            let begun = tuple.len();
            push_value(&mut tuple, value, column.form());
            if tuple[begun..].contains('\n') {
                let line = tuple[begun..].replace('\n', "\\n");
                tuple.truncate(begun);
                tuple.push_str(&line);
            }
        }
        tuple.push(')');
        if insert.len() + tuple.len() > limit {
            return Err(BackupError::Refused(format!(
                "a row of {name} needs {} bytes, more than the server's max_allowed_packet of {limit}: it could not be loaded again",
                tuple.len()
            )));
        }
        if statement.len() > insert.len() {
            if statement.len() + tuple.len() < STATEMENT.min(limit) {
                statement.push(',');
            } else {
                sink.statement(&statement).await?;
                statement.truncate(insert.len());
            }
        }
        statement.push_str(&tuple);
    }
    if statement.len() > insert.len() {
        sink.statement(&statement).await?;
    }
    Ok(())
}
