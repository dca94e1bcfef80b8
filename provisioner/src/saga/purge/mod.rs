//! The steps that remove a tenant, one file each, in the order they run; and the certificate of what they saw.
//!
//! There is no way back from the first that drops something, so a purge is not given up: it is repeated until every check has passed in one
//! attempt.

pub mod drop_database;
pub mod drop_user;
pub mod forget;
pub mod last_backup;
pub mod verify_absent;

use super::Tools;
use kernel::domain::{DeletionCertificate, Tenant};

/// What an attempt in which every step succeeded has seen. `removed_at` is the system database's time after it.
pub async fn certificate(tools: &Tools, tenant: &Tenant) -> Result<DeletionCertificate, sqlx::Error> {
    let (now,): (chrono::NaiveDateTime,) =
        sqlx::query_as("SELECT UTC_TIMESTAMP(6)").fetch_one(tools.store.pool()).await?;
    let [first, second] = tools.usernames(&tenant.tenant_id);
    let database = tenant.database.name.clone();
    let checks = vec![
        format!("no database named {database} bears the mark of this tenant"),
        format!("there is no user {first} and no user {second}, hence no grant to them"),
        "neither of them has a session".to_owned(),
        "no credential of the tenant is kept".to_owned(),
    ];
    let server = tools.server.id.clone();
    Ok(DeletionCertificate { database, user: first, server, removed_at: now.and_utc(), checks })
}
