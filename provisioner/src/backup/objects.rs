//! What a database holds besides tables: views, routines, triggers and scheduled events. Our schema has none; whoever works on
//! a tenant's database may have made some.
//!
//! **Guarantees.** What is read is made again with the same text, `sql_mode`, collations and time zone, and read once more: it is the
//! same, or it is an error. The definer is whoever restores, because the former one may not exist on the server, and a view whose definer is
//! missing answers nobody: so what a tenant's own account could read through a view it can read again. Nothing is made that names
//! another tenant's database, which the new definer could reach and the former one perhaps could not.

use super::error::{BackupError, Doing};
use kernel::database::sql::{self, COPY_SESSION};
use kernel::database::{self, text};
use kernel::domain::DATABASE_PREFIX;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::mysql::MySqlRow;
use sqlx::{Executor, MySqlConnection, Row};
use std::fmt::Write;

/// The server's word for a view that refers to what is not there, or may not be read by its definer.
const DOES_NOT_WORK: u16 = 1356;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// What it is, as in `DROP`: `VIEW`, `PROCEDURE`, `FUNCTION`, `PACKAGE`, `PACKAGE BODY`, `TRIGGER`, `EVENT`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The statement that makes it, without a definer.
    pub statement: String,
    /// The mode its text is to be read in; a view's text is the server's own.
    pub sql_mode: Option<String>,
    /// Collation of the session that made it: its literals are of this.
    pub collation: String,
    /// Collation that its database had then: its parameters are of this.
    pub database_collation: Option<String>,
    /// Time zone of a scheduled event's times.
    pub time_zone: Option<String>,
    /// Who made it. Not brought back.
    pub definer: Option<String>,
}

/// What a manifest says of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectContent {
    /// See [`StoredObject::kind`].
    pub kind: String,
    /// Its name.
    pub name: String,
    /// SHA-256 of what makes it what it is.
    pub checksum: String,
}

/// What there is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// In an order in which they can be made.
    pub all: Vec<StoredObject>,
    /// Views that answer nobody any more: they could not be made again.
    pub broken: Vec<String>,
}

impl StoredObject {
    /// What a manifest says of it.
    pub fn content(&self) -> ObjectContent {
        let mut hash = Sha256::new();
        let options = [&self.sql_mode, &self.database_collation, &self.time_zone];
        let texts = [&self.statement, &self.collation].into_iter().chain(options.into_iter().flatten());
        for text in texts {
            hash.update(text.len().to_le_bytes());
            hash.update(text.as_bytes());
        }
        ObjectContent { kind: self.kind.clone(), name: self.name.clone(), checksum: hex::encode(hash.finalize()) }
    }

    /// As a statement for a client of the server, which must be told where it ends.
    pub fn for_a_client(&self) -> Result<String, BackupError> {
        Ok(format!("{};\nDELIMITER ;;\n{};;\nDELIMITER ;", self.session()?, self.statement))
    }

    /// The session to make it in.
    fn session(&self) -> Result<String, BackupError> {
        let mut session = format!("SET SESSION collation_connection = {}", sql::literal(&self.collation)?);
        for (variable, value) in [("sql_mode", &self.sql_mode), ("time_zone", &self.time_zone)] {
            if let Some(value) = value {
                let _ = write!(session, ", SESSION {variable} = {}", sql::literal(value)?);
            }
        }
        Ok(session)
    }

    /// A name of another tenant's database in its text, if there is one. `database` is the tenant's own.
    fn stranger(&self, database: &str) -> Option<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let text = self.statement.to_ascii_lowercase();
        let found = text.match_indices(DATABASE_PREFIX).map(|(at, _)| {
            let rest = &text[at..];
            &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())]
        });
        found.filter(|name| *name != database).map(str::to_owned).next()
    }

    /// A one-time event whose time is over is not there after it was made.
    fn may_pass(&self) -> bool {
        self.kind == "EVENT" && self.statement.contains(" ON SCHEDULE AT ")
    }
}

impl std::fmt::Display for StoredObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.to_ascii_lowercase(), self.name)
    }
}

