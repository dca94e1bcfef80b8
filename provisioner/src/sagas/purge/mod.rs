//! The saga of the kind `purge`: removes a tenant, and ends with a certificate of what its last check saw.
//!
//! A purge is not given up: it is repeated until every check has passed in one attempt.

mod drop_database;
mod drop_user;
mod forget;
mod last_backup;
mod verify_absent;

use super::Tools;
use super::saga::{Outcome, PointOfNoReturn, Saga};
use kernel::domain::{Command, DeletionCertificate, Tenant};
use kernel::jobs::JobError;

pub const SAGA: Saga = Saga {
    point_of_no_return: PointOfNoReturn::AtStart,
    outcome: Outcome { succeeded: Some(|tools, _, tenant| Box::pin(complete(tools, tenant))), ..Outcome::NOTHING },
    ..Saga::of_tenant(&[last_backup::STEP, drop_database::STEP, drop_user::STEP, forget::STEP, verify_absent::STEP])
};

/// The certificate says what an attempt has seen in which every step succeeded. `removed_at` is the system database's
/// time after it.
async fn complete(tools: &Tools, tenant: &Tenant) -> Result<Option<Command>, JobError> {
    let (now,): (chrono::NaiveDateTime,) =
        sqlx::query_as("SELECT UTC_TIMESTAMP(6)").fetch_one(tools.store.pool()).await?;
    let [first, second] = tools.usernames(&tenant.tenant_id);
    let database = tenant.database.name.clone();
    let checks = vec![
        format!("no database named {database} carries the ownership marker of this tenant"),
        format!("there is no user {first} and no user {second}, hence no grant to them"),
        "neither of them has a session".to_owned(),
        "no credential of the tenant is stored".to_owned(),
    ];
    let server = tools.server.id.clone();
    let certificate = DeletionCertificate { database, user: first, server, removed_at: now.and_utc(), checks };
    Ok(Some(Command::CompletePurge { certificate }))
}
