//! The saga of the kind `provision`: makes a tenant's database, user, schema and first rows.

mod apply_schema;
mod seed_config;

use super::saga::{Outcome, Saga};
use super::shared::{abandon, create_database, create_user, verify_login};
use kernel::database::migrate::tenant_schema;
use kernel::domain::Command;

/// What the steps make in the database goes with it, so only the database and the user are undone.
pub const SAGA: Saga = Saga {
    abandon: Some(|job| Box::pin(abandon::creation(job))),
    outcome: Outcome {
        succeeded: Some(|tools, _, _| {
            let (server, host, port) = tools.server.address();
            let schema_version = tenant_schema();
            Box::pin(async move { Ok(Some(Command::CompleteProvisioning { server, host, port, schema_version })) })
        }),
        failed: Some(|_, _, reason| {
            Box::pin(async move { Ok(Some(Command::FailProvisioning { reason: reason.to_owned() })) })
        }),
        cleanup: None,
    },
    ..Saga::of_tenant(&[
        create_database::STEP,
        create_user::STEP,
        apply_schema::STEP,
        seed_config::STEP,
        verify_login::STEP,
    ])
};
