//! Step 1: the idle user exists, with a new password that was kept before the user was made with it.

use super::{Next, next, open, other};
use crate::saga::{Context, StepError, enforce};
use crate::server::account;
use kernel::crypto::Purpose;
use kernel::crypto::tokens;
use kernel::domain::TenantState;
use kernel::jobs::JobError;
use secrecy::ExposeSecret;

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let next = match next(context.tools.store.pool(), &context.tenant.tenant_id).await? {
        Some(Next { switched: Some(_), .. }) => return Ok(()),
        Some(next) => next,
        None => keep(context).await?,
    };
    // Its account would be locked, so that the new password could not be tried.
    if !matches!(context.tenant.state, TenantState::Active | TenantState::Maintenance) {
        return Err(StepError::Permanent(format!("the tenant has become {}", context.tenant.state)));
    }
    let password = open(context, &next)?;
    Ok(context.account(&next.username).create(context.session, &password).await?)
}

/// Before the switch only: afterwards nothing of the new user may go.
pub async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    let in_use = in_use(context).await?;
    let idle = other(context, &in_use);
    if context.account(&idle).lock(context.session).await? {
        context.session.end_sessions_of(&idle).await?;
        context.account(&idle).drop(context.session).await?;
    }
    Ok(())
}

async fn keep(context: &Context<'_>) -> Result<Next, StepError> {
    let tenant_id = &context.tenant.tenant_id;
    let username = other(context, &in_use(context).await?);
    let password = tokens::new_password(account::PASSWORD_LENGTH);
    let purpose = Purpose::TenantPassword { tenant_id: tenant_id.as_str(), username: &username };
    let sealed = context.tools.keys.seal(purpose, password.expose_secret().as_bytes())?;
    // Only while the job is held: a worker that lost it must not keep a password of its own beside the successor's.
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
    Ok(Next { username, sealed, switched: None })
}

async fn in_use(context: &Context<'_>) -> Result<String, StepError> {
    let username = Some(enforce::in_use(context).await?).filter(|username| !username.is_empty());
    username.ok_or(StepError::Unfit("the tenant has no credential that could be replaced"))
}
