//! The saga of the kind `restore`: replaces a tenant's data by one of its backups, on its server.

use super::Tools;
use super::saga::{Outcome, Saga};
use super::shared::backup_job::{ends_maintenance, restored};
use super::shared::replace::{POINT_OF_NO_RETURN, drop_replaced, load_backup, swap_database};
use super::shared::{apply_config, enforce};
use kernel::domain::Command;
use kernel::jobs::{JobError, Lease};

pub const SAGA: Saga = Saga {
    point_of_no_return: POINT_OF_NO_RETURN,
    outcome: Outcome {
        succeeded: Some(|tools, lease, _| Box::pin(complete(tools, lease))),
        failed: Some(|tools, lease, _| Box::pin(fail(tools, lease))),
        cleanup: None,
    },
    ..Saga::of_tenant(&[load_backup::STEP, swap_database::STEP, drop_replaced::STEP, apply_config::STEP, enforce::STEP])
};

async fn complete(tools: &Tools, lease: &Lease) -> Result<Option<Command>, JobError> {
    let end_maintenance = ends_maintenance(tools, lease).await?;
    let from = restored(tools, lease).await?;
    Ok(from.map(|from| Command::CompleteRestore { from, end_maintenance }))
}

/// The data in use is what it was, so only the maintenance ends that was begun for the job.
async fn fail(tools: &Tools, lease: &Lease) -> Result<Option<Command>, JobError> {
    let ends = ends_maintenance(tools, lease).await?;
    Ok(ends.then_some(Command::SetMaintenance { enabled: false }))
}
