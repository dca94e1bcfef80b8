//! The rows of `saas_backups`: a list of the backups in the store, for the admin API, for schedules and for the
//! retirement of keys.
//!
//! The store is the truth. A row is written when its backup is whole, and deleted with the backup. [`sync`] makes the
//! rows agree with the store after a process was killed between the two, or after the system database was lost.

use super::error::BackupError;
use super::manifest::{Manifest, StoredBackup};
use super::store::BackupStore;
use sqlx::MySqlPool;
use std::collections::BTreeSet;

/// The most characters of an error that are stored.
const ERROR_CHARS: usize = 1000;

/// Records a backup that is whole.
pub async fn add(pool: &MySqlPool, manifest: &Manifest, key_id: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO saas_backups (backup_id, tenant_id, server_id, key_id, taken_at, position, stored_bytes)
         VALUES (?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE key_id = VALUES(key_id)",
    )
    .bind(&manifest.backup_id)
    .bind(manifest.tenant_id.as_deref().unwrap_or_default())
    .bind(&manifest.server)
    .bind(key_id)
    .bind(manifest.taken_at.naive_utc())
    .bind(manifest.position.0)
    .bind(manifest.stored_bytes)
    .execute(pool)
    .await
    .map(drop)
}

/// Records a restore test. `error` is what was wrong with the backup.
pub async fn tested(pool: &MySqlPool, manifest: &Manifest, error: Option<&str>) -> Result<(), sqlx::Error> {
    let error: Option<String> = error.map(|error| error.chars().take(ERROR_CHARS).collect());
    sqlx::query("UPDATE saas_backups SET tested_at = UTC_TIMESTAMP(6), test_error = ? WHERE backup_id = ?")
        .bind(error)
        .bind(&manifest.backup_id)
        .execute(pool)
        .await
        .map(drop)
}

/// Records that a backup was removed.
pub async fn remove(pool: &MySqlPool, backup_id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM saas_backups WHERE backup_id = ?").bind(backup_id).execute(pool).await.map(drop)
}

/// Makes the rows agree with the store. A manifest that cannot be read is logged and left alone.
pub async fn sync(pool: &MySqlPool, store: &BackupStore) -> Result<(), BackupError> {
    // The rows are read before the store, so a backup that becomes whole in between is not taken for a removed one.
    let rows: Vec<(String,)> = sqlx::query_as("SELECT backup_id FROM saas_backups").fetch_all(pool).await?;
    let known: BTreeSet<String> = rows.into_iter().map(|(backup_id,)| backup_id).collect();
    let whole = store.whole(None).await?;
    for backup_id in &known {
        if !whole.iter().any(|(_, stored)| stored == backup_id) {
            remove(pool, backup_id).await?;
        }
    }
    for (subject, backup_id) in &whole {
        if known.contains(backup_id) {
            continue;
        }
        match StoredBackup::read(store, subject, backup_id).await {
            Ok(stored) => add(pool, &stored.manifest, stored.key_id()).await?,
            Err(error) => tracing::warn!(%subject, backup_id, cause = %error, "a manifest cannot be read"),
        }
    }
    Ok(())
}
