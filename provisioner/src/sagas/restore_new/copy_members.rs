//! The step `copy_members`: if the request says so, the members of the tenant whose backup it is are members of the new
//! tenant, with the same roles and permissions, by ordinary events. Members are copied as they are now, not as they
//! were at the time of the backup. An attempt passes over those that an earlier one has copied.

use crate::backup::Subject;
use crate::sagas::saga::Step;
use crate::sagas::shared::append::append;
use crate::sagas::shared::backup_job::request;
use crate::sagas::{Context, StepError};
use kernel::domain::{Command, UserId};
use kernel::jobs::JobError;

/// Events of one transaction, which holds the lock of the log's head for some tens of milliseconds.
const AT_ONCE: u32 = 500;

type Member = (i64, String, String, Option<String>);

pub const STEP: Step = Step::new("copy_members", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let request = request(context).await?;
    let Subject::Tenant(source) = request.subject else { return Ok(()) };
    if !request.members {
        return Ok(());
    }
    let mut after = 0;
    loop {
        let members: Vec<Member> = sqlx::query_as(
            "SELECT m.id, m.user_id, m.role, CAST(m.permissions AS CHAR) FROM saas_tenant_users m
             LEFT JOIN saas_tenant_users has ON has.tenant_id = ? AND has.user_key = m.user_key AND has.deleted = 0
             WHERE m.tenant_id = ? AND m.deleted = 0 AND m.id > ? AND has.id IS NULL ORDER BY m.id LIMIT ?",
        )
        .bind(context.tenant.tenant_id.as_str())
        .bind(source.as_str())
        .bind(after)
        .bind(AT_ONCE)
        .fetch_all(context.tools.store.pool())
        .await
        .map_err(JobError::from)?;
        let Some((last, ..)) = members.last() else { return Ok(()) };
        after = *last;
        let commands = members.into_iter().map(join).collect::<Option<Vec<_>>>();
        let commands = commands.ok_or(StepError::Unfit("a member of the other tenant cannot be read"))?;
        append(context.job(), commands).await?;
    }
}

fn join((_, user_id, role, permissions): Member) -> Option<Command> {
    let user_id: UserId = user_id.parse().ok()?;
    let permissions = permissions.map(|json| serde_json::from_str(&json)).transpose().ok()?;
    Some(Command::ChangeMember { user_id, role: role.parse().ok()?, permissions })
}
