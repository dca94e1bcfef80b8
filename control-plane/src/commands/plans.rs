//! Plans: what their tenants may use. The jobs of a change bring a new number of connections to the database servers.

use super::{Refusal, Write};
use kernel::domain::TenantId;
use kernel::http::{ApiError, Code};
use kernel::jobs::{self, JobKind, NewJob};
use kernel::store::{Plan, UnitOfWork};
use std::time::Duration;

/// Makes a plan, or replaces the one of the same name.
pub struct PutPlan {
    pub plan: Plan,
    pub patience: Duration,
}

/// What became of a [`PutPlan`].
pub struct PlanPut {
    /// Whether there was no such plan before.
    pub is_new: bool,
    /// How many tenants have the plan.
    pub tenants: u64,
}

impl Write for PutPlan {
    type Done = PlanPut;

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<PlanPut, Refusal> {
        let before = Plan::hold(unit.connection(), &self.plan.plan_type).await?;
        self.plan.put(unit.connection()).await?;
        let tenants = count(unit, &self.plan.plan_type).await?;
        if before.as_ref().is_some_and(|before| before.max_connections != self.plan.max_connections) {
            enforce_all(unit, &self.plan.plan_type, self.patience).await?;
        }
        tracing::info!(actor, plan_type = self.plan.plan_type, tenants, "a plan was changed");
        Ok(PlanPut { is_new: before.is_none(), tenants })
    }
}

/// Enqueues a job, in the lane of bulk work, for every tenant of the plan that may log in. The job that lets one of the
/// others log in again reads the plan then.
async fn enforce_all(unit: &mut UnitOfWork, plan_type: &str, patience: Duration) -> Result<(), sqlx::Error> {
    let tenants: Vec<(String, String)> = sqlx::query_as(
        "SELECT tenant_id, server_id FROM saas_tenant_snapshots
         WHERE plan_type = ? AND server_id <> '' AND status <> 0",
    )
    .bind(plan_type)
    .fetch_all(unit.connection())
    .await?;
    let jobs = tenants.into_iter().filter_map(|(tenant_id, server)| {
        let tenant_id: TenantId = tenant_id.parse().ok()?;
        Some(NewJob::for_tenant(JobKind::Enforce, &tenant_id, server, patience).in_bulk())
    });
    jobs::enqueue(unit.connection(), &jobs.collect::<Vec<_>>()).await.map(drop)
}

/// Removes a plan that no tenant has, and that is not the one of new tenants.
pub struct RemovePlan {
    pub plan_type: String,
}

impl Write for RemovePlan {
    type Done = ();

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<(), Refusal> {
        if Plan::hold(unit.connection(), &self.plan_type).await?.is_none() {
            return Err(ApiError::from(Code::PlanNotFound).with("field", "plan_type").into());
        }
        if self.plan_type == Plan::DEFAULT {
            let detail = "new tenants get this plan unless their creator names another one";
            return Err(ApiError::from(Code::PlanInUse).with("detail", detail).into());
        }
        match count(unit, &self.plan_type).await? {
            0 => {}
            tenants => return Err(ApiError::from(Code::PlanInUse).with("tenants", tenants).into()),
        }
        sqlx::query("DELETE FROM saas_plans WHERE plan_type = ?")
            .bind(&self.plan_type)
            .execute(unit.connection())
            .await?;
        tracing::info!(actor, plan_type = self.plan_type, "a plan was removed");
        Ok(())
    }
}

/// Tenants of a plan, without those of which only the history is left.
async fn count(unit: &mut UnitOfWork, plan_type: &str) -> Result<u64, sqlx::Error> {
    let tenants: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM saas_tenant_snapshots WHERE plan_type = ? AND server_id <> ''")
            .bind(plan_type)
            .fetch_one(unit.connection())
            .await?;
    Ok(tenants.unsigned_abs())
}

/// `invalid_plan_type` unless the plan exists. No other unit can remove the plan until this unit ends.
pub async fn check_plan(unit: &mut UnitOfWork, plan_type: &str) -> Result<(), Refusal> {
    if is_plan_name(plan_type) && Plan::use_by_tenant(unit.connection(), plan_type).await? {
        return Ok(());
    }
    let known: Vec<_> = Plan::all(unit.connection()).await?.into_iter().map(|plan| plan.plan_type).collect();
    Err(ApiError::invalid("plan_type", "plan_type", format!("one of {}", known.join(", "))).into())
}

/// Whether `text` could be the name of a plan. The database's column is ASCII, so it is asked for nothing else.
pub fn is_plan_name(text: &str) -> bool {
    (1..=50).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}