/// All of a database, which the session uses.
pub async fn read(connection: &mut MySqlConnection, database: &str) -> Result<Objects, BackupError> {
    let mut objects = Objects::default();
    let routines = "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?
                    ORDER BY ROUTINE_TYPE, ROUTINE_NAME";
    for row in list(connection, routines, database).await? {
        let (kind, name) = pair(&row)?;
        let row = show(connection, &kind, &name).await?;
        objects.all.push(object(&kind, &name, &row, [Some(1), Some(2), Some(4), Some(5), None])?);
    }
    let mut views = Vec::new();
    let query = "SELECT 'VIEW', TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME";
    for row in list(connection, query, database).await? {
        let (kind, name) = pair(&row)?;
        let look = format!("SELECT 1 FROM {} LIMIT 0", sql::identifier(&name)?);
        match connection.execute(sqlx::raw_sql(&look)).await {
            Err(error) if database::number(&error) == Some(DOES_NOT_WORK) => {
                objects.broken.push(format!("view {name}: it refers to what is not there"));
                continue;
            }
            // One whose definer is gone is made anew with another.
            _ => {}
        }
        let row = show(connection, &kind, &name).await?;
        views.push(object(&kind, &name, &row, [None, Some(1), Some(3), None, None])?);
    }
    in_order(&mut views);
    objects.all.append(&mut views);
    objects.all.append(&mut triggers(connection, database).await?);
    let query = "SELECT 'EVENT', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ? ORDER BY EVENT_NAME";
    for row in list(connection, query, database).await? {
        let (kind, name) = pair(&row)?;
        let row = show(connection, &kind, &name).await?;
        objects.all.push(object(&kind, &name, &row, [Some(1), Some(3), Some(5), Some(6), Some(2)])?);
    }
    Ok(objects)
}

/// Makes them in a database without any, which the session uses, and looks whether they are what was to be made. `own`: the tenant's own
/// database, which is the only one of a tenant that their text may name; `None`: they were in use here a moment ago, whatever they name.
pub async fn create(
    connection: &mut MySqlConnection,
    database: &str,
    own: Option<&str>,
    objects: &[StoredObject],
) -> Result<(), BackupError> {
    if objects.is_empty() {
        return Ok(());
    }
    make(connection, database, own, objects).await?;
    compare(connection, database, objects).await
}

/// Makes again those of `objects` that are not there.
pub async fn complete(
    connection: &mut MySqlConnection,
    database: &str,
    objects: &[StoredObject],
) -> Result<(), BackupError> {
    let found = read(connection, database).await?.all;
    let there = |one: &StoredObject| found.iter().any(|other| (&other.kind, &other.name) == (&one.kind, &one.name));
    let missing: Vec<_> = objects.iter().filter(|object| !there(object)).cloned().collect();
    make(connection, database, None, &missing).await?;
    compare(connection, database, objects).await
}

async fn make(
    connection: &mut MySqlConnection,
    database: &str,
    own: Option<&str>,
    objects: &[StoredObject],
) -> Result<(), BackupError> {
    for object in objects {
        if let Some(stranger) = own.and_then(|own| object.stranger(own)) {
            return Err(BackupError::Refused(format!(
                "the {object} names the database {stranger}, which is another tenant's: change or drop it there, and take a new backup"
            )));
        }
    }
    let mut waiting: Vec<&StoredObject> = objects.iter().collect();
    while !waiting.is_empty() {
        let (mut later, mut reason) = (Vec::new(), None);
        for object in &waiting {
            match create_one(connection, database, object).await {
                Ok(()) => {}
                // Perhaps it stands on another one.
                Err(error) if object.kind == "VIEW" => {
                    reason.get_or_insert(error);
                    later.push(*object);
                }
                Err(error) => return Err(error),
            }
        }
        match reason {
            Some(error) if later.len() == waiting.len() => return Err(error),
            _ => waiting = later,
        }
    }
    Ok(())
}

