//! The step `prepare_user`: the idle user exists, with a new password that was stored before the user was made with it.

use super::{Rotation, other_username};
use crate::sagas::saga::Step;
use crate::sagas::shared::credential;
use crate::sagas::{Context, StepError};
use crate::server::account;
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
    Ok(context.account(&rotation.username).create(context.session, &password).await?)
}

/// Runs before the switch only. The engine undoes nothing after it.
async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let idle = other_username(context, &username_to_replace(context).await?);
    Ok(context.account(&idle).remove(context.session).await?)
}

/// Stores the new password of the idle user.
async fn begin(context: &Context<'_>) -> Result<Rotation, StepError> {
    let tenant_id = &context.tenant.tenant_id;
    let username = other_username(context, &username_to_replace(context).await?);
    let password = tokens::new_password(account::PASSWORD_LENGTH);
    let purpose = Purpose::TenantPassword { tenant_id: tenant_id.as_str(), username: &username };
    let sealed = context.tools.keys.seal(purpose, password.expose_secret().as_bytes())?;
    // A worker that has lost the job must not store a password beside that of its successor.
    let mut tx = context.tools.store.pool().begin().await.map_err(JobError::from)?;
    context.lease.hold(&mut tx).await?;
    sqlx::query(
        "INSERT INTO saas_next_credentials (tenant_id, operation_id, db_username, db_password_encrypted, created_at)
         VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6))",
    )
    .bind(tenant_id.as_str())
    .bind(context.lease.operation_id.to_string())
    .bind(&username)
    .bind(&sealed)
    .execute(&mut *tx)
    .await
    .map_err(JobError::from)?;
    tx.commit().await.map_err(JobError::from)?;
    Ok(Rotation { username, sealed, switched: None })
}

async fn username_to_replace(context: &Context<'_>) -> Result<String, StepError> {
    match credential::username_in_use(context).await? {
        username if username.is_empty() => Err(StepError::Unfit("the tenant has no credential that could be replaced")),
        username => Ok(username),
    }
}
