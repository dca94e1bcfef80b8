//! Which backup is meant: the newest, or the newest up to a time.

use super::error::BackupError;
use super::manifest::Kept;
use super::store::{BackupStore, Subject};
use chrono::{DateTime, Utc};

/// The backup to be used. `at`: data of that moment or before it.
pub async fn choose(store: &BackupStore, subject: &Subject, at: Option<DateTime<Utc>>) -> Result<Kept, BackupError> {
    let files = store.list(Some(subject)).await?;
    let whole = files.into_iter().filter(|(_, found)| found.manifest).map(|((_, backup_id), _)| backup_id);
    // Ids are in the order of time, by the second.
    let mut newest_first: Vec<String> = whole.collect();
    newest_first.reverse();
    for backup_id in newest_first {
        let kept = Kept::read(store, subject, &backup_id).await?;
        if at.is_none_or(|at| kept.manifest.taken_at <= at) {
            return Ok(kept);
        }
    }
    Err(BackupError::Refused(match at {
        None => format!("there is no backup of {subject} in the backup store"),
        Some(at) => format!("there is no backup of {subject} of {} or before", at.to_rfc3339()),
    }))
}
