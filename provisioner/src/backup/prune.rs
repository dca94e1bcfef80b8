//! Retention: which backups are removed.
//!
//! **Guarantees.** A backup is removed when it is older than `BACKUP_KEEP_DAYS` and there are `BACKUP_KEEP_LAST` newer
//! ones whose manifests can be read; only the manifests of those are read. For a purged tenant its age alone decides,
//! so nothing of the tenant stays for ever. Unfinished files are removed when no process can be writing them any more.
//! The manifest is removed first, so a killed prune leaves an unfinished file for the next one.

use super::catalogue::{self, Listed, Writer};
use super::error::BackupError;
use super::manifest::StoredBackup;
use super::store::{BackupStore, Subject};
use chrono::{DateTime, TimeDelta, Utc};
use kernel::domain::TenantState;
use kernel::error::chain;
use kernel::process::config::{ConfigError, Settings};
use kernel::process::failpoint;
use kernel::store::Store;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// The ids of backups and the moments of their data, in the order of time.
type Taken = Vec<(String, DateTime<Utc>)>;

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

/// The backups of a subject in the order of time, of which the newest are read one after the other until `last` of them
/// could be read. Those that cannot be read are taken out, so they do not count and are not removed.
struct Newest {
    taken: Taken,
    read: usize,
    unread: usize,
    last: usize,
}

impl Newest {
    fn of(taken: Taken, last: usize) -> Self {
        Self { unread: taken.len(), taken, read: 0, last }
    }

    /// The next one that is to be read.
    fn next(&self) -> Option<&str> {
        let next = self.unread.checked_sub(1).filter(|_| self.read < self.last)?;
        Some(&self.taken[next].0)
    }

    fn settle(&mut self, is_readable: bool) {
        self.unread -= 1;
        if is_readable {
            self.read += 1;
        } else {
            self.taken.remove(self.unread);
        }
    }
}

/// What was removed, or would be removed.
#[derive(Debug, Default, Serialize)]
pub struct Pruned {
    pub backups: Vec<String>,
    /// Files of backups that never became whole.
    pub unfinished: Vec<String>,
    /// What should have been removed and could not, with the reasons.
    pub failed: Vec<String>,
}

/// Removes what retention does not keep. With `dry_run` it only returns what that is. A backup that cannot be removed
/// does not hold up the others.
pub async fn prune(
    backups: &BackupStore,
    store: &Store,
    writer: Writer<'_>,
    retention: Retention,
    unfinished_hours: u32,
    dry_run: bool,
) -> Result<Pruned, BackupError> {
    let now = Utc::now();
    let unfinished_before = now - TimeDelta::hours(i64::from(unfinished_hours));
    let (known, listed) = catalogue::agree(store, backups, writer, dry_run).await?;
    let purged: Vec<(String,)> = sqlx::query_as("SELECT tenant_id FROM saas_tenant_snapshots WHERE state = ?")
        .bind(TenantState::Purged.as_str())
        .fetch_all(store.pool())
        .await?;
    let purged: HashSet<String> = purged.into_iter().map(|(tenant_id,)| tenant_id).collect();
    let Due { mut files, candidates } = Due::of(known, listed, purged, retention, now, unfinished_before).await?;
    for (subject, taken, purged) in candidates {
        let mut newest = Newest::of(taken, if purged { 0 } else { retention.last });
        while let Some(backup_id) = newest.next() {
            let read = StoredBackup::read(backups, &subject, backup_id).await;
            if let Err(error) = &read {
                tracing::warn!(%subject, backup_id, cause = %chain(error), "a backup that should stay cannot be read");
            }
            newest.settle(read.is_ok());
        }
        let past = retention.past(&newest.taken, purged, now);
        files.extend(past.into_iter().map(|backup_id| (subject.clone(), backup_id, true)));
    }
    let mut pruned = Pruned::default();
    for (subject, backup_id, whole) in files {
        let name = if whole { backup_id.clone() } else { backups.data_name(&subject, &backup_id) };
        if !dry_run {
            if let Err(error) = backups.remove(&subject, &backup_id).await {
                tracing::warn!(%subject, backup_id, cause = %chain(&error), "an old backup cannot be removed");
                pruned.failed.push(format!("{name}: {}", chain(&error)));
                continue;
            }
            if whole {
                failpoint::hit("prune.removed").await;
                let mut unit = writer.begin(store).await?;
                catalogue::remove(unit.connection(), &[backup_id]).await?;
                unit.commit().await?;
            }
        }
        if whole { pruned.backups.push(name) } else { pruned.unfinished.push(name) }
    }
    if let Some(directory) = backups.directory() {
        let directory = directory.to_owned();
        let found = tokio::task::spawn_blocking(move || partial_files(&directory, unfinished_before, dry_run)).await;
        pruned.unfinished.extend(found.map_err(std::io::Error::other)??);
    }
    Ok(pruned)
}

/// What is to be removed.
struct Due {
    /// Whose, its id, and whether it is whole: to begin with, those that never became whole.
    files: Vec<(Subject, String, bool)>,
    /// The subjects of which a backup is to be removed if the newest ones can be read: all their backups in the order
    /// of time, and whether the tenant was purged.
    candidates: Vec<(Subject, Taken, bool)>,
}

impl Due {
    /// Decides on a thread that may take its time: with a hundred thousand backups a renewal of the job's lease would
    /// wait.
    async fn of(
        known: HashMap<String, DateTime<Utc>>,
        listed: Listed,
        purged: HashSet<String>,
        retention: Retention,
        now: DateTime<Utc>,
        unfinished_before: DateTime<Utc>,
    ) -> Result<Self, BackupError> {
        let decide = move || {
            let (mut files_due, mut whole) = (Vec::new(), BTreeMap::<Subject, Taken>::new());
            for ((subject, backup_id), files) in listed {
                if files.manifest {
                    if let Some(taken_at) = known.get(&backup_id) {
                        whole.entry(subject).or_default().push((backup_id, *taken_at));
                    }
                } else if files.written.is_some_and(|written| written <= unfinished_before) {
                    files_due.push((subject, backup_id, false));
                }
            }
            let mut candidates = Vec::new();
            for (subject, mut taken) in whole {
                taken.sort_by_key(|(_, taken_at)| *taken_at);
                let purged = purged.contains(subject.column());
                if !retention.past(&taken, purged, now).is_empty() {
                    candidates.push((subject, taken, purged));
                }
            }
            Self { files: files_due, candidates }
        };
        Ok(tokio::task::spawn_blocking(decide).await.map_err(std::io::Error::other)?)
    }
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
        let aged =
            |days: &[i64]| -> Taken { days.iter().map(|age| (age.to_string(), now - TimeDelta::days(*age))).collect() };
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

    #[test]
    fn a_backup_that_cannot_be_read_is_none_of_the_last_ones() {
        let now = Utc::now();
        let taken = [40, 30, 20, 10, 1].map(|age| (age.to_string(), now - TimeDelta::days(age)));
        let (mut newest, mut read) = (Newest::of(taken.into(), 2), Vec::new());
        while let Some(backup_id) = newest.next().map(str::to_owned) {
            newest.settle(!["10", "1"].contains(&backup_id.as_str()));
            read.push(backup_id);
        }
        assert_eq!(read, ["1", "10", "20", "30"], "those that go are not read");
        let past = Retention { days: 7, last: 2 }.past(&newest.taken, false, now);
        assert_eq!(past, ["40"], "the unreadable ones stay too");
    }
}