/// Whether a database holds these and no others.
pub async fn compare(
    connection: &mut MySqlConnection,
    database: &str,
    expected: &[StoredObject],
) -> Result<(), BackupError> {
    let found = read(connection, database).await?.all;
    let of = |all: &[StoredObject], one: &StoredObject| {
        all.iter().find(|other| (&other.kind, &other.name) == (&one.kind, &one.name)).cloned()
    };
    for object in expected {
        match of(&found, object) {
            None if object.may_pass() => {}
            // A schedule's begin is when it was made.
            Some(_) if object.kind == "EVENT" => {}
            Some(same) if same.content() == object.content() => {}
            Some(_) => return Err(BackupError::NotEqual(format!("the {object} is not what it was"))),
            None => return Err(BackupError::NotEqual(format!("the {object} is missing"))),
        }
    }
    match found.iter().find(|object| of(expected, object).is_none()) {
        Some(object) => Err(BackupError::NotEqual(format!("the {object} is there and was not before"))),
        None => Ok(()),
    }
}

/// Removes all of them, also views that do not work. MySQL lets nobody drop a routine or trigger of an account with SYSTEM_USER (root has it)
/// who has not that right too.
pub async fn drop_all(connection: &mut MySqlConnection, database: &str) -> Result<(), BackupError> {
    let query = "SELECT 'EVENT', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ?
        UNION ALL SELECT 'TRIGGER', TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?
        UNION ALL SELECT 'VIEW', TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ?
        UNION ALL SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?";
    let rows = sqlx::query(query).bind(database).bind(database).bind(database).bind(database);
    for row in rows.fetch_all(&mut *connection).await.doing(|| format!("reading what {database} holds"))? {
        let (kind, name) = pair(&row)?;
        let drop = format!("DROP {kind} IF EXISTS {}.{}", sql::identifier(database)?, sql::identifier(&name)?);
        connection.execute(sqlx::raw_sql(&drop)).await.doing(|| format!("dropping {name}"))?;
    }
    Ok(())
}

async fn create_one(
    connection: &mut MySqlConnection,
    database: &str,
    object: &StoredObject,
) -> Result<(), BackupError> {
    let making = || format!("making the {object}");
    let present = "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?";
    let row = sqlx::query(present).bind(database).fetch_one(&mut *connection).await.doing(making)?;
    let present = text(&row, 0).doing(making)?;
    let other = object.database_collation.as_ref().filter(|collation| **collation != present);
    if let Some(collation) = other {
        collate(connection, database, collation).await.doing(making)?;
    }
    connection.execute(sqlx::raw_sql(&object.session()?)).await.doing(making)?;
    let made = connection.execute(sqlx::raw_sql(&object.statement)).await;
    connection.execute(sqlx::raw_sql(&format!("SET NAMES utf8mb4; {COPY_SESSION}"))).await.doing(making)?;
    if other.is_some() {
        collate(connection, database, &present).await.doing(making)?;
    }
    made.doing(making).map(drop)
}

/// Sets what a database's new tables and parameters are sorted by; its mark stays.
async fn collate(connection: &mut MySqlConnection, database: &str, collation: &str) -> Result<(), sqlx::Error> {
    let unfit = |error: sql::Unquotable| sqlx::Error::Encode(error.into());
    let (name, collation) = (sql::identifier(database).map_err(unfit)?, sql::literal(collation).map_err(unfit)?);
    connection.execute(sqlx::raw_sql(&format!("ALTER DATABASE {name} COLLATE = {collation}"))).await.map(drop)
}

async fn triggers(connection: &mut MySqlConnection, database: &str) -> Result<Vec<StoredObject>, BackupError> {
    let query =
        "SELECT TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_STATEMENT, SQL_MODE,
                        COLLATION_CONNECTION, DATABASE_COLLATION, DEFINER
                 FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?
                 ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER";
    let mut all = Vec::new();
    for row in list(connection, query, database).await? {
        let column = |column| text(&row, column).doing(|| "reading triggers".into());
        let (name, table) = (column(0)?, column(3)?);
        let statement = format!(
            "CREATE TRIGGER {} {} {} ON {} FOR EACH ROW {}",
            sql::identifier(&name)?,
            column(1)?,
            column(2)?,
            sql::identifier(&table)?,
            without_end(&column(4)?)
        );
        all.push(StoredObject {
            kind: "TRIGGER".into(),
            name,
            statement,
            sql_mode: Some(column(5)?),
            collation: column(6)?,
            database_collation: Some(column(7)?),
            time_zone: None,
            definer: Some(column(8)?),
        });
    }
    Ok(all)
}

