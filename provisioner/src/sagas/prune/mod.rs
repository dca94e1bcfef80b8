//! The saga of the kind `prune`: removes backups that retention does not keep, and files of backups that never became
//! whole. It is the job of a server, and is requested by each backup of the system database.
//!
//! It reads the manifest of a backup only if the catalogue has no row of it, or if older backups are removed because of
//! it, and deletes the row with each backup that it removes. So an attempt after a kill or a failure continues where
//! the last one was.

use super::saga::{EndedBy, Saga, ServerWork, WITH_ALL_ROWS};
use super::shared::backup_job::backups;
use super::{StepError, Tools};
use crate::backup::catalogue::Writer;
use crate::backup::{UNFINISHED_HOURS, prune};
use kernel::jobs::Lease;

pub const SAGA: Saga =
    Saga::of_server(ServerWork { deadline: WITH_ALL_ROWS, act: |tools, lease| Box::pin(act(tools, lease)) });

async fn act(tools: &Tools, lease: &Lease) -> Result<EndedBy, StepError> {
    let backups = backups(tools).await?;
    let writer = Writer::Job(lease);
    let pruned = prune(backups, &tools.store, writer, tools.retention, UNFINISHED_HOURS, false).await?;
    let (removed, unfinished) = (pruned.backups.len(), pruned.unfinished.len());
    tracing::info!(backups = removed, unfinished, failed = pruned.failed.len(), "old backups were removed");
    match pruned.failed.first() {
        None => Ok(EndedBy::Engine),
        Some(first) => Err(StepError::Transient(format!(
            "{} old backups could not be removed; the first is {first}",
            pruned.failed.len()
        ))),
    }
}
