//! The saga of the kind `rotate`: replaces the credential of a tenant's database without a failed request.
//!
//! A tenant has two database users, of which one is in use. MariaDB knows no second password for a user, so rotation
//! alternates between the two. **Guarantees.** At every moment the credential that nodes read can log in. The former
//! user is locked only after every live node is past the switch. Until the switch the job can be undone; the switch is
//! its point of no return. The progress is stored in `saas_next_credentials`, so any worker can continue the job.

mod await_nodes;
mod prepare_user;
mod retire_user;
mod switch;
mod verify_next;

use super::saga::{Outcome, PointOfNoReturn, Saga};
use super::shared::{credential, enforce};
use super::{Context, StepError};
use kernel::crypto::Purpose;
use kernel::domain::{Position, TenantId};
use kernel::jobs::JobError;
use secrecy::SecretString;
use sqlx::MySqlPool;

/// The last step is `enforce`, because the tenant may have been suspended meanwhile, and the new user was made open.
pub const SAGA: Saga = Saga {
    point_of_no_return: PointOfNoReturn::Reached(|tools, _, tenant| {
        Box::pin(async move {
            let rotation = Rotation::find(tools.store.pool(), &tenant.tenant_id).await?;
            Ok(rotation.is_some_and(|rotation| rotation.switched.is_some()))
        })
    }),
    abandon: Some(|job| {
        Box::pin(async move {
            let server = &job.tools.server.id;
            Ok(Some(format!("an account of the tenant may be left on {server}; the next rotation replaces it")))
        })
    }),
    outcome: Outcome {
        cleanup: Some(|connection, tenant| Box::pin(credential::forget_next(connection, &tenant.tenant_id))),
        ..Outcome::NOTHING
    },
    ..Saga::of_tenant(&[
        prepare_user::STEP,
        verify_next::STEP,
        switch::STEP,
        await_nodes::STEP,
        retire_user::STEP,
        enforce::STEP,
    ])
};

/// A rotation in progress.
struct Rotation {
    /// The user that comes into use.
    username: String,
    /// Its password, sealed; empty from the switch on.
    sealed: String,
    /// Position of the switch, if that has happened.
    switched: Option<Position>,
}

impl Rotation {
    /// The tenant's rotation; `None`: none has begun.
    async fn find(pool: &MySqlPool, tenant_id: &TenantId) -> Result<Option<Self>, JobError> {
        let row: Option<(String, String, Option<u64>)> = sqlx::query_as(
            "SELECT db_username, db_password_encrypted, switched_at_position FROM saas_next_credentials
             WHERE tenant_id = ?",
        )
        .bind(tenant_id.as_str())
        .fetch_optional(pool)
        .await?;
        Ok(row.map(|(username, sealed, switched)| Self { username, sealed, switched: switched.map(Position) }))
    }

    /// The rotation that the first step of this job has begun.
    async fn of_job(context: &Context<'_>) -> Result<Self, StepError> {
        let rotation = Self::find(context.tools.store.pool(), &context.tenant.tenant_id).await?;
        rotation.ok_or(StepError::Transient("the next credential of the tenant is not stored".into()))
    }

    /// The password of the user that comes into use, before the switch.
    fn password(&self, context: &Context<'_>) -> Result<SecretString, StepError> {
        let tenant_id = context.tenant.tenant_id.as_str();
        let purpose = Purpose::TenantPassword { tenant_id, username: &self.username };
        let opened = context.tools.keys.open_text(purpose, &self.sealed);
        opened.map_err(|_| StepError::Unfit("no key of ENCRYPTION_KEYS opens the tenant's next password"))
    }
}

/// The one of the tenant's two users that is not `username`.
fn other_username(context: &Context<'_>, username: &str) -> String {
    let [first, second] = context.usernames();
    if username == first { second } else { first }
}
