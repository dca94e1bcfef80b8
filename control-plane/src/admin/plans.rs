//! Plans: what their tenants may use. A change counts on every node within the bound of everything else, and at the database
//! servers when a job for each tenant has told them.

use super::Caller;
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kernel::domain::TenantId;
use kernel::http::{ApiError, ApiPath, Code};
use kernel::jobs::{self, JobKind, NewJob};
use kernel::store::{Plan, UnitOfWork};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use utoipa::ToSchema;

/// 2^53 - 1: a larger number is another one in most readers of JSON.
const MOST_BYTES: u64 = 9_007_199_254_740_991;

/// A plan and how many tenants have it.
#[derive(Serialize, ToSchema)]
#[schema(as = UsedPlan)]
pub struct Used {
    #[serde(flatten)]
    plan: Plan,
    /// Tenants that have it.
    tenants: u64,
}

/// All plans.
#[derive(Serialize, ToSchema)]
pub struct Plans {
    plans: Vec<Used>,
}

/// All plans, with the number of their tenants.
#[utoipa::path(get, path = "/admin/plans", tag = "plans", responses((status = 200, description = "The plans", body = Plans)))]
pub async fn list(State(app): State<App>, _: Caller) -> Result<Json<Plans>, ApiError> {
    let read = async {
        let mut connection = app.store.pool().acquire().await?;
        let mut tenants: HashMap<String, i64> = sqlx::query_as(
            "SELECT plan_type, COUNT(*) FROM saas_tenant_snapshots WHERE server_id <> '' GROUP BY plan_type",
        )
        .fetch_all(&mut *connection)
        .await?
        .into_iter()
        .collect();
        let plans = Plan::all(&mut *connection).await?.into_iter().map(|plan| {
            let tenants = tenants.remove(&plan.plan_type).unwrap_or_default().unsigned_abs();
            Used { plan, tenants }
        });
        Ok(Plans { plans: plans.collect() })
    };
    read.await.map(Json).map_err(|error: sqlx::Error| ApiError::database(&error))
}

/// Body of `PUT /admin/plans/{plan_type}`; `null` or left out: not limited by the plan.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PlanLimits)]
pub struct Limits {
    /// For people.
    #[serde(default)]
    #[schema(max_length = 200)]
    description: String,
    /// Connections of a tenant's database user, over all nodes; null: what each tenant was created with.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 10_000)]
    max_connections: Option<u32>,
    /// Requests in work at once, per node.
    #[schema(minimum = 1, maximum = 10_000)]
    request_concurrency: u32,
    /// Requests that may wait for one of them, per node.
    #[schema(maximum = 100_000)]
    request_queue: u32,
    /// Requests in a second, per node.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    request_rate: Option<u32>,
    /// Of these at once, after a pause; needs a rate, and is as large unless told otherwise.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    request_burst: Option<u32>,
    /// Bytes of a tenant's database; more is reported, not refused.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    storage_bytes: Option<u64>,
}

impl Limits {
    fn check(self, plan_type: String) -> Result<Plan, ApiError> {
        let description = self.description.trim().to_owned();
        if description.chars().count() > 200 || description.chars().any(char::is_control) {
            return Err(ApiError::invalid("description", "description", "at most 200 characters"));
        }
        for (field, code, value, (least, most)) in [
            ("max_connections", "max_connections", self.max_connections, (1, 10_000)),
            ("request_concurrency", "request_concurrency", Some(self.request_concurrency), (1, 10_000)),
            ("request_queue", "request_queue", Some(self.request_queue), (0, 100_000)),
            ("request_rate", "request_rate", self.request_rate, (1, 1_000_000)),
            ("request_burst", "request_burst", self.request_burst, (1, 1_000_000)),
        ] {
            if value.is_some_and(|value| !(least..=most).contains(&value)) {
                return Err(ApiError::invalid(code, field, format!("a number from {least} to {most}")));
            }
        }
        if self.request_burst.is_some() && self.request_rate.is_none() {
            return Err(ApiError::invalid("request_burst", "request_burst", "a burst needs a request_rate"));
        }
        if self.storage_bytes.is_some_and(|bytes| !(1..=MOST_BYTES).contains(&bytes)) {
            let detail = format!("a number from 1 to {MOST_BYTES}, or null");
            return Err(ApiError::invalid("storage_bytes", "storage_bytes", detail));
        }
        Ok(Plan {
            plan_type,
            description,
            max_connections: self.max_connections,
            request_concurrency: self.request_concurrency,
            request_queue: self.request_queue,
            request_rate: self.request_rate,
            request_burst: self.request_burst,
            storage_bytes: self.storage_bytes,
        })
    }
}

