//! Reads the stored objects of a database.

use super::definer::{without_definer, without_end};
use super::{Objects, StoredObject};
use crate::tables::{Doing, TableError};
use kernel::database::{self, sql, text};
use sqlx::mysql::MySqlRow;
use sqlx::{Executor, MySqlConnection, Row};

/// The server's error for a view that refers to a missing table, or that its definer may not read.
const DOES_NOT_WORK: u16 = 1356;

/// All stored objects of a database that the session uses.
pub async fn read(connection: &mut MySqlConnection, database: &str) -> Result<Objects, TableError> {
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
        let query = format!("SELECT 1 FROM {} LIMIT 0", sql::identifier(&name)?);
        match connection.execute(sqlx::raw_sql(&query)).await {
            Err(error) if database::number(&error) == Some(DOES_NOT_WORK) => {
                objects.broken.push(format!("view {name}: it refers to what does not exist"));
                continue;
            }
            // A view whose definer is gone is created again with another one.
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

async fn triggers(connection: &mut MySqlConnection, database: &str) -> Result<Vec<StoredObject>, TableError> {
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

async fn list(connection: &mut MySqlConnection, query: &str, database: &str) -> Result<Vec<MySqlRow>, TableError> {
    let rows = sqlx::query(query).bind(database).fetch_all(connection).await;
    rows.doing(|| format!("reading what {database} holds"))
}

pub(super) fn pair(row: &MySqlRow) -> Result<(String, String), TableError> {
    let column = |column| text(row, column).doing(|| "reading what a database holds".into());
    Ok((column(0)?, column(1)?))
}

async fn show(connection: &mut MySqlConnection, kind: &str, name: &str) -> Result<MySqlRow, TableError> {
    let show = format!("SHOW CREATE {kind} {}", sql::identifier(name)?);
    connection.fetch_one(sqlx::raw_sql(&show)).await.doing(|| format!("reading the {} {name}", kind.to_lowercase()))
}

/// The object in the answer to `SHOW CREATE`, by the columns of mode, statement, both collations and time zone.
fn object(
    kind: &str,
    name: &str,
    row: &MySqlRow,
    [sql_mode, statement, collation, database_collation, time_zone]: [Option<usize>; 5],
) -> Result<StoredObject, TableError> {
    let what = format!("{} {name}", kind.to_lowercase());
    let column = |at: Option<usize>| match at {
        Some(at) => row.try_get_unchecked::<Option<String>, _>(at).doing(|| format!("reading the {what}")),
        None => Ok(None),
    };
    let statement = column(statement)?.ok_or_else(|| {
        TableError::Refused(format!(
            "the {what} cannot be saved: the account may not read its text \
             (deploy/sql/tenants.sql has the right it needs)"
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

/// Puts each view after those that its text names, as far as they do not name each other.
pub(super) fn in_order(views: &mut Vec<StoredObject>) {
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
