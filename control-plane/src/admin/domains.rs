//! Domains of a tenant.

use super::Caller;
use super::tenants::{parse_domain, path_tenant_id};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::extract::State;
use axum::http::StatusCode;
use kernel::domain::{Command, DomainName, Tenant, TenantId};
use kernel::http::{ApiError, ApiPath};
use kernel::store::UnitOfWork;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Body of `POST .../domains`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDomain {
    #[schema(value_type = DomainName)]
    domain: String,
}

/// Route a domain to a tenant.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/domains", tag = "domains", request_body = NewDomain, params(("tenant_id" = TenantId, Path)), responses(
    (status = 201, description = "It does", body = Registered),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "domain_exists, domain_taken, invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_domain")))]
pub async fn register(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let body: NewDomain = caller.json()?;
    let tenant_id = path_tenant_id(&id)?;
    answer(&app, &caller, &Register { tenant_id, domain: parse_domain(&body.domain, "domain")? }).await
}

/// A domain that routes to a tenant.
#[derive(Serialize, ToSchema)]
struct Registered {
    domain: DomainName,
    /// Whether it is the tenant's primary one.
    primary: bool,
    tenant: Tenant,
}

struct Register {
    tenant_id: TenantId,
    domain: DomainName,
}

impl Write for Register {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let command = Command::RegisterDomain { domain: self.domain.clone() };
        let tenant = unit.execute(&self.tenant_id, actor, command).await?;
        let primary = tenant.tenant_domain.as_ref() == Some(&self.domain);
        let registered = Registered { domain: self.domain.clone(), primary, tenant };
        Ok(Answer::new(StatusCode::CREATED, json!(registered)))
    }
}

/// Route a domain to a tenant no more.
#[utoipa::path(delete, path = "/admin/tenants/{tenant_id}/domains/{domain}", tag = "domains", params(("tenant_id" = TenantId, Path), ("domain" = DomainName, Path)), responses(
    (status = 204, description = "Done"),
    (status = 404, description = "tenant_not_found, domain_not_found"),
    (status = 409, description = "invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_domain")))]
pub async fn remove(
    State(app): State<App>,
    ApiPath((id, domain)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    answer(&app, &caller, &Remove { tenant_id: path_tenant_id(&id)?, domain: parse_domain(&domain, "domain")? }).await
}

struct Remove {
    tenant_id: TenantId,
    domain: DomainName,
}

impl Write for Remove {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        unit.execute(&self.tenant_id, actor, Command::RemoveDomain { domain: self.domain.clone() }).await?;
        Ok(Answer::new(StatusCode::NO_CONTENT, Value::Null))
    }
}

/// Make one of a tenant's domains its primary one.
#[utoipa::path(put, path = "/admin/tenants/{tenant_id}/domains/{domain}/primary", tag = "domains", params(("tenant_id" = TenantId, Path), ("domain" = DomainName, Path)), responses(
    (status = 200, description = "The tenant", body = Tenant),
    (status = 404, description = "tenant_not_found, domain_not_found"),
    (status = 409, description = "invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_domain")))]
pub async fn make_primary(
    State(app): State<App>,
    ApiPath((id, domain)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let (tenant_id, domain) = (path_tenant_id(&id)?, parse_domain(&domain, "domain")?);
    answer(&app, &caller, &MakePrimary { tenant_id, domain }).await
}

struct MakePrimary {
    tenant_id: TenantId,
    domain: DomainName,
}

impl Write for MakePrimary {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let command = Command::ChangePrimaryDomain { domain: self.domain.clone() };
        let tenant = unit.execute(&self.tenant_id, actor, command).await?;
        Ok(Answer::new(StatusCode::OK, json!(tenant)))
    }
}
