//! The runner of schema changes. The migrations are embedded in the program and checked by checksum, and each runs
//! once, by the process that takes the lock first.
//!
//! SQLx embeds the files and computes their checksums, but this module runs them: SQLx's own runner does not lock on
//! MariaDB, because it calls `GET_LOCK(name, -1)`, which MariaDB answers with NULL. Here the connection that runs the
//! statements takes the lock with a bounded wait and checks the answer.
//!
//! MariaDB and MySQL commit every DDL statement by itself, so a killed migration leaves a part of its file applied.
//! Files are therefore written to be repeatable (`IF NOT EXISTS`, `ON DUPLICATE KEY`), and a file counts as applied
//! only after its last statement.

use sqlx::migrate::{Migration, Migrator};
use sqlx::{Executor, MySqlConnection, Row};
use std::sync::OnceLock;

/// The migrations of the system database.
pub static SYSTEM: Migrator = sqlx::migrate!("../migrations/system");

static TENANT: Migrator = sqlx::migrate!("../migrations/tenant");

/// The migrations of a tenant's database, in order. Only the provisioner applies them.
pub fn tenant() -> &'static [Migration] {
    static ALL: OnceLock<Vec<Migration>> = OnceLock::new();
    ALL.get_or_init(|| TENANT.iter().cloned().chain(crate::process::failpoint::tenant_migrations()).collect())
}

/// The newest version of a tenant's schema that this program knows.
pub fn tenant_schema() -> u32 {
    tenant().iter().map(|migration| u32::try_from(migration.version).unwrap_or(0)).max().unwrap_or(0)
}

/// Seconds to wait while another process migrates the same database.
const LOCK_WAIT: u32 = 120;

/// Why a schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Another process migrates this database and did not finish in time.
    #[error("another migration of this database has been running for {LOCK_WAIT} s")]
    Locked,
    /// A migration was changed after it had been applied.
    #[error("migration {0} was changed after it had been applied; write a new one instead")]
    Changed(i64),
    /// The database has a migration of a newer program.
    #[error("the database has migration {0}, which this program does not know; start a newer version")]
    Newer(i64),
    /// A migration is not applied yet.
    #[error("migration {0} is not applied; run `control-plane migrate`")]
    Pending(i64),
    /// The account lacks rights on a table.
    #[error("the account lacks rights on the table {0}; run deploy/sql/tables.sql there")]
    NoRights(String),
    /// A statement of a migration failed.
    #[error("migration {version} failed")]
    Statement {
        /// The migration.
        version: i64,
        /// The server's error.
        #[source]
        source: sqlx::Error,
    },
    /// The database failed outside a migration's own statements.
    #[error("the database failed while migrating")]
    Database(#[from] sqlx::Error),
}

/// Applies all pending migrations to the system database. Returns their versions.
pub async fn run(connection: &mut MySqlConnection) -> Result<Vec<i64>, MigrateError> {
    let locked: Option<i64> = sqlx::query("SELECT GET_LOCK(CONCAT('migrate:', DATABASE()), ?)")
        .bind(LOCK_WAIT)
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    if locked != Some(1) {
        return Err(MigrateError::Locked);
    }
    let result = run_locked(connection).await;
    sqlx::query("DO RELEASE_LOCK(CONCAT('migrate:', DATABASE()))").execute(&mut *connection).await?;
    result
}

/// Checks that the system database has every migration of this program, unchanged. Services call this, because they
/// never migrate themselves.
pub async fn verify(connection: &mut MySqlConnection) -> Result<(), MigrateError> {
    let applied = applied(connection).await.or_else(|error| match crate::database::number(&error) {
        // An empty database does not have the table yet.
        Some(1146) => Ok(Vec::new()),
        Some(1142) => Err(MigrateError::NoRights("saas_schema_migrations".to_owned())),
        _ => Err(error.into()),
    })?;
    match pending(&applied, true)?.first() {
        Some(migration) => Err(MigrateError::Pending(migration.version)),
        None => Ok(()),
    }
}

async fn run_locked(connection: &mut MySqlConnection) -> Result<Vec<i64>, MigrateError> {
    connection
        .execute(
            "CREATE TABLE IF NOT EXISTS saas_schema_migrations (
                version BIGINT NOT NULL PRIMARY KEY,
                description VARCHAR(200) NOT NULL,
                checksum VARBINARY(64) NOT NULL COMMENT 'SHA-384 of the file',
                applied_at DATETIME(6) NOT NULL
            ) ENGINE=InnoDB COMMENT 'Schema changes applied to this database'",
        )
        .await?;
    let applied = applied(connection).await?;
    let mut done = Vec::new();
    for migration in pending(&applied, false)? {
        let version = migration.version;
        tracing::info!(version, description = %migration.description, "applying a migration");
        connection
            .execute(sqlx::raw_sql(&migration.sql))
            .await
            .map_err(|source| MigrateError::Statement { version, source })?;
        sqlx::query("INSERT INTO saas_schema_migrations VALUES (?, ?, ?, UTC_TIMESTAMP(6))")
            .bind(version)
            .bind(migration.description.as_ref())
            .bind(migration.checksum.as_ref())
            .execute(&mut *connection)
            .await?;
        done.push(version);
    }
    Ok(done)
}

async fn applied(connection: &mut MySqlConnection) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    sqlx::query_as("SELECT version, checksum FROM saas_schema_migrations ORDER BY version").fetch_all(connection).await
}

/// The migrations that are not applied yet. With `newer_is_fine`, the database may have newer ones: a rolling upgrade
/// runs an old program on a new schema, and every migration keeps what the previous version needs.
fn pending(applied: &[(i64, Vec<u8>)], newer_is_fine: bool) -> Result<Vec<&'static Migration>, MigrateError> {
    for (version, checksum) in applied {
        match SYSTEM.iter().find(|known| known.version == *version) {
            Some(known) if known.checksum.as_ref() == checksum => {}
            Some(_) => return Err(MigrateError::Changed(*version)),
            None if newer_is_fine => {}
            None => return Err(MigrateError::Newer(*version)),
        }
    }
    Ok(SYSTEM.iter().filter(|known| !applied.iter().any(|(version, _)| *version == known.version)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_applied(migration: &Migration) -> (i64, Vec<u8>) {
        (migration.version, migration.checksum.to_vec())
    }

    #[test]
    fn a_changed_or_unknown_migration_is_refused_by_number() {
        let mut applied: Vec<_> = SYSTEM.iter().map(as_applied).collect();
        assert!(pending(&applied, false).unwrap().is_empty());
        applied[0].1[0] ^= 1;
        assert!(matches!(pending(&applied, true), Err(MigrateError::Changed(1))));
        applied[0].1[0] ^= 1;
        applied.push((9999, vec![]));
        assert!(matches!(pending(&applied, false), Err(MigrateError::Newer(9999))));
        assert!(pending(&applied, true).unwrap().is_empty());
    }

    #[test]
    fn migrations_that_are_not_applied_are_pending_in_order() {
        let versions: Vec<_> = pending(&[], false).unwrap().iter().map(|m| m.version).collect();
        assert!(versions.is_sorted() && versions.len() == SYSTEM.iter().count());
    }
}
