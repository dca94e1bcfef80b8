//! `POST /admin/tenants`.

use super::domains::Waiting;
use crate::admin::answer::{Answer, answer, operation};
use crate::admin::{Caller, parse};
use crate::app::App;
use crate::commands::{CreateTenant, Created};
use axum::extract::State;
use kernel::domain::{DomainName, Tenant, TenantId};
use kernel::http::{ApiError, Code};
use kernel::store::Plan;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// Body of `POST /admin/tenants`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    #[schema(value_type = TenantId)]
    tenant_id: String,
    /// The tenant's name for people.
    #[schema(min_length = 1, max_length = 100, example = "Acme")]
    tenant_name: String,
    /// The tenant's first domain.
    #[serde(default)]
    #[schema(value_type = Option<DomainName>)]
    tenant_domain: Option<String>,
    /// The name of a plan; `basic` by default.
    #[serde(default)]
    plan_type: Option<String>,
}

/// Create a tenant.
///
/// The request is accepted, and the operation shows the progress of the provisioning.
#[utoipa::path(
    post, path = "/admin/tenants", tag = "tenants",
    request_body = NewTenant,
    responses(
        (
            status = 202,
            description = "Accepted",
            body = Accepted,
            headers(("Location" = String, description = "The operation")),
        ),
        (status = 409, description = "tenant_exists, domain_taken"),
        (status = 422, description = "invalid_tenant_id, invalid_tenant_name, invalid_domain, invalid_plan_type"),
    ),
)]
pub async fn create(State(app): State<App>, caller: Caller) -> Result<Answer, ApiError> {
    let body: NewTenant = caller.json()?;
    let create = CreateTenant {
        tenant_id: parse::new_tenant_id(&body.tenant_id)?,
        tenant_name: parse::tenant_name(&body.tenant_name)?,
        domain: body.tenant_domain.as_deref().map(|text| parse::domain(text, "tenant_domain")).transpose()?,
        plan_type: body.plan_type.unwrap_or_else(|| Plan::DEFAULT.into()),
        patience: app.patience,
        ownership: Some(Arc::clone(&app.ownership)),
    };
    let accepted = |Created { tenant, operation_id }| {
        let pending_domain = tenant.pending_domains.first().map(Waiting::from);
        Answer::accepted(Accepted { tenant, operation_id, pending_domain }).at(operation(operation_id))
    };
    answer(&app, &caller, &create, accepted).await.map_err(name_of_this_body)
}

/// The domain has another name in this body than in others.
fn name_of_this_body(error: ApiError) -> ApiError {
    if error.code() == Code::DomainTaken { error.with("field", "tenant_domain") } else { error }
}

/// A tenant whose provisioning has been accepted.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    tenant: Tenant,
    /// The operation that provisions it.
    #[schema(value_type = String, format = "uuid")]
    operation_id: Uuid,
    /// Its domain, if the tenant has to prove it before it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_domain: Option<Waiting>,
}
