//! Chooses a backup: the newest one, or the newest up to a time.

use super::error::BackupError;
use super::manifest::StoredBackup;
use super::store::{BackupStore, Subject};
use chrono::{DateTime, Utc};

/// The newest backup of `subject`. With `at`, the newest whose data is of that moment or before it.
pub async fn choose(
    store: &BackupStore,
    subject: &Subject,
    at: Option<DateTime<Utc>>,
) -> Result<StoredBackup, BackupError> {
    // Ids are in the order of time, to the second.
    for (_, backup_id) in store.whole(Some(subject)).await?.into_iter().rev() {
        let stored = StoredBackup::read(store, subject, &backup_id).await?;
        if at.is_none_or(|at| stored.manifest.taken_at <= at) {
            return Ok(stored);
        }
    }
    Err(BackupError::Refused(match at {
        None => format!("there is no backup of {subject} in the backup store"),
        Some(at) => format!("there is no backup of {subject} of {} or before", at.to_rfc3339()),
    }))
}
