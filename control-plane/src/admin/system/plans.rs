//! Plans: what their tenants may use. A change counts on every node within two seconds, and at the database servers
//! once a job for each tenant has run.

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse};
use crate::app::App;
use crate::commands::{PlanPut, PutPlan, RemovePlan, is_plan_name};
use axum::Json;
use axum::extract::State;
use kernel::http::{ApiError, ApiPath};
use kernel::store::Plan;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use utoipa::ToSchema;

/// 2^53 - 1: most readers of JSON turn a larger number into another one.
const MOST_BYTES: u64 = 9_007_199_254_740_991;

/// A plan and how many tenants have it.
#[derive(Serialize, ToSchema)]
#[schema(as = UsedPlan)]
pub struct Used {
    #[serde(flatten)]
    plan: Plan,
    /// How many tenants have the plan.
    tenants: u64,
}

/// All plans.
#[derive(Serialize, ToSchema)]
pub struct Plans {
    plans: Vec<Used>,
}

/// All plans, with the number of their tenants.
#[utoipa::path(
    get, path = "/admin/plans", tag = "plans",
    responses((status = 200, description = "The plans", body = Plans)),
)]
pub async fn list(State(app): State<App>, _: Caller) -> Result<Json<Plans>, ApiError> {
    let mut connection = app.store.pool().acquire().await?;
    let tenants: Vec<(String, i64)> = sqlx::query_as(
        "SELECT plan_type, COUNT(*) FROM saas_tenant_snapshots WHERE server_id <> '' GROUP BY plan_type",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut tenants: HashMap<String, i64> = tenants.into_iter().collect();
    let plans = Plan::all(&mut *connection).await?.into_iter().map(|plan| {
        let tenants = tenants.remove(&plan.plan_type).unwrap_or_default().unsigned_abs();
        Used { plan, tenants }
    });
    Ok(Json(Plans { plans: plans.collect() }))
}

/// Body of `PUT /admin/plans/{plan_type}`; `null` or left out: not limited by the plan.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PlanLimits)]
pub struct Limits {
    /// A description for people.
    #[serde(default)]
    #[schema(max_length = 200)]
    description: String,
    /// Connections of a tenant's database user, over all nodes; null: the number that each tenant was created with.
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
    /// Of these at once, after a pause; needs a rate, and equals the rate by default.
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
        parse::description(Some(&description))?;
        if description.chars().any(char::is_control) {
            return Err(ApiError::invalid("description", "description", "no control characters"));
        }
        for (field, value, (least, most)) in [
            ("max_connections", self.max_connections, (1, 10_000)),
            ("request_concurrency", Some(self.request_concurrency), (1, 10_000)),
            ("request_queue", Some(self.request_queue), (0, 100_000)),
            ("request_rate", self.request_rate, (1, 1_000_000)),
            ("request_burst", self.request_burst, (1, 1_000_000)),
        ] {
            if value.is_some_and(|value| !(least..=most).contains(&value)) {
                return Err(ApiError::invalid(field, field, format!("a number from {least} to {most}")));
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

/// Make a plan, or replace the one of the same name.
///
/// Every node applies it to the plan's tenants within moments, and their database servers once jobs have run.
#[utoipa::path(
    put, path = "/admin/plans/{plan_type}", tag = "plans",
    request_body = Limits,
    params(("plan_type" = String, Path, pattern = "^[a-z0-9_-]{1,50}$")),
    responses(
        (status = 200, description = "Changed", body = Used),
        (status = 201, description = "Made", body = Used),
        (
            status = 422,
            description = "invalid_plan_type, invalid_description, invalid_max_connections, \
                invalid_request_concurrency, invalid_request_queue, invalid_request_rate, invalid_request_burst, \
                invalid_storage_bytes",
        ),
    ),
)]
pub async fn put(State(app): State<App>, ApiPath(name): ApiPath<String>, caller: Caller) -> Result<Answer, ApiError> {
    let limits: Limits = caller.json()?;
    let plan = limits.check(plan_type(name)?)?;
    let put = PutPlan { plan: plan.clone(), patience: app.patience };
    let done = |put: PlanPut| {
        let used = Used { plan: plan.clone(), tenants: put.tenants };
        if put.is_new { Answer::created(used) } else { Answer::ok(used) }
    };
    answer(&app, &caller, &put, done).await
}

/// Remove a plan that no tenant has. The plan `basic`, which new tenants get, cannot be removed.
#[utoipa::path(
    delete, path = "/admin/plans/{plan_type}", tag = "plans",
    params(("plan_type" = String, Path, pattern = "^[a-z0-9_-]{1,50}$")),
    responses(
        (status = 204, description = "Done"),
        (status = 404, description = "plan_not_found"),
        (status = 409, description = "plan_in_use"),
        (status = 422, description = "invalid_plan_type"),
    ),
)]
pub async fn remove(
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    answer(&app, &caller, &RemovePlan { plan_type: plan_type(name)? }, Answer::no_content).await
}

fn plan_type(name: String) -> Result<String, ApiError> {
    if is_plan_name(&name) {
        Ok(name)
    } else {
        Err(ApiError::invalid("plan_type", "plan_type", "1 to 50 of a-z, 0-9, '-' and '_'"))
    }
}
