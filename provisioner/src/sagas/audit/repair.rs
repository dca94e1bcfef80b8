//! The step `repair`: what is safe to repair is repaired, if the request for the audit says so. A repair that the server
//! refuses leaves its finding.

use super::expected::{Kept, Presence, presence};
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
    // In the order of their kinds: what is too many goes before anything is made.
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
                tracing::warn!(tenant_id = %context.tenant.tenant_id, drift = finding.kind.as_str(), reason, "a repair failed");
                let detail = format!("{}; not repaired: {reason}", finding.detail);
                let refused = Finding { detail, ..finding.clone() };
                let mut connection = context.tools.store.pool().acquire().await.map_err(JobError::from)?;
                audit::keep(&mut connection, row(context, &audit), &[refused]).await.map_err(JobError::from)?;
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
                // The sessions of the one in use have the same name, and nobody can tell which came from where.
                if user.username != in_use {
                    context.session.end_sessions_of(&user.username).await?;
                }
                account.drop(context.session).await?;
            }
        }
        Drift::SessionLeft => context.session.end_sessions_of(&finding.subject).await?,
        Drift::AccountOpen => {
            context.account(&in_use).lock(context.session).await?;
            context.session.end_sessions_of(&in_use).await?;
        }
        // What follows gives somebody a way in, or rights: only to a database that is the tenant's.
        _ if !is_ours(context, present) => {
            return Err(StepError::Permanent("the database does not bear the tenant's mark".into()));
        }
        Drift::AccountLocked => {
            context.account(&in_use).unlock(context.session).await?;
        }
        Drift::LimitDiffers => context.account(&in_use).limit(context.session).await?,
        Drift::GrantsDiffer => regrant(context, present, &in_use).await?,
        Drift::UserMissing | Drift::PasswordDiffers => {
            if let Kept::Password(password) = &expected.kept {
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

/// What is lacking is granted. What is too much cannot be taken away from sessions that are open, nor everything of it from a user:
/// the user is made anew and its sessions ended. Nodes open others.
async fn regrant(context: &mut Context<'_>, present: &Present, username: &str) -> Result<(), StepError> {
    let Present { expected, seen, .. } = present;
    let host = &context.tools.account_host;
    let user = seen.users.iter().flatten().find(|user| user.username == username && user.host == *host);
    let beyond = user.is_some_and(|user| !user.rights.is_subset(&compare::rights(&expected.tenant.database.name)));
    if !beyond {
        return Ok(context.account(username).grant(context.session).await?);
    }
    let Kept::Password(password) = &expected.kept else {
        return Err(StepError::Permanent("the user cannot be made anew without its password".into()));
    };
    context.account(username).drop(context.session).await?;
    remake(context, presence(&expected.tenant), username, password).await?;
    Ok(context.session.end_sessions_of(username).await?)
}

fn is_ours(context: &Context<'_>, present: &Present) -> bool {
    let database = present.seen.databases.get(&present.expected.tenant.database.name);
    let mark = database.and_then(|database| database.mark.as_ref());
    mark.is_some_and(|mark| mark.is_of(&context.mark()))
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
    Ok(context.session.end_sessions_of(username).await?)
}
