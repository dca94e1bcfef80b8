//! Creates, compares and drops stored objects.

use super::read::pair;
use super::{StoredObject, read};
use crate::tables::{Doing, TableError};
use kernel::database::sql::{self, COPY_MODE};
use kernel::database::text;
use sqlx::{Executor, MySqlConnection};

/// Creates the objects in a database that has none and that the session uses, and then compares them with the
/// originals. `own` is the tenant's database, and their text may name no other tenant's database. `None` allows every
/// name, because the objects were in use here a moment ago.
pub async fn create(
    connection: &mut MySqlConnection,
    database: &str,
    own: Option<&str>,
    objects: &[StoredObject],
) -> Result<(), TableError> {
    if objects.is_empty() {
        return Ok(());
    }
    create_all(connection, database, own, objects).await?;
    compare(connection, database, objects).await
}

/// Creates those of `objects` that are missing.
pub async fn complete(
    connection: &mut MySqlConnection,
    database: &str,
    objects: &[StoredObject],
) -> Result<(), TableError> {
    let found = read(connection, database).await?.all;
    let there = |one: &StoredObject| found.iter().any(|other| (&other.kind, &other.name) == (&one.kind, &one.name));
    let missing: Vec<_> = objects.iter().filter(|object| !there(object)).cloned().collect();
    create_all(connection, database, None, &missing).await?;
    compare(connection, database, objects).await
}

async fn create_all(
    connection: &mut MySqlConnection,
    database: &str,
    own: Option<&str>,
    objects: &[StoredObject],
) -> Result<(), TableError> {
    for object in objects {
        if let Some(other) = own.and_then(|own| object.other_tenants_database(own)) {
            return Err(TableError::Refused(format!(
                "the {object} names the database {other}, which belongs to another tenant: \
                 change or drop it there, and take a new backup"
            )));
        }
    }
    let mut waiting: Vec<&StoredObject> = objects.iter().collect();
    while !waiting.is_empty() {
        let (mut later, mut reason) = (Vec::new(), None);
        for object in &waiting {
            match create_one(connection, database, object).await {
                Ok(()) => {}
                // Perhaps it reads from a view that is created later.
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

/// Fails unless the database holds these objects and no others.
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
            None if object.may_be_gone() => {}
            // A schedule begins when it is created, so its text differs.
            Some(_) if object.kind == "EVENT" => {}
            Some(same) if same.content() == object.content() => {}
            Some(_) => return Err(TableError::NotEqual(format!("the {object} is not what it was"))),
            None => return Err(TableError::NotEqual(format!("the {object} is missing"))),
        }
    }
    match found.iter().find(|object| of(expected, object).is_none()) {
        Some(object) => Err(TableError::NotEqual(format!("the {object} was added"))),
        None => Ok(()),
    }
}

/// Drops all stored objects, also views that do not work. MySQL lets an account without the right SYSTEM_USER drop no
/// routine or trigger of an account that has the right (as root does).
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
    let creating = || format!("creating the {object}");
    let present = "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?";
    let row = sqlx::query(present).bind(database).fetch_one(&mut *connection).await.doing(creating)?;
    let present = text(&row, 0).doing(creating)?;
    let other = object.database_collation.as_ref().filter(|collation| **collation != present);
    if let Some(collation) = other {
        collate(connection, database, collation).await.doing(creating)?;
    }
    connection.execute(sqlx::raw_sql(&object.session()?)).await.doing(creating)?;
    let made = connection.execute(sqlx::raw_sql(&object.statement)).await;
    connection
        .execute(sqlx::raw_sql(&format!("SET NAMES utf8mb4; {COPY_MODE}, SESSION time_zone = '+00:00'")))
        .await
        .doing(creating)?;
    if other.is_some() {
        collate(connection, database, &present).await.doing(creating)?;
    }
    made.doing(creating).map(drop)
}

/// Sets the collation that new tables and parameters of a database get. Its ownership marker stays.
async fn collate(connection: &mut MySqlConnection, database: &str, collation: &str) -> Result<(), sqlx::Error> {
    let unfit = |error: sql::Unquotable| sqlx::Error::Encode(error.into());
    let (name, collation) = (sql::identifier(database).map_err(unfit)?, sql::literal(collation).map_err(unfit)?);
    connection.execute(sqlx::raw_sql(&format!("ALTER DATABASE {name} COLLATE = {collation}"))).await.map(drop)
}
