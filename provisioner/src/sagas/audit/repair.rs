//! The step `repair`: what is safe to repair is repaired, if the request for the audit says so. A repair that the
//! server refuses leaves its finding.

use super::expected::{Presence, Stored, presence};
use super::{Present, audit_of, compare, examine, row};
use crate::sagas::saga::Step;
use crate::sagas::shared::server_objects::{self, ServerObject};
use crate::sagas::shared::{credential, verify_login};
use crate::sagas::{Context, StepError};
use crate::server::ServerError;
use crate::server::account::AccountName;
use crate::server::inventory::UserSeen;
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
                let mut unit = context.job().begin().await?;
                audit::store(&mut unit, row(context, &audit), &[refused]).await.map_err(JobError::from)?;
                unit.commit().await?;
            }
        }
    }
    Ok(())
}

async fn one(context: &mut Context<'_>, present: &Present, finding: &Finding) -> Result<(), StepError> {
    let Present { expected, .. } = present;
    let presence = presence(&expected.tenant);
    let (job, in_use) = (context.job(), expected.in_use.clone());
    let found = account_in(context, present, finding);
    match finding.kind {
        Drift::RotationLeft => {
            let mut unit = job.begin().await?;
            credential::forget_next(unit.connection(), &job.tenant.tenant_id).await.map_err(JobError::from)?;
            unit.commit().await?;
        }
        Drift::CredentialLeft => credential::forget_now(job).await?,
        Drift::UserLeft => {
            if let Some(name) = found {
                let account = job.account_named(&name);
                account.lock(context.session).await?;
                // If the user in use has the same name at another host, its sessions cannot be told from these.
                if name.username != in_use {
                    context.session.kill_sessions_of(&name.username).await?;
                }
                account.drop(context.session).await?;
                server_objects::forget_now(job, &job.tools.server.id, ServerObject::Account(&name)).await?;
            }
        }
        Drift::SessionLeft => context.session.kill_sessions_of(&finding.subject).await?,
        Drift::AccountOpen => {
            if let Some(name) = found {
                job.account_named(&name).lock_out(context.session).await?;
            }
        }
        // The repairs below allow logins or give rights, so they need a database that is the tenant's own.
        _ if !is_ours(context, present) => {
            return Err(StepError::Permanent(format!(
                "database {} does not carry the tenant's ownership marker",
                context.database()
            )));
        }
        Drift::AccountLocked => {
            if let Some(name) = found {
                job.account_named(&name).unlock(context.session).await?;
            }
        }
        Drift::LimitDiffers => {
            if let Some(name) = found {
                job.account_named(&name).limit(context.session).await?;
            }
        }
        Drift::GrantsDiffer => {
            if let Some(name) = found {
                regrant(context, present, &name).await?;
            }
        }
        Drift::UserMissing | Drift::PasswordDiffers | Drift::PasswordExpires => {
            if let Stored::Password(password) = &expected.password {
                remake(context, presence, &found.unwrap_or_else(|| job.new_name(&in_use)), password).await?;
            }
        }
        Drift::CredentialMissing => {
            let [first, _] = &expected.usernames;
            let password = credential::password_or_new(context, first).await?;
            remake(context, presence, &job.new_name(first), &password).await?;
        }
        _ => {}
    }
    Ok(())
}

/// The account on the server that the finding is about.
fn account_in(context: &Context<'_>, present: &Present, finding: &Finding) -> Option<AccountName> {
    let user = present.seen.users.iter().flatten().find(|user| compare::subject(user) == finding.subject)?;
    let known = context.usernames().contains(&user.username);
    known.then(|| AccountName { username: user.username.clone(), host: user.host.clone() })
}

/// Grants the rights that the user lacks. Rights that are too many cannot all be revoked, and open sessions keep them:
/// then the user is made again and its sessions are killed. Nodes open new ones.
async fn regrant(context: &mut Context<'_>, present: &Present, name: &AccountName) -> Result<(), StepError> {
    let (Present { expected, seen, .. }, job) = (present, context.job());
    let is_it = |user: &&UserSeen| user.username == name.username && user.host == name.host;
    let user = seen.users.iter().flatten().find(is_it);
    let beyond = user.is_some_and(|user| !user.rights.is_subset(&compare::rights(&expected.tenant.database.name)));
    if !beyond {
        return Ok(job.account_named(name).grant(context.session).await?);
    }
    let Stored::Password(password) = &expected.password else {
        return Err(StepError::Permanent(format!(
            "the database user {} cannot be made again without its password",
            name.username
        )));
    };
    job.account_named(name).drop(context.session).await?;
    remake(context, presence(&expected.tenant), name, password).await?;
    Ok(context.session.kill_sessions_of(&name.username).await?)
}

fn is_ours(context: &Context<'_>, present: &Present) -> bool {
    let database = present.seen.databases.get(&present.expected.tenant.database.name);
    let marker = database.and_then(|database| database.marker.as_ref());
    marker.is_some_and(|marker| marker.is_of(&context.marker()))
}

async fn remake(
    context: &mut Context<'_>,
    presence: Presence,
    name: &AccountName,
    password: &SecretString,
) -> Result<(), StepError> {
    let job = context.job();
    server_objects::record_now(job, &job.tools.server.id, &[ServerObject::Account(name)]).await?;
    let account = job.account_named(name);
    if presence == Presence::Open {
        account.create(context.session, password).await?;
        return verify_login::verify(&context.tools.server, context.database(), &name.username, password).await;
    }
    account.create_locked(context.session, password).await?;
    Ok(context.session.kill_sessions_of(&name.username).await?)
}
