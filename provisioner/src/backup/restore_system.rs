//! Restores a lost system database from its backup.
//!
//! **Guarantees.** Only an empty database is filled. A table marks the database while it is being filled, so the
//! command after a killed one begins again. The list of migrations comes last, so no service accepts half a database.

use super::dump::RESTORING;
use super::error::BackupError;
use super::load;
use super::manifest::{Manifest, StoredBackup};
use super::store::{BackupStore, Subject};
use crate::server::Dialect;
use crate::tables::Doing;
use crate::tables::stored_objects;
use kernel::crypto::KeyRing;
use kernel::database::{self, migrate, sql};
use kernel::process::config::wrong;
use secrecy::SecretString;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Executor, MySqlConnection};

/// Fills the empty system database.
pub async fn restore(
    store: &BackupStore,
    keys: &KeyRing,
    url: &SecretString,
    stored: &StoredBackup,
) -> Result<(), BackupError> {
    stored.open(keys)?;
    let options = database::options(url).map_err(|error| wrong("SYSTEM_DB_URL", error))?;
    let database = options.get_database().unwrap_or_default().to_owned();
    if database.is_empty() {
        return Err(wrong("SYSTEM_DB_URL", "it names no database").into());
    }
    let mut connection = connect(&options, &database).await?;
    let newest = migrate::SYSTEM.iter().map(|migration| migration.version).max().unwrap_or(0);
    if i64::from(stored.manifest.schema_version) > newest {
        return Err(BackupError::Refused("the backup has a newer schema than this program knows".into()));
    }
    let dialect = Dialect::of(&mut connection).await.doing(|| "asking the server's version".into())?;
    match dialect {
        Ok((dialect, _)) if dialect.as_str() == stored.manifest.dialect => {}
        _ => {
            return Err(BackupError::Refused(format!(
                "the backup is of a {} server, and the server of SYSTEM_DB_URL is of another kind",
                stored.manifest.dialect
            )));
        }
    }
    let tables = tables(&mut connection, &database).await?;
    if tables.iter().any(|table| table == RESTORING) {
        eprintln!("an earlier restore was killed: dropping what it has loaded");
        stored_objects::drop_all(&mut connection, &database).await?;
        // The mark is dropped last.
        for table in tables.iter().filter(|table| *table != RESTORING).chain([&RESTORING.to_owned()]) {
            let drop = format!("SET SESSION foreign_key_checks = 0; DROP TABLE {}", sql::identifier(table)?);
            connection.execute(sqlx::raw_sql(&drop)).await.doing(|| format!("dropping {table}"))?;
        }
    } else if !tables.is_empty() {
        return Err(BackupError::Refused(format!(
            "the database {database} (SYSTEM_DB_URL) is not empty: a system database is restored into an empty one only"
        )));
    }
    let mark = sql::identifier(RESTORING)?;
    let begin = format!("CREATE TABLE {mark} (id TINYINT PRIMARY KEY) COMMENT 'A restore is filling this database'");
    connection
        .execute(sqlx::raw_sql(&begin))
        .await
        .doing(|| format!("creating tables in {database}; SYSTEM_DB_URL must be the account that migrates"))?;
    let objects = load::LoadObjects::All;
    load::load(store, keys, &Subject::System, stored, &mut connection, &database, objects).await?;
    kernel::process::failpoint::hit("restore.system_loaded").await;
    let end = format!("DROP TABLE {mark}");
    connection.execute(sqlx::raw_sql(&end)).await.doing(|| "ending the restore".into())?;
    Ok(())
}

/// Connects. Creates the database if it is missing and the account may do that.
async fn connect(options: &MySqlConnectOptions, name: &str) -> Result<MySqlConnection, BackupError> {
    match database::connect(options).await {
        Err(error) if database::number(&error) == Some(1049) => {}
        connected => return Ok(connected.doing(|| "connecting to the system database".into())?),
    }
    let anywhere = options.clone().database("");
    let mut connection = database::connect(&anywhere).await.doing(|| "connecting to the system database".into())?;
    let create = format!("CREATE DATABASE {} CHARACTER SET utf8mb4", sql::identifier(name)?);
    connection.execute(sqlx::raw_sql(&create)).await.map_err(|_| {
        BackupError::Refused(format!(
            "there is no database {name}, and the account of SYSTEM_DB_URL may not create it: create it by hand"
        ))
    })?;
    Ok(database::connect(options).await.doing(|| "connecting to the system database".into())?)
}

async fn tables(connection: &mut MySqlConnection, database: &str) -> Result<Vec<String>, BackupError> {
    let list = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE <> 'VIEW'";
    let reading = || format!("reading what {database} holds");
    let rows = sqlx::query(list).bind(database).fetch_all(connection).await.doing(reading)?;
    Ok(rows.iter().map(|row| database::text(row, 0).doing(reading)).collect::<Result<_, _>>()?)
}

/// What the operator has to do next.
pub fn next_steps(manifest: &Manifest) -> String {
    format!(
        "the system database is that of {}, event {}: {} tables, {} rows, compared\n\
         next: control-plane migrate; start the services; control-plane verify-log; control-plane rebuild --check; \
         control-plane audit (what was done after event {1} is no longer recorded here)",
        manifest.taken_at.to_rfc3339(),
        manifest.position,
        manifest.tables.len(),
        manifest.rows()
    )
}
