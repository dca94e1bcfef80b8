//! Creating, comparing and dropping stored objects.

use super::read::pair;
use super::{StoredObject, read};
use crate::tables::{Doing, TableError};
use kernel::database::sql::{self, COPY_SESSION};
use kernel::database::text;
use sqlx::{Executor, MySqlConnection};

/// Makes them in a database without any, which the session uses, and looks whether they are what was to be made. `own`: the tenant's own
/// database, which is the only one of a tenant that their text may name; `None`: they were in use here a moment ago, whatever they name.
pub async fn create(
    connection: &mut MySqlConnection,
    database: &str,
    own: Option<&str>,
    objects: &[StoredObject],
) -> Result<(), TableError> {
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
) -> Result<(), TableError> {
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
) -> Result<(), TableError> {
    for object in objects {
        if let Some(stranger) = own.and_then(|own| object.stranger(own)) {
            return Err(TableError::Refused(format!(
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
) -> Result<(), TableError> {
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
            Some(_) => return Err(TableError::NotEqual(format!("the {object} is not what it was"))),
            None => return Err(TableError::NotEqual(format!("the {object} is missing"))),
        }
    }
    match found.iter().find(|object| of(expected, object).is_none()) {
        Some(object) => Err(TableError::NotEqual(format!("the {object} is there and was not before"))),
        None => Ok(()),
    }
}

/// Removes all of them, also views that do not work. MySQL lets nobody drop a routine or trigger of an account with SYSTEM_USER (root has it)
/// who has not that right too.
pub async fn drop_all(connection: &mut MySqlConnection, database: &str) -> Result<(), TableError> {
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

async fn create_one(connection: &mut MySqlConnection, database: &str, object: &StoredObject) -> Result<(), TableError> {
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

/// Sets what a database's new tables and parameters are sorted by; its ownership marker stays.
async fn collate(connection: &mut MySqlConnection, database: &str, collation: &str) -> Result<(), sqlx::Error> {
    let unfit = |error: sql::Unquotable| sqlx::Error::Encode(error.into());
    let (name, collation) = (sql::identifier(database).map_err(unfit)?, sql::literal(collation).map_err(unfit)?);
    connection.execute(sqlx::raw_sql(&format!("ALTER DATABASE {name} COLLATE = {collation}"))).await.map(drop)
}
