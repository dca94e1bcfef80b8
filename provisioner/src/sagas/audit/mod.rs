//! The saga of the kind `audit`: compares a tenant with its server and repairs what is safe. A job for a whole server
//! is a survey, which finds out for which tenants that is needed and enqueues their jobs.
//!
//! **Guarantees.** A tenant is compared and repaired while no other job of the tenant runs, so a change in progress is
//! not taken for drift. A finding is stored before it is repaired, so the repair becomes an event also when the worker
//! is killed between the two. No database is ever marked or written to, and none is dropped but one that a job has
//! recorded as made and left (see [`survey`]). Users are changed only if their name is this installation's, and only
//! while the tenant's database carries its ownership marker.

mod compare;
mod confirm;
mod expected;
mod leftovers;
mod look;
mod repair;
mod survey;

use super::saga::{EndedBy, Saga, ServerWork};
use super::{Context, StepError};
use crate::server::inventory::{Inventory, Scope};
use compare::Ours;
use expected::Expected;
use kernel::audit::{self, Audit, Finding, Row};
use kernel::jobs::JobError;
use std::time::Duration;

/// Longest time for the survey of a server: ten thousand tenants take seconds on MariaDB and a minute on MySQL.
const SURVEY_DEADLINE: Duration = Duration::from_secs(600);

/// Nothing is undone: what was repaired is right.
pub const SAGA: Saga = Saga {
    server_work: Some(ServerWork {
        deadline: SURVEY_DEADLINE,
        act: |tools, lease| Box::pin(async move { survey::act(tools, lease).await.map(|()| EndedBy::Work) }),
    }),
    ..Saga::of_tenant(&[look::STEP, repair::STEP, confirm::STEP])
};

/// The audit that this job belongs to.
async fn audit_of(context: &Context<'_>) -> Result<Audit, StepError> {
    let audit = audit::of_job(context.tools.store.pool(), context.lease.operation_id).await.map_err(JobError::from)?;
    audit.ok_or(StepError::Unfit("the job belongs to no audit"))
}

/// Where this job's findings are stored.
fn row<'a>(context: &Context<'a>, audit: &'a Audit) -> Row<'a> {
    Row { audit_id: &audit.audit_id, server: &context.tools.server.id, tenant: context.tenant.tenant_id.as_str() }
}

/// The tenant as it is now, everywhere.
struct Present {
    expected: Expected,
    seen: Inventory,
    findings: Vec<Finding>,
}

async fn examine(context: &mut Context<'_>) -> Result<Present, StepError> {
    let tenant_id = &context.tenant.tenant_id;
    // Records the accounts of a tenant from before the records.
    context.accounts().await?;
    let expected = expected::one(context.tools, tenant_id).await.map_err(JobError::from)?;
    let expected = expected.ok_or(StepError::Unfit("there is no such tenant"))?;
    let [first, _] = &expected.usernames;
    // The two names differ in their last letter only.
    let scope = Scope { users: &first[..first.len() - 1], database: Some(&expected.tenant.database.name) };
    let seen = context.session.inventory(scope).await?;
    let ours = Ours {
        installation: &context.tools.installation,
        account_host: &context.tools.account_host,
        dialect: context.session.dialect,
    };
    let findings = compare::of_tenant(&ours, &expected, &seen);
    Ok(Present { expected, seen, findings })
}
