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
use super::sink::Sink;
use crate::legacy::destination::statement_limit;
use crate::legacy::lane::{checksum_of, hash_of};
use crate::legacy::schema::{self, Table};
use crate::legacy::source::begin_copying;
use crate::server::MARK_TABLE;
use futures::StreamExt;
use kernel::database;
use kernel::sql::{self, push_value};
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

/// What a database holds that belongs into a backup.
pub struct Contents {
    /// Tables by name.
    pub tables: BTreeMap<String, Table>,
    /// What else there is.
    pub left_out: Vec<String>,
}

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

/// What there is.
pub async fn contents(connection: &mut MySqlConnection, database: &str) -> Result<Contents, BackupError> {
    let mut tables = schema::read(connection, database).await?;
    tables.retain(|name, _| name != MARK_TABLE && name != RESTORING && !name.ends_with(PASSING));
    let mut left_out: Vec<String> = tables
        .iter()
        .filter(|(_, table)| table.kind != "BASE TABLE")
        .map(|(name, table)| format!("{} {name}", table.kind.to_lowercase()))
        .collect();
    for (what, list) in [
        ("trigger", "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?"),
        ("routine", "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?"),
        ("event", "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ?"),
    ] {
        let rows = sqlx::query(list).bind(database).fetch_all(&mut *connection).await;
        for row in rows.doing(|| format!("reading what {database} holds"))? {
            let name = database::text(&row, 0).doing(|| format!("reading what {database} holds"))?;
            left_out.push(format!("{what} {name}"));
        }
    }
    tables.retain(|_, table| table.kind == "BASE TABLE");
    Ok(Contents { tables, left_out })
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
