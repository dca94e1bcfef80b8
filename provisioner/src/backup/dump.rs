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
use super::store::Subject;
use crate::server::{Dialect, MARKER_TABLE};
use crate::tables::Doing;
use crate::tables::compare::sum;
use crate::tables::definition::read_definition;
use crate::tables::insert::Inserts;
use crate::tables::schema::{self, Table, Tables};
use crate::tables::session::{self, begin_copying, statement_limit};
use crate::tables::stored_objects::StoredObject;
use crate::tables::transfer::{Range, TableTransfer};
use futures::StreamExt;
use kernel::database::{self, sql};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Executor, MySqlConnection};

/// The ending of tables of the system database that a command creates and drops while it runs.
const PASSING: &str = "__rebuild";

/// The table that marks a system database as being restored.
pub const RESTORING: &str = "_restoring";

/// The table that is written last: without it no service accepts a system database.
pub const MIGRATIONS: &str = "saas_schema_migrations";

/// The beginning of the line of a stored object. These lines come first, so that they can be read without the rows. A
/// client of the server takes them for comments.
const OBJECT: &str = "-- object ";

/// The beginning of the line of a statement that has line breaks, which only names can have, as JSON. No client may
/// take a part of it for a statement.
const STATEMENT: &str = "-- statement ";

/// Prepares a session for writing the rows of a dump to `database`.
pub async fn begin(connection: &mut MySqlConnection, database: &str) -> Result<(), BackupError> {
    begin_copying(connection).await?;
    open(connection, database).await
}

/// Prepares a session for reading a dump of `database`.
pub async fn begin_reading(connection: &mut MySqlConnection, database: &str) -> Result<(), BackupError> {
    session::begin_reading(connection).await?;
    open(connection, database).await
}

async fn open(connection: &mut MySqlConnection, database: &str) -> Result<(), BackupError> {
    let session = format!("SET SESSION unique_checks = 0; USE {}", sql::identifier(database)?);
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

/// The tables that a dump holds: all but views, and those that the product itself makes beside its data on a server of
/// this dialect.
pub async fn tables(
    connection: &mut MySqlConnection,
    database: &str,
    subject: &Subject,
    dialect: &str,
) -> Result<Tables, BackupError> {
    let is_ours = |name: &str| match subject {
        Subject::System => name == RESTORING || name.ends_with(PASSING),
        Subject::Tenant(_) => name == MARKER_TABLE && dialect == Dialect::MySql.as_str(),
    };
    let mut tables = schema::read(connection, database).await?;
    tables.retain(|name, table| table.kind != "VIEW" && !is_ours(name));
    Ok(tables)
}

/// Locks the tables of which no snapshot shows one moment, until the returned connection is closed. Writers of these
/// tables wait meanwhile.
pub async fn lock(
    options: &MySqlConnectOptions,
    database: &str,
    tables: &Tables,
) -> Result<Option<MySqlConnection>, BackupError> {
    let mut list = Vec::new();
    // A table without an engine cannot be opened.
    for (name, _) in tables.iter().filter(|(_, table)| !table.has_snapshots() && !table.engine.is_empty()) {
        list.push(format!("{}.{} READ", sql::identifier(database)?, sql::identifier(name)?));
    }
    if list.is_empty() {
        return Ok(None);
    }
    let locking = || format!("locking the tables of {database} that have no snapshots");
    let mut connection = database::connect(options).await.doing(locking)?;
    connection.execute("SET SESSION wait_timeout = 86400").await.doing(locking)?;
    connection.execute(sqlx::raw_sql(&format!("LOCK TABLES {}", list.join(", ")))).await.doing(locking)?;
    Ok(Some(connection))
}

pub async fn write_object(object: &StoredObject, sink: &mut Sink) -> Result<(), BackupError> {
    let json = serde_json::to_string(object).map_err(std::io::Error::from)?;
    sink.statement(&format!("{OBJECT}{json}")).await
}

async fn write_statement(statement: &str, sink: &mut Sink) -> Result<(), BackupError> {
    if !statement.contains('\n') {
        return sink.statement(statement).await;
    }
    let json = serde_json::to_string(statement).map_err(std::io::Error::from)?;
    sink.statement(&format!("{STATEMENT}{json}")).await
}

/// What a line of a dump holds.
pub enum Line {
    Object(StoredObject),
    Statement(String),
}

impl Line {
    pub fn read(line: String) -> Result<Self, BackupError> {
        let parsed = if let Some(json) = line.strip_prefix(OBJECT) {
            serde_json::from_str(json).map(Self::Object)
        } else if let Some(json) = line.strip_prefix(STATEMENT) {
            serde_json::from_str(json).map(Self::Statement)
        } else {
            Ok(Self::Statement(line))
        };
        parsed.map_err(|_| BackupError::Damaged("a line of the backup cannot be read".into()))
    }
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
    write_statement(&on_one_line(&definition), sink).await?;
    let transfer = TableTransfer::of_table(name, table)?;
    if let Some([begin, _]) = transfer.modes() {
        sink.statement(begin).await?;
    }
    let mut inserts = Inserts::new(&transfer, limit);
    let query = transfer.read("TRUE");
    let mut rows = sqlx::raw_sql(&query).fetch(connection);
    while let Some(row) = rows.next().await {
        if let Some(batch) = inserts.add(&row.doing(|| format!("reading {name}"))?)? {
            write_statement(&batch.statement, sink).await?;
        }
    }
    if let Some(batch) = inserts.finish() {
        write_statement(&batch.statement, sink).await?;
    }
    match transfer.modes() {
        Some([_, end]) => sink.statement(end).await,
        None => Ok(()),
    }
}

/// A definition with a blank for each line break, except in names. Other quoted text has no line break, because the
/// server writes \n there.
fn on_one_line(definition: &str) -> String {
    let mut quote = None;
    let mut escaped = false;
    let one_line = definition.chars().map(|letter| {
        match (quote, letter) {
            (None, '\'' | '`') => quote = Some(letter),
            (Some('\''), '\\') if !escaped => {
                escaped = true;
                return letter;
            }
            (Some(open), _) if open == letter && !escaped => quote = None,
            _ => {}
        }
        escaped = false;
        if letter == '\n' && quote.is_none() { ' ' } else { letter }
    });
    one_line.collect()
}

#[cfg(test)]
mod tests {
    use super::on_one_line;

    #[test]
    fn line_breaks_stay_in_names_only() {
        let definition = "CREATE TABLE `a\nb``\n` (\n `c` INT COMMENT 'it''s \\' `\\n',\n `d\ne` INT\n)";
        let expected = "CREATE TABLE `a\nb``\n` (  `c` INT COMMENT 'it''s \\' `\\n',  `d\ne` INT )";
        assert_eq!(on_one_line(definition), expected);
    }
}
