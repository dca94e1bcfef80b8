//! What a database holds that no copy of it can bring back exactly, by name.
//!
//! A backup and a move ask this before they begin. If they failed later, the tenant would be out of service meanwhile,
//! or its backup would turn out to be useless on the day it is needed.

use super::column::Column;
use super::schema::{Table, Tables};
use super::stored_objects::{Objects, StoredObject};
use super::{Doing, TableError};
use crate::server::{Dialect, MARKER_TABLE};
use kernel::database::sql;
use sqlx::{Executor, MySqlConnection, Row};

/// The table in which a restore stores views, routines, triggers and events until they have been replaced.
pub const FORMER_OBJECTS: &str = "_former_objects";

/// Engines whose tables have their rows elsewhere.
const ROWS_ELSEWHERE: [&str; 6] = ["MRG_MyISAM", "FEDERATED", "CONNECT", "SPIDER", "S3", "SEQUENCE"];

/// What a copy of the database cannot bring back, as sentences that name it. Empty: a copy can be equal.
async fn unfit(
    connection: &mut MySqlConnection,
    dialect: Dialect,
    database: &str,
    tables: &Tables,
    objects: &Objects,
) -> Result<Vec<String>, TableError> {
    let mut unfit = Vec::new();
    for (name, table) in tables.iter().filter(|(_, table)| table.kind != "VIEW") {
        of_table(dialect, name, table, &mut unfit);
        // MariaDB stores JSON as text.
        if dialect == Dialect::MySql {
            for column in table.columns.iter().filter(|column| column.data_type == "json" && !column.generated) {
                of_json(connection, name, table, column, &mut unfit).await?;
            }
        }
    }
    unfit.extend(objects.all.iter().filter_map(|object| names_another_tenant(object, database)));
    Ok(unfit)
}

/// Fails with all of these sentences.
pub async fn check(
    connection: &mut MySqlConnection,
    dialect: Dialect,
    database: &str,
    tables: &Tables,
    objects: &Objects,
) -> Result<(), TableError> {
    match unfit(connection, dialect, database, tables, objects).await?.as_slice() {
        [] => Ok(()),
        all => Err(TableError::Refused(format!("{database} cannot be copied: {}", all.join("; ")))),
    }
}

fn of_table(dialect: Dialect, name: &str, table: &Table, unfit: &mut Vec<String>) {
    if !table.is_base_table() {
        unfit.push(format!("{name} is a {}, which a copy cannot hold", table.kind.to_lowercase()));
    }
    if name == FORMER_OBJECTS || name == MARKER_TABLE && dialect != Dialect::MySql {
        unfit.push(format!("the name of the table {name} is reserved: give the table another name"));
    }
    if table.is_base_table() && table.engine.is_empty() {
        unfit.push(format!("the table {name} cannot be opened by its server: repair or drop it"));
    }
    if let Some(engine) = ROWS_ELSEWHERE.iter().find(|engine| engine.eq_ignore_ascii_case(&table.engine)) {
        unfit.push(format!("the table {name} has the engine {engine}, whose rows are elsewhere: drop or convert it"));
    }
    let elsewhere = table.refers_to.iter().filter_map(|(other, referred)| Some((other.as_ref()?, referred)));
    for (other, referred) in elsewhere {
        unfit.push(format!("a foreign key of {name} refers to {other}.{referred}, in another database: drop the key"));
    }
    for column in table.columns.iter().filter(|column| column.is_unsayable()) {
        unfit.push(format!(
            "{name}.{} lists values, or has a default, of the character set {} that UTF-8 cannot say: give it the \
             character set utf8mb4",
            column.name,
            column.charset.as_deref().unwrap_or_default()
        ));
    }
}

/// A document of MySQL may hold decimals, dates and other values that its text does not say: read again, that text is
/// another document.
async fn of_json(
    connection: &mut MySqlConnection,
    name: &str,
    table: &Table,
    column: &Column,
    unfit: &mut Vec<String>,
) -> Result<(), TableError> {
    let (quoted, document) = (sql::identifier(name)?, sql::identifier(&column.name)?);
    let key = table.ordering_key().map(sql::identifier).transpose()?.map_or("''".to_owned(), |key| key.to_string());
    let again = format!("CAST(CAST({document} AS CHAR) AS JSON)");
    let query = format!(
        "SELECT CAST({key} AS CHAR) FROM {quoted}
         WHERE {document} <> {again} OR CAST({document} AS CHAR) <> CAST({again} AS CHAR) LIMIT 1"
    );
    let row = connection.fetch_optional(sqlx::raw_sql(&query)).await.doing(|| format!("reading {name}"))?;
    if let Some(row) = row {
        let key: &str = row.try_get_unchecked(0)?;
        let row = if key.is_empty() { String::new() } else { format!(" (key {key})") };
        unfit.push(format!(
            "{name}.{} has a document{row} with a decimal, a date or another value that its text does not say: \
             store it as a number or a string",
            column.name
        ));
    }
    Ok(())
}

fn names_another_tenant(object: &StoredObject, database: &str) -> Option<String> {
    let other = object.other_tenants_database(database)?;
    Some(format!("the {object} names the database {other}, which belongs to another tenant: change or drop it"))
}
