//! Domains of a tenant.

use super::Caller;
use super::tenants::{parse_domain, path_tenant_id};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use kernel::domain::{Command, DomainName, TenantId};
use kernel::http::ApiError;
use kernel::store::UnitOfWork;
use serde::Deserialize;
use serde_json::{Value, json};

/// Body of `POST .../domains`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDomain {
    domain: String,
}

/// `POST .../domains`.
pub async fn register(State(app): State<App>, Path(id): Path<String>, caller: Caller) -> Result<Answer, ApiError> {
    let body: NewDomain = caller.json()?;
    let tenant_id = path_tenant_id(&id)?;
    answer(&app, &caller, &Register { tenant_id, domain: parse_domain(&body.domain, "domain")? }).await
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
        Ok(Answer::new(StatusCode::CREATED, json!({"domain": self.domain, "primary": primary, "tenant": tenant})))
    }
}

/// `DELETE .../domains/{domain}`.
pub async fn remove(
    State(app): State<App>,
    Path((id, domain)): Path<(String, String)>,
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

/// `PUT .../domains/{domain}/primary`.
pub async fn make_primary(
    State(app): State<App>,
    Path((id, domain)): Path<(String, String)>,
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
