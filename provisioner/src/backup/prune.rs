//! Retention: which backups are removed.
//!
//! **Guarantees.** A backup is removed when it is older than `BACKUP_KEEP_DAYS` and there are `BACKUP_KEEP_LAST` newer
//! ones. For a purged tenant its age alone decides, so nothing of the tenant stays for ever. Unfinished files are
//! removed when no process can be writing them any more. The manifest is removed first, so a killed prune leaves an
//! unfinished file for the next one.

use super::catalogue;
use super::error::BackupError;
use super::manifest::StoredBackup;
use super::store::{BackupStore, Subject};
use chrono::{DateTime, TimeDelta, Utc};
use kernel::domain::TenantState;
use kernel::process::config::{ConfigError, Settings};
use kernel::store::Store;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Hours after which no process writes an unfinished file any more. The deadline of a backup is shorter.
pub const UNFINISHED_HOURS: u32 = 24;

/// How long backups are stored, and how many of them at least.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub days: u32,
    /// How many backups of each subject stay, however old they are.
    pub last: usize,
}

impl Retention {
    /// Reads `BACKUP_KEEP_DAYS` and `BACKUP_KEEP_LAST`.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Self { days: settings.get("BACKUP_KEEP_DAYS")?, last: settings.get("BACKUP_KEEP_LAST")? })
    }

    /// Of backups in the order of time, those that are to be removed.
    fn past(self, taken: &[(String, DateTime<Utc>)], purged: bool, now: DateTime<Utc>) -> Vec<String> {
        let last = if purged { 0 } else { self.last };
        let before = now - TimeDelta::days(i64::from(self.days));
        let old = taken.iter().take(taken.len().saturating_sub(last)).filter(|(_, taken_at)| *taken_at < before);
        old.map(|(backup_id, _)| backup_id.clone()).collect()
    }
}

/// What was removed, or would be removed.
#[derive(Debug, Default, Serialize)]
pub struct Pruned {
    pub backups: Vec<String>,
    /// Files of backups that never became whole.
    pub unfinished: Vec<String>,
}

/// Removes what retention does not keep. With `dry_run` it only returns what that is.
pub async fn prune(
    backups: &BackupStore,
    store: &Store,
    retention: Retention,
    unfinished_hours: u32,
    dry_run: bool,
) -> Result<Pruned, BackupError> {
    let mut pruned = Pruned::default();
    let now = Utc::now();
    let unfinished_before = now - TimeDelta::hours(i64::from(unfinished_hours));
    let mut whole: BTreeMap<Subject, Vec<(String, DateTime<Utc>)>> = BTreeMap::new();
    for ((subject, backup_id), files) in backups.list(None).await? {
        if files.manifest {
            match StoredBackup::read(backups, &subject, &backup_id).await {
                Ok(stored) => whole.entry(subject).or_default().push((backup_id, stored.manifest.taken_at)),
                // It stays: an operator should find out why, and `backup verify` reports it.
                Err(error) => tracing::warn!(%subject, backup_id, cause = %error, "a manifest cannot be read"),
            }
        } else if files.written.is_some_and(|written| written <= unfinished_before) {
            if !dry_run {
                backups.remove(&subject, &backup_id).await?;
            }
            pruned.unfinished.push(backups.data_name(&subject, &backup_id));
        }
    }
    for (subject, mut taken) in whole {
        taken.sort_by_key(|(_, taken_at)| *taken_at);
        let purged = match &subject {
            Subject::System => false,
            Subject::Tenant(id) => store.tenant(id).await?.is_some_and(|tenant| tenant.state == TenantState::Purged),
        };
        for backup_id in retention.past(&taken, purged, now) {
            if !dry_run {
                backups.remove(&subject, &backup_id).await?;
                kernel::process::failpoint::hit("prune.removed").await;
                catalogue::remove(store.pool(), &backup_id).await?;
            }
            pruned.backups.push(backup_id);
        }
    }
    if let Some(directory) = backups.directory() {
        let directory = directory.to_owned();
        let found = tokio::task::spawn_blocking(move || partial_files(&directory, unfinished_before, dry_run)).await;
        pruned.unfinished.extend(found.map_err(std::io::Error::other)??);
    }
    if !dry_run {
        catalogue::sync(store.pool(), backups).await?;
    }
    Ok(pruned)
}

/// Files that a killed process was writing. A store in a directory gives their names a `#` and does not list them.
fn partial_files(directory: &Path, before: DateTime<Utc>, dry_run: bool) -> std::io::Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, entry.path());
            if kind.is_dir() {
                folders.push(path);
            } else if entry.file_name().to_string_lossy().contains('#')
                && DateTime::<Utc>::from(entry.metadata()?.modified()?) <= before
            {
                if !dry_run {
                    std::fs::remove_file(&path)?;
                }
                found.push(path.strip_prefix(directory).unwrap_or(&path).display().to_string());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_backups_are_removed_and_the_last_ones_stay() {
        let now = Utc::now();
        let aged = |days: &[i64]| -> Vec<(String, DateTime<Utc>)> {
            days.iter().map(|age| (age.to_string(), now - TimeDelta::days(*age))).collect()
        };
        let retention = Retention { days: 7, last: 2 };
        assert_eq!(retention.past(&aged(&[30, 20, 10, 3, 1]), false, now), ["30", "20", "10"]);
        assert_eq!(retention.past(&aged(&[30, 20, 10]), false, now), ["30"], "two stay, however old they are");
        assert_eq!(
            retention.past(&aged(&[30, 20, 3]), true, now),
            ["30", "20"],
            "no backup of a purged tenant stays for ever"
        );
        assert!(retention.past(&aged(&[30, 20]), false, now).is_empty());
        assert!(retention.past(&[], true, now).is_empty());
    }
}
