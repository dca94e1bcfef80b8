//! The saga of the kind `restore_new`: makes a new tenant from the backup of another one.

mod copy_members;

use super::Tools;
use super::saga::{Outcome, Saga};
use super::shared::backup_job::restored;
use super::shared::replace::{POINT_OF_NO_RETURN, drop_replaced, load_backup, swap_database};
use super::shared::{abandon, apply_config, create_database, create_user, enforce, verify_login};
use kernel::domain::Command;
use kernel::jobs::{JobError, Lease};

pub const SAGA: Saga = Saga {
    point_of_no_return: POINT_OF_NO_RETURN,
    abandon: Some(|job| Box::pin(abandon::creation(job))),
    outcome: Outcome {
        succeeded: Some(|tools, lease, _| Box::pin(complete(tools, lease))),
        failed: Some(|_, _, reason| {
            Box::pin(async move { Ok(Some(Command::FailProvisioning { reason: reason.to_owned() })) })
        }),
        cleanup: None,
    },
    ..Saga::of_tenant(&[
        create_database::STEP,
        create_user::STEP,
        load_backup::STEP,
        swap_database::STEP,
        drop_replaced::STEP,
        apply_config::NAME_STEP,
        copy_members::STEP,
        enforce::STEP,
        verify_login::STEP,
    ])
};

async fn complete(tools: &Tools, lease: &Lease) -> Result<Option<Command>, JobError> {
    let (server, host, port) = tools.server.address();
    let from = restored(tools, lease).await?;
    Ok(from.map(|from| Command::CompleteProvisioningFromBackup { server, host, port, from }))
}
