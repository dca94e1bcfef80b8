//! A whole database: copied to another server, and compared with the original.

use super::compare::sum;
use super::copy::{Commit, copy};
use super::definition::{define, read_definition};
use super::progress::Progress;
use super::schema::{self, Tables};
use super::session::begin_copying;
use super::stored_objects;
use super::transfer::{Range, TableTransfer};
use super::{Doing, TableError};
use crate::server::MARKER_TABLE;
use futures::FutureExt;
use kernel::database::sql;
use sqlx::{Executor, MySqlConnection};

/// Copies all tables, rows and stored objects of the database `name` into the empty database of the same name.
pub async fn copy_database(from: &mut MySqlConnection, to: &mut MySqlConnection, name: &str) -> Result<(), TableError> {
    begin_copying(to).await?;
    let session = format!("SET SESSION foreign_key_checks = 0; USE {}", sql::identifier(name)?);
    to.execute(sqlx::raw_sql(&session)).await.doing(|| format!("opening the database {name}"))?;
    let progress = Progress::quiet();
    for (table, schema) in tables(from, name).await?.into_iter().filter(|(_, schema)| schema.is_base_table()) {
        let definition = read_definition(from, &table).await?;
        define(to, &definition).await.doing(|| format!("creating the table {table}"))?;
        let transfer = TableTransfer::of_table(&table, &schema)?;
        let committed = async |_, _| Ok(());
        copy(&transfer, Range::default(), from, to, Commit::Chunks, &progress, committed).boxed().await?;
    }
    // After the rows, which no trigger is to see.
    let objects = stored_objects::read(from, name).await?;
    stored_objects::create(to, name, Some(name), &objects.all).await
}

/// Fails unless the database `name` has the same tables with the same columns, keys and rows on both servers, and the
/// same stored objects.
pub async fn compare_databases(
    original: &mut MySqlConnection,
    copy: &mut MySqlConnection,
    name: &str,
) -> Result<(), TableError> {
    let differs = |table: &str| TableError::NotEqual(format!("the copy of the table {table} differs"));
    let (tables, copies) = (tables(original, name).await?, tables(copy, name).await?);
    let objects = stored_objects::read(original, name).await?.all;
    stored_objects::compare(copy, name, &objects).await?;
    if let Some(table) = copies.keys().find(|table| !tables.contains_key(*table)) {
        return Err(differs(table));
    }
    for (table, schema) in &tables {
        let same = copies.get(table).is_some_and(|copy| {
            copy.columns == schema.columns
                && copy.primary_key == schema.primary_key
                && copy.unique_keys == schema.unique_keys
        });
        if !same {
            return Err(differs(table));
        }
    }
    for (table, schema) in tables.iter().filter(|(_, schema)| schema.is_base_table()) {
        let transfer = TableTransfer::of_table(table, schema)?;
        let range = Range::default();
        let (from, to) =
            tokio::join!(sum(original, &transfer.from, &range, table), sum(copy, &transfer.to, &range, table));
        if from? != to? {
            return Err(differs(table));
        }
    }
    Ok(())
}

async fn tables(connection: &mut MySqlConnection, name: &str) -> Result<Tables, TableError> {
    let mut tables = schema::read(connection, name).await?;
    tables.retain(|table, schema| table != MARKER_TABLE && schema.kind != "VIEW");
    Ok(tables)
}
