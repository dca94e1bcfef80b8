//! The steps that compare a tenant with its server and repair what is safe, one file each; and the survey of a server, which
//! finds out for which tenants that is needed.
//!
//! **Guarantees.** A tenant's things are looked at and repaired while no other job of the tenant runs, so nothing is taken for drift
//! that is only on its way. What a look found is kept before it is repaired, so a repair becomes an event also when the worker is
//! killed between the two. No database is ever dropped, marked or written to; users are changed only if their name is this
//! installation's, and only while the tenant's database bears its mark.

mod compare;
pub mod confirm;
mod expected;
pub mod look;
pub mod repair;
pub mod survey;

use super::{Context, StepError};
use crate::server::inventory::{Inventory, Scope};
use compare::Ours;
use expected::Expected;
use kernel::audit::{self, Audit, Finding, Row};
use kernel::jobs::JobError;

/// The audit that this job belongs to.
async fn audit_of(context: &Context<'_>) -> Result<Audit, StepError> {
    let audit = audit::of_job(context.tools.store.pool(), context.lease.operation_id).await.map_err(JobError::from)?;
    audit.ok_or(StepError::Unfit("the job belongs to no audit"))
}

/// Where this job's findings are kept.
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
    let expected = expected::one(context.tools, tenant_id).await.map_err(JobError::from)?;
    let expected = expected.ok_or(StepError::Unfit("there is no such tenant"))?;
    let [first, _] = &expected.usernames;
    // Both names but for their last letter.
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
