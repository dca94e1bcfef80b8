//! The steps that replace the credential of a tenant's database, one file each, in the order they run.
//!
//! A tenant has two database users, of which one is in use; MariaDB knows no second password for a user, so rotation alternates
//! between them. **Guarantees.** At every moment the credential that nodes are told of can log in. The former user is locked only
//! after every node that gives a sign of life is past the switch. Before the switch the job can be undone; from the switch on it is
//! only ever finished. Where it stands is in `saas_next_credentials`, so anybody can go on with it.

pub mod await_nodes;
pub mod prepare_user;
pub mod retire_user;
pub mod switch;
pub mod verify_next;

use super::{Context, StepError, Tools};
use kernel::crypto::Purpose;
use kernel::domain::{Position, TenantId};
use kernel::jobs::JobError;
use secrecy::SecretString;
use sqlx::{MySqlConnection, MySqlPool};

/// A rotation in progress.
pub struct Next {
    /// The user that comes into use.
    pub username: String,
    /// Its password, sealed; empty once it is in use.
    pub sealed: String,
    /// Position of the switch, if that has happened.
    pub switched: Option<Position>,
}

/// Where the tenant's rotation stands; `None`: nothing was begun.
pub async fn next(pool: &MySqlPool, tenant_id: &TenantId) -> Result<Option<Next>, JobError> {
    let row: Option<(String, String, Option<u64>)> = sqlx::query_as(
        "SELECT db_username, db_password_encrypted, switched_at_position FROM saas_next_credentials WHERE tenant_id = ?",
    )
    .bind(tenant_id.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|(username, sealed, switched)| Next { username, sealed, switched: switched.map(Position) }))
}

/// Whether there is no way back any more.
pub async fn is_switched(tools: &Tools, tenant_id: &TenantId) -> Result<bool, JobError> {
    Ok(next(tools.store.pool(), tenant_id).await?.is_some_and(|next| next.switched.is_some()))
}

/// Forgets that there was a rotation, with the end of the job.
pub async fn forget(connection: &mut MySqlConnection, tenant_id: &TenantId) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM saas_next_credentials WHERE tenant_id = ?")
        .bind(tenant_id.as_str())
        .execute(connection)
        .await
        .map(drop)
}

/// The rotation that this job has begun.
async fn begun(context: &Context<'_>) -> Result<Next, StepError> {
    let next = next(context.tools.store.pool(), &context.tenant.tenant_id).await?;
    next.ok_or(StepError::Transient("the next credential is not kept".into()))
}

/// The other one of the tenant's two users.
fn other(context: &Context<'_>, username: &str) -> String {
    let [first, second] = context.usernames();
    if username == first { second } else { first }
}

fn open(context: &Context<'_>, next: &Next) -> Result<SecretString, StepError> {
    let tenant_id = context.tenant.tenant_id.as_str();
    let purpose = Purpose::TenantPassword { tenant_id, username: &next.username };
    let opened = context.tools.keys.open_text(purpose, &next.sealed);
    opened.map_err(|_| StepError::Unfit("the tenant's next password does not open with the key ring"))
}