async fn list(connection: &mut MySqlConnection, query: &str, database: &str) -> Result<Vec<MySqlRow>, BackupError> {
    let rows = sqlx::query(query).bind(database).fetch_all(connection).await;
    rows.doing(|| format!("reading what {database} holds"))
}

fn pair(row: &MySqlRow) -> Result<(String, String), BackupError> {
    let column = |column| text(row, column).doing(|| "reading what a database holds".into());
    Ok((column(0)?, column(1)?))
}

async fn show(connection: &mut MySqlConnection, kind: &str, name: &str) -> Result<MySqlRow, BackupError> {
    let show = format!("SHOW CREATE {kind} {}", sql::identifier(name)?);
    connection.fetch_one(sqlx::raw_sql(&show)).await.doing(|| format!("reading the {} {name}", kind.to_lowercase()))
}

/// From the answer to `SHOW CREATE`, by the places of mode, statement, both collations and time zone.
fn object(
    kind: &str,
    name: &str,
    row: &MySqlRow,
    [sql_mode, statement, collation, database_collation, time_zone]: [Option<usize>; 5],
) -> Result<StoredObject, BackupError> {
    let what = format!("{} {name}", kind.to_lowercase());
    let column = |at: Option<usize>| match at {
        Some(at) => row.try_get_unchecked::<Option<String>, _>(at).doing(|| format!("reading the {what}")),
        None => Ok(None),
    };
    let statement = column(statement)?.ok_or_else(|| {
        BackupError::Refused(format!(
            "the {what} cannot be saved: the account may not read its text (deploy/sql/tenants.sql has the right it needs)"
        ))
    })?;
    let (statement, definer) = without_definer(without_end(&statement));
    Ok(StoredObject {
        kind: kind.to_owned(),
        name: name.to_owned(),
        statement,
        sql_mode: column(sql_mode)?,
        collation: column(collation)?.unwrap_or_default(),
        database_collation: column(database_collation)?,
        time_zone: column(time_zone)?,
        definer,
    })
}

/// Views after those that their text names, as far as that goes.
fn in_order(views: &mut Vec<StoredObject>) {
    let mut placed: Vec<StoredObject> = Vec::new();
    while !views.is_empty() {
        let names = |view: &StoredObject, other: &StoredObject| {
            view.name != other.name && view.statement.contains(&format!("`{}`", other.name.replace('`', "``")))
        };
        let free = views.iter().position(|view| !views.iter().any(|other| names(view, other)));
        placed.push(views.remove(free.unwrap_or(0)));
    }
    *views = placed;
}

/// MySQL keeps the semicolon behind a body that came with other statements in one question. Made alone it has none, and is the same.
fn without_end(statement: &str) -> &str {
    statement.trim_end_matches(|c: char| c == ';' || c.is_whitespace())
}

/// Takes `DEFINER=...` out of the head of a statement.
fn without_definer(statement: &str) -> (String, Option<String>) {
    const WORD: &str = " DEFINER=";
    let head = statement.find(['`', '"', '\'']).unwrap_or(statement.len());
    let Some(at) = statement[..head].find(WORD) else { return (statement.to_owned(), None) };
    let from = at + WORD.len();
    let Some(mut end) = quoted(statement, from) else { return (statement.to_owned(), None) };
    if statement[end..].starts_with('@') {
        end = quoted(statement, end + 1).unwrap_or(end);
    }
    (format!("{}{}", &statement[..at], &statement[end..]), Some(statement[from..end].to_owned()))
}

/// Where the quoted name ends that begins at `from`.
fn quoted(text: &str, from: usize) -> Option<usize> {
    let quote = text[from..].chars().next().filter(|c| matches!(c, '`' | '"' | '\''))?;
    let mut at = from + 1;
    loop {
        at += text[at..].find(quote)? + 1;
        if !text[at..].starts_with(quote) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
