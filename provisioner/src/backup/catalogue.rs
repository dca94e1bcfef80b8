//! The rows of `saas_backups`: a list of the backups in the store, for the admin API, for schedules, for retention and
//! for the retirement of keys.
//!
//! The store is the truth. A row is written when its backup is whole, and deleted with the backup. [`agree`] makes the
//! rows agree with the store after a process was killed between the two, or after the system database was lost. A
//! backup whose row is there is not read again: retention decides by the rows.

use super::error::BackupError;
use super::manifest::{Manifest, StoredBackup};
use super::store::{BackupStore, Files, Subject};
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::jobs::{JobUnit, Lease};
use kernel::store::{Store, UnitOfWork};
use sqlx::{MySqlConnection, QueryBuilder};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The most characters of an error that are stored.
const ERROR_CHARS: usize = 1000;
/// Rows that one statement deletes.
const AT_ONCE: usize = 500;

/// All backups of the store with their files, as [`BackupStore::list`] returns them.
pub type Listed = BTreeMap<(Subject, String), Files>;

/// Who changes the catalogue.
#[derive(Clone, Copy)]
pub enum Writer<'a> {
    /// A job, which holds its lease in each transaction.
    Job(&'a Lease),
    /// A command of an operator.
    Command,
}

/// A transaction of a [`Writer`].
pub enum Unit<'a> {
    Job(JobUnit<'a>),
    Command(UnitOfWork),
}

impl<'a> Writer<'a> {
    pub async fn begin(self, store: &Store) -> Result<Unit<'a>, BackupError> {
        Ok(match self {
            Self::Job(lease) => Unit::Job(lease.begin(store).await?),
            Self::Command => Unit::Command(store.begin().await?),
        })
    }
}

impl Unit<'_> {
    pub fn connection(&mut self) -> &mut MySqlConnection {
        match self {
            Self::Job(unit) => unit.connection(),
            Self::Command(unit) => unit.connection(),
        }
    }

    pub async fn commit(self) -> Result<(), BackupError> {
        match self {
            Self::Job(unit) => Ok(unit.commit().await?),
            Self::Command(unit) => Ok(unit.commit().await?),
        }
    }
}

/// Records a backup that is whole.
pub async fn add(connection: &mut MySqlConnection, manifest: &Manifest, key_id: &str) -> Result<(), sqlx::Error> {
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
    .execute(connection)
    .await
    .map(drop)
}

/// Records a restore test. `error` is what was wrong with the backup.
pub async fn tested(unit: &mut JobUnit<'_>, manifest: &Manifest, error: Option<&str>) -> Result<(), sqlx::Error> {
    let error: Option<String> = error.map(|error| error.chars().take(ERROR_CHARS).collect());
    sqlx::query("UPDATE saas_backups SET tested_at = UTC_TIMESTAMP(6), test_error = ? WHERE backup_id = ?")
        .bind(error)
        .bind(&manifest.backup_id)
        .execute(unit.connection())
        .await
        .map(drop)
}

/// Records that backups were removed.
pub async fn remove(connection: &mut MySqlConnection, backup_ids: &[String]) -> Result<(), sqlx::Error> {
    for some in backup_ids.chunks(AT_ONCE) {
        let mut delete = QueryBuilder::new("DELETE FROM saas_backups WHERE backup_id IN (");
        let mut ids = delete.separated(", ");
        some.iter().for_each(|backup_id| {
            ids.push_bind(backup_id);
        });
        delete.push(")");
        delete.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// The moments of the data of all backups that the rows know.
pub async fn known(store: &Store) -> Result<HashMap<String, DateTime<Utc>>, sqlx::Error> {
    let rows: Vec<(String, NaiveDateTime)> =
        sqlx::query_as("SELECT backup_id, taken_at FROM saas_backups").fetch_all(store.pool()).await?;
    Ok(rows.into_iter().map(|(backup_id, taken_at)| (backup_id, taken_at.and_utc())).collect())
}

/// How the rows and the store differ.
#[derive(Debug)]
struct Differences {
    /// Rows without a backup.
    gone: Vec<String>,
    /// Backups without a row.
    new: Vec<(Subject, String)>,
}

impl Differences {
    /// Compares by sets, on a thread that may take its time: a renewal of the job's lease does not wait for it.
    async fn of(known: HashSet<String>, listed: &Listed) -> Result<Self, BackupError> {
        let whole: Vec<_> = listed.iter().filter(|(_, files)| files.manifest).map(|(key, _)| key.clone()).collect();
        let compare = move || {
            let there: HashSet<&str> = whole.iter().map(|(_, backup_id)| backup_id.as_str()).collect();
            let gone = known.iter().filter(|backup_id| !there.contains(backup_id.as_str())).cloned().collect();
            let new = whole.iter().filter(|(_, backup_id)| !known.contains(backup_id)).cloned().collect();
            Self { gone, new }
        };
        Ok(tokio::task::spawn_blocking(compare).await.map_err(std::io::Error::other)?)
    }
}

/// Makes the rows agree with the store, which `list` lists. Returns the moments of the data of all backups that are
/// whole and readable, and what was listed. A manifest that cannot be read is logged and left alone. With `dry_run` no
/// row is changed.
pub async fn agree(
    store: &Store,
    backups: &BackupStore,
    writer: Writer<'_>,
    dry_run: bool,
) -> Result<(HashMap<String, DateTime<Utc>>, Listed), BackupError> {
    // The rows are read before the store, so a backup that becomes whole in between is not taken for a removed one.
    let mut known = known(store).await?;
    let listed = backups.list(None).await?;
    let Differences { gone, new } = Differences::of(known.keys().cloned().collect(), &listed).await?;
    for backup_id in &gone {
        known.remove(backup_id);
    }
    if !dry_run && !gone.is_empty() {
        let mut unit = writer.begin(store).await?;
        remove(unit.connection(), &gone).await?;
        unit.commit().await?;
    }
    for (subject, backup_id) in new {
        match StoredBackup::read(backups, &subject, &backup_id).await {
            Ok(stored) => {
                if !dry_run {
                    let mut unit = writer.begin(store).await?;
                    add(unit.connection(), &stored.manifest, stored.key_id()).await?;
                    unit.commit().await?;
                }
                known.insert(backup_id, stored.manifest.taken_at);
            }
            // It stays: an operator should find out why, and `backup verify` reports it.
            Err(error) => tracing::warn!(%subject, backup_id, cause = %error, "a manifest cannot be read"),
        }
    }
    Ok((known, listed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A job renews its lease on this runtime, so nothing may hold its one thread up.
    #[tokio::test]
    async fn comparing_a_hundred_thousand_backups_holds_no_task_up() {
        const BACKUPS: usize = 100_000;
        let key = |number: usize| (Subject::System, format!("20260101T000000Z-{number:08x}"));
        let files = Files { manifest: true, ..Files::default() };
        let listed: Listed = (1..=BACKUPS).map(|number| (key(number), files)).collect();
        let known = (0..BACKUPS).map(|number| key(number).1).collect();
        let turns = Arc::new(AtomicU64::new(0));
        let another = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move {
                loop {
                    turns.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }
        });
        let Differences { gone, new } = Differences::of(known, &listed).await.unwrap();
        another.abort();
        assert_eq!((gone, new), (vec![key(0).1], vec![key(BACKUPS)]));
        assert_ne!(turns.load(Ordering::Relaxed), 0, "another task had no turn while the two were compared");
    }
}
