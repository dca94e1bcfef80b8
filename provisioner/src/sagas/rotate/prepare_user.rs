//! The step `prepare_user`: the idle user exists, with a new password that was stored before the user was made with it.

use super::{Rotation, other_username};
use crate::sagas::saga::Step;
use crate::sagas::shared::credential;
use crate::sagas::shared::server_objects::{self, ServerObject};
use crate::sagas::{Context, StepError};
use crate::server::account::{self, AccountName};
use kernel::crypto::Purpose;
use kernel::crypto::tokens;
use kernel::domain::TenantState;
use kernel::jobs::JobError;
use secrecy::ExposeSecret;

pub const STEP: Step =
    Step::new("prepare_user", |context| Box::pin(act(context))).undone_by(|context| Box::pin(undo(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let rotation = match Rotation::find(context.tools.store.pool(), &context.tenant.tenant_id).await? {
        Some(Rotation { switched: Some(_), .. }) => return Ok(()),
        Some(rotation) => rotation,
        None => begin(context).await?,
    };
    // In any other state the account would be locked, so that the new password could not be tried.
    if !matches!(context.tenant.state, TenantState::Active | TenantState::Maintenance) {
        return Err(StepError::Permanent(format!("the tenant has become {}", context.tenant.state)));
    }
    let password = rotation.password(context)?;
    let (job, new) = (context.job(), context.job().new_name(&rotation.username));
    server_objects::record_now(job, &job.tools.server.id, &[ServerObject::Account(&new)]).await?;
    // The setting of the host may have changed since the idle user was made last.
    for name in context.accounts_of(&rotation.username).await? {
        if name != new {
            remove(context, &name).await?;
        }
    }
    Ok(job.account_named(&new).create(context.session, &password).await?)
}

/// Runs before the switch only. The engine undoes nothing after it.
async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let idle = other_username(context, &username_to_replace(context).await?);
    for name in context.accounts_of(&idle).await? {
        remove(context, &name).await?;
    }
    Ok(())
}

async fn remove(context: &mut Context<'_>, name: &AccountName) -> Result<(), StepError> {
    let job = context.job();
    job.account_named(name).remove(context.session).await?;
    Ok(server_objects::forget_now(job, &job.tools.server.id, ServerObject::Account(name)).await?)
}

/// Stores the new password of the idle user.
async fn begin(context: &Context<'_>) -> Result<Rotation, StepError> {
    let tenant_id = &context.tenant.tenant_id;
    let username = other_username(context, &username_to_replace(context).await?);
    let password = tokens::new_password(account::PASSWORD_LENGTH);
    let purpose = Purpose::TenantPassword { tenant_id: tenant_id.as_str(), username: &username };
    let sealed = context.tools.keys.seal(purpose, password.expose_secret().as_bytes())?;
    let mut unit = context.job().begin().await?;
    sqlx::query(
        "INSERT INTO saas_next_credentials (tenant_id, operation_id, db_username, db_password_encrypted, created_at)
         VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6))",
    )
    .bind(tenant_id.as_str())
    .bind(context.lease.operation_id.to_string())
    .bind(&username)
    .bind(&sealed)
    .execute(unit.connection())
    .await
    .map_err(JobError::from)?;
    unit.commit().await?;
    Ok(Rotation { username, sealed, switched: None })
}

async fn username_to_replace(context: &Context<'_>) -> Result<String, StepError> {
    match credential::username_in_use(context).await? {
        username if username.is_empty() => Err(StepError::Unfit("the tenant has no credential that could be replaced")),
        username => Ok(username),
    }
}
