//! The step `repair`: what is safe to repair is repaired, if the request for the audit says so. A repair that the
//! server refuses leaves its finding.

use super::expected::{Presence, Stored, presence};
use super::{Present, audit_of, compare, examine, row};
use crate::sagas::saga::Step;
use crate::sagas::shared::{credential, verify_login};
use crate::sagas::{Context, StepError};
use crate::server::ServerError;
use crate::server::account::Account;
use kernel::audit::{self, Drift, Finding};
use kernel::jobs::JobError;
use secrecy::SecretString;

pub const STEP: Step = Step::new("repair", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let audit = audit_of(context).await?;
    if !audit.repair || audit.passed_over {
        return Ok(());
    }
    let mut present = examine(context).await?;
    // Kinds are in the order of their repairs: what is too much is removed before anything is made.
    present.findings.sort_by_key(|finding| finding.kind);
    for finding in present.findings.iter().filter(|finding| finding.kind.repair().is_some()) {
        match one(context, &present, finding).await {
            Ok(()) => {}
            Err(StepError::Server(ServerError::Database(error))) if kernel::jobs::is_transient(&error) => {
                return Err(error.into());
            }
            Err(StepError::Job(error)) => return Err(error.into()),
            Err(error) => {
                let reason = error.reason(&context.tools.server.id);
                let tenant_id = &context.tenant.tenant_id;
                tracing::warn!(%tenant_id, drift = finding.kind.as_str(), reason, "a repair failed");
                let detail = format!("{}; not repaired: {reason}", finding.detail);
                let refused = Finding { detail, ..finding.clone() };
                let mut connection = context.tools.store.pool().acquire().await.map_err(JobError::from)?;
                audit::store(&mut connection, row(context, &audit), &[refused]).await.map_err(JobError::from)?;
            }
        }
    }
    Ok(())
}

async fn one(context: &mut Context<'_>, present: &Present, finding: &Finding) -> Result<(), StepError> {
    let Present { expected, seen, .. } = present;
    let presence = presence(&expected.tenant);
    let pool = context.tools.store.pool();
    let tenant_id = &expected.tenant.tenant_id;
    let in_use = expected.in_use.clone();
    match finding.kind {
        Drift::RotationLeft => {
            credential::forget_next(pool, tenant_id).await.map_err(JobError::from)?;
        }
        Drift::CredentialLeft => {
            credential::forget(pool, tenant_id).await.map_err(JobError::from)?;
        }
        Drift::UserLeft => {
            let left = seen.users.iter().flatten().find(|user| compare::subject(user) == finding.subject);
            if let Some(user) = left {
                let account = Account { host: &user.host, ..context.account(&user.username) };
                account.lock(context.session).await?;
                // If the user in use has the same name at another host, its sessions cannot be told from these.
                if user.username != in_use {
                    context.session.kill_sessions_of(&user.username).await?;
                }
                account.drop(context.session).await?;
            }
        }
        Drift::SessionLeft => context.session.kill_sessions_of(&finding.subject).await?,
        Drift::AccountOpen => {
            context.account(&in_use).lock(context.session).await?;
            context.session.kill_sessions_of(&in_use).await?;
        }
        // The repairs below allow logins or give rights, so they need a database that is the tenant's own.
        _ if !is_ours(context, present) => {
            return Err(StepError::Permanent(format!(
                "database {} does not carry the tenant's ownership marker",
                context.database()
            )));
        }
        Drift::AccountLocked => {
            context.account(&in_use).unlock(context.session).await?;
        }
        Drift::LimitDiffers => context.account(&in_use).limit(context.session).await?,
        Drift::GrantsDiffer => regrant(context, present, &in_use).await?,
        Drift::UserMissing | Drift::PasswordDiffers | Drift::PasswordExpires => {
            if let Stored::Password(password) = &expected.password {
                remake(context, presence, &in_use, password).await?;
            }
        }
        Drift::CredentialMissing => {
            let [first, _] = &expected.usernames;
            let password = credential::password_or_new(context, first).await?;
            remake(context, presence, first, &password).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Grants the rights that the user lacks. Rights that are too many cannot all be revoked, and open sessions keep them:
/// then the user is made again and its sessions are killed. Nodes open new ones.
async fn regrant(context: &mut Context<'_>, present: &Present, username: &str) -> Result<(), StepError> {
    let Present { expected, seen, .. } = present;
    let host = &context.tools.account_host;
    let user = seen.users.iter().flatten().find(|user| user.username == username && user.host == *host);
    let beyond = user.is_some_and(|user| !user.rights.is_subset(&compare::rights(&expected.tenant.database.name)));
    if !beyond {
        return Ok(context.account(username).grant(context.session).await?);
    }
    let Stored::Password(password) = &expected.password else {
        return Err(StepError::Permanent(format!(
            "the database user {username} cannot be made again without its password"
        )));
    };
    context.account(username).drop(context.session).await?;
    remake(context, presence(&expected.tenant), username, password).await?;
    Ok(context.session.kill_sessions_of(username).await?)
}

fn is_ours(context: &Context<'_>, present: &Present) -> bool {
    let database = present.seen.databases.get(&present.expected.tenant.database.name);
    let marker = database.and_then(|database| database.marker.as_ref());
    marker.is_some_and(|marker| marker.is_of(&context.marker()))
}

async fn remake(
    context: &mut Context<'_>,
    presence: Presence,
    username: &str,
    password: &SecretString,
) -> Result<(), StepError> {
    let account = context.account(username);
    if presence == Presence::Open {
        account.create(context.session, password).await?;
        return verify_login::verify(&context.tools.server, context.database(), username, password).await;
    }
    account.create_locked(context.session, password).await?;
    Ok(context.session.kill_sessions_of(username).await?)
}