/// Make a plan, or make it this.
///
/// It counts for its tenants within moments, on every node, and at their database servers when jobs have told them.
#[utoipa::path(put, path = "/admin/plans/{plan_type}", tag = "plans", request_body = Limits, params(("plan_type" = String, Path, pattern = "^[a-z0-9_-]{1,50}$")), responses(
    (status = 200, description = "Changed", body = Used),
    (status = 201, description = "Made", body = Used),
    (status = 409, description = "conflict"),
    (status = 422, description = "invalid_plan_type, invalid_description, invalid_max_connections, invalid_request_concurrency, invalid_request_queue, invalid_request_rate, invalid_request_burst, invalid_storage_bytes")))]
pub async fn put(State(app): State<App>, ApiPath(name): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let limits: Limits = caller.json()?;
    let plan = limits.check(plan_type(name)?)?;
    answer(&app, &caller, &Put { plan, patience: app.patience }).await
}

struct Put {
    plan: Plan,
    patience: Duration,
}

impl Write for Put {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let before = Plan::hold(unit.connection(), &self.plan.plan_type).await?;
        self.plan.put(unit.connection()).await?;
        let tenants = count(unit, &self.plan.plan_type).await?;
        let told = before.as_ref().is_some_and(|before| before.max_connections != self.plan.max_connections);
        if told {
            enforce_all(unit, &self.plan.plan_type, self.patience).await?;
        }
        tracing::info!(actor, plan_type = self.plan.plan_type, tenants, "a plan was changed");
        let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        Ok(Answer::new(status, json!(Used { plan: self.plan.clone(), tenants })))
    }
}

/// Has the number of connections told to the server of every tenant that may log in; the others are told when they may
/// again, by the job of that.
async fn enforce_all(unit: &mut UnitOfWork, plan_type: &str, patience: Duration) -> Result<(), sqlx::Error> {
    let tenants: Vec<(String, String)> = sqlx::query_as(
        "SELECT tenant_id, server_id FROM saas_tenant_snapshots WHERE plan_type = ? AND server_id <> '' AND status <> 0",
    )
    .bind(plan_type)
    .fetch_all(unit.connection())
    .await?;
    let jobs = tenants.into_iter().filter_map(|(tenant_id, server)| {
        let tenant_id: TenantId = tenant_id.parse().ok()?;
        Some(NewJob::for_tenant(JobKind::Enforce, &tenant_id, server, patience))
    });
    jobs::enqueue(unit.connection(), &jobs.collect::<Vec<_>>()).await.map(drop)
}

/// Remove a plan that no tenant has.
#[utoipa::path(delete, path = "/admin/plans/{plan_type}", tag = "plans", params(("plan_type" = String, Path, pattern = "^[a-z0-9_-]{1,50}$")), responses(
    (status = 204, description = "Done"),
    (status = 404, description = "plan_not_found"),
    (status = 409, description = "plan_in_use, conflict"),
    (status = 422, description = "invalid_plan_type")))]
pub async fn remove(
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    answer(&app, &caller, &Remove { plan_type: plan_type(name)? }).await
}

struct Remove {
    plan_type: String,
}

impl Write for Remove {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        if Plan::hold(unit.connection(), &self.plan_type).await?.is_none() {
            return Err(ApiError::from(Code::PlanNotFound).with("field", "plan_type").into());
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
        Ok(Answer::new(StatusCode::NO_CONTENT, Value::Null))
    }
}

/// Tenants of a plan, but for those of which only the history is left.
async fn count(unit: &mut UnitOfWork, plan_type: &str) -> Result<u64, sqlx::Error> {
    let (tenants,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM saas_tenant_snapshots WHERE plan_type = ? AND server_id <> ''")
            .bind(plan_type)
            .fetch_one(unit.connection())
            .await?;
    Ok(tenants.unsigned_abs())
}

/// Whether this could be the name of a plan. Anything else is no question to the database, whose column is ASCII.
pub fn is_name(text: &str) -> bool {
    (1..=50).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

fn plan_type(name: String) -> Result<String, ApiError> {
    if is_name(&name) {
        Ok(name)
    } else {
        Err(ApiError::invalid("plan_type", "plan_type", "1 to 50 of a-z, 0-9, '-' and '_'"))
    }
}
