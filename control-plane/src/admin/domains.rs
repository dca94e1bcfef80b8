//! Domains of a tenant: asked for, proven, removed. What a domain needs before it serves says [`crate::ownership`].

use super::Caller;
use super::tenants::{parse_domain, path_tenant_id};
use crate::ownership::{Ownership, Record, Verdict, new_challenge};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::domain::{Command, DomainName, PendingDomain, Rejection, Tenant, TenantId};
use kernel::http::{ApiError, ApiPath, Code};
use kernel::store::{CommandError, UnitOfWork};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::MySqlConnection;
use std::sync::Arc;
use utoipa::ToSchema;

/// Body of `POST .../domains`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDomain {
    #[schema(value_type = DomainName)]
    domain: String,
}

/// The domains of a tenant.
#[derive(Serialize, ToSchema)]
pub struct Domains {
    /// Those that serve, in the order of registration.
    domains: Vec<Serving>,
    /// Those that wait for their proof, in the order of asking.
    pending: Vec<Waiting>,
}

/// A domain that serves.
#[derive(Serialize, ToSchema)]
struct Serving {
    domain: DomainName,
    /// Whether it is the tenant's primary one.
    primary: bool,
}

/// A domain that waits for its proof.
#[derive(Serialize, ToSchema)]
pub struct Waiting {
    domain: DomainName,
    record: Record,
    requested_at: DateTime<Utc>,
    /// Then it is forgotten.
    expires_at: DateTime<Utc>,
}

impl From<&PendingDomain> for Waiting {
    fn from(pending: &PendingDomain) -> Self {
        Self {
            domain: pending.domain.clone(),
            record: Record::of(&pending.domain, &pending.challenge),
            requested_at: pending.requested_at,
            expires_at: pending.expires_at,
        }
    }
}

/// The domains of a tenant: those that serve, and those that wait for their proof.
#[utoipa::path(get, path = "/admin/tenants/{tenant_id}/domains", tag = "domains", params(("tenant_id" = TenantId, Path)), responses(
    (status = 200, description = "The domains", body = Domains),
    (status = 404, description = "tenant_not_found"),
    (status = 422, description = "invalid_tenant_id")))]
pub async fn list(State(app): State<App>, ApiPath(id): ApiPath<String>, _: Caller) -> Result<Json<Domains>, ApiError> {
    let tenant = find(&app, &path_tenant_id(&id)?).await?;
    let primary = |domain: &DomainName| tenant.tenant_domain.as_ref() == Some(domain);
    let serving = |domain: &DomainName| Serving { domain: domain.clone(), primary: primary(domain) };
    Ok(Json(Domains {
        domains: tenant.domains.iter().map(serving).collect(),
        pending: tenant.pending_domains.iter().map(Waiting::from).collect(),
    }))
}

/// Route a domain to a tenant.
///
/// Where the installation wants a proof, the answer is the TXT record to set; asked for again, it stays the same as long as
/// it counts. A domain that its tenant takes back while it rests needs none.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/domains", tag = "domains", request_body = NewDomain, params(("tenant_id" = TenantId, Path)), responses(
    (status = 201, description = "It does", body = Registered),
    (status = 202, description = "It will, once its record has been seen", body = Requested),
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
    let domain = parse_domain(&body.domain, "domain")?;
    answer(&app, &caller, &Register { tenant_id, domain, ownership: Arc::clone(&app.ownership) }).await
}

/// A domain that routes to a tenant.
#[derive(Serialize, ToSchema)]
struct Registered {
    domain: DomainName,
    /// Whether it is the tenant's primary one.
    primary: bool,
    /// Always true.
    verified: bool,
    tenant: Tenant,
}

impl Registered {
    fn new(domain: &DomainName, tenant: Tenant) -> Self {
        let primary = tenant.tenant_domain.as_ref() == Some(domain);
        Self { domain: domain.clone(), primary, verified: true, tenant }
    }
}

/// A domain that will route to a tenant.
#[derive(Serialize, ToSchema)]
struct Requested {
    #[serde(flatten)]
    waiting: Waiting,
    /// Always false.
    primary: bool,
    /// Always false.
    verified: bool,
    tenant: Tenant,
}

struct Register {
    tenant_id: TenantId,
    domain: DomainName,
    ownership: Arc<Ownership>,
}

impl Write for Register {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let Self { tenant_id, domain, ownership } = self;
        let present = unit.tenant(tenant_id).await?.ok_or(Code::TenantNotFound)?;
        if present.domains.contains(domain) {
            return Err(CommandError::from(Rejection::DomainPresent).into());
        }
        if ownership.is_needed(unit, tenant_id, domain).await? {
            let tenant = request(unit, actor, tenant_id, domain, ownership).await?;
            let waiting = tenant.pending_domain(domain).map(Waiting::from).ok_or(Code::Conflict)?;
            let requested = Requested { waiting, primary: false, verified: false, tenant };
            return Ok(Answer::new(StatusCode::ACCEPTED, json!(requested)));
        }
        let tenant = unit.execute(tenant_id, actor, Command::RegisterDomain { domain: domain.clone() }).await?;
        Ok(Answer::new(StatusCode::CREATED, json!(Registered::new(domain, tenant))))
    }
}

/// Asks for the proof of a domain. Asked for again, the same record is to be set, as long as it counts.
pub async fn request(
    unit: &mut UnitOfWork,
    actor: &str,
    tenant_id: &TenantId,
    domain: &DomainName,
    ownership: &Ownership,
) -> Result<Tenant, Refusal> {
    let present = unit.tenant(tenant_id).await?.ok_or(Code::TenantNotFound)?;
    let now = now(unit.connection()).await?;
    if present.pending_domain(domain).is_some_and(|pending| pending.expires_at <= now) {
        unit.execute(tenant_id, actor, Command::ExpireDomainRequest { domain: domain.clone() }).await?;
    }
    let (challenge, valid_days) = (new_challenge(), ownership.days);
    let command = Command::RequestDomain { domain: domain.clone(), challenge, valid_days };
    Ok(unit.execute(tenant_id, actor, command).await?)
}

/// Look for a domain's record, and serve it if it is there.
///
/// `reason` of 409: `no_record`, or `wrong_value` with what was `found`; of 503: `unanswered` when DNS did not answer.
#[utoipa::path(post, path = "/admin/tenants/{tenant_id}/domains/{domain}/verify", tag = "domains", params(("tenant_id" = TenantId, Path), ("domain" = DomainName, Path)), responses(
    (status = 200, description = "It routes to the tenant", body = Registered),
    (status = 404, description = "tenant_not_found, domain_not_found"),
    (status = 409, description = "domain_unverified, domain_taken, invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_domain")))]
pub async fn verify(
    State(app): State<App>,
    ApiPath((id, domain)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let (tenant_id, domain) = (path_tenant_id(&id)?, parse_domain(&domain, "domain")?);
    let tenant = find(&app, &tenant_id).await?;
    let mut challenge = String::new();
    if !tenant.domains.contains(&domain) {
        let now = async { now(&mut *app.store.pool().acquire().await?).await };
        let now = now.await.map_err(|error| ApiError::database(&error))?;
        let counts = |pending: &&PendingDomain| pending.expires_at > now;
        let pending = tenant.pending_domain(&domain).filter(counts).ok_or_else(not_asked_for)?;
        challenge.clone_from(&pending.challenge);
        let verdict = app.ownership.check(&domain, &challenge).await;
        if let Some(refusal) = refusal(verdict, pending) {
            return Err(refusal);
        }
    }
    answer(&app, &caller, &Proven { tenant_id, domain, challenge }).await
}

fn refusal(verdict: Verdict, pending: &PendingDomain) -> Option<ApiError> {
    let reason = verdict.as_str();
    let refused = |code: Code| ApiError::from(code).with("field", "domain").with("reason", reason);
    let unproven =
        || refused(Code::DomainUnverified).with("record", json!(Record::of(&pending.domain, &pending.challenge)));
    match verdict {
        Verdict::Proven => None,
        Verdict::NoRecord => Some(unproven()),
        Verdict::WrongValue(found) => Some(unproven().with("found", found)),
        Verdict::Unanswered => Some(refused(Code::Unavailable).retry_after(5)),
    }
}

fn not_asked_for() -> ApiError {
    ApiError::from(Code::DomainNotFound).with("field", "domain")
}

/// A domain whose record was seen. What was asked for may have changed since, so it is looked at again.
pub struct Proven {
    /// Of which tenant.
    pub tenant_id: TenantId,
    /// Which.
    pub domain: DomainName,
    /// The value that was seen.
    pub challenge: String,
}

impl Write for Proven {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let now = now(unit.connection()).await?;
        let mut tenant = unit.tenant(&self.tenant_id).await?.ok_or(Code::TenantNotFound)?;
        if !tenant.domains.contains(&self.domain) {
            let counts = |pending: &&PendingDomain| pending.challenge == self.challenge && pending.expires_at > now;
            tenant.pending_domain(&self.domain).filter(counts).ok_or_else(not_asked_for)?;
            let command = Command::RegisterDomain { domain: self.domain.clone() };
            tenant = unit.execute(&self.tenant_id, actor, command).await?;
        }
        Ok(Answer::new(StatusCode::OK, json!(Registered::new(&self.domain, tenant))))
    }
}

/// A request for a domain that nobody has proven in time.
pub struct Expired {
    /// Of which tenant.
    pub tenant_id: TenantId,
    /// Which.
    pub domain: DomainName,
}

impl Write for Expired {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let now = now(unit.connection()).await?;
        let tenant = unit.tenant(&self.tenant_id).await?.ok_or(Code::TenantNotFound)?;
        // Asked for anew meanwhile.
        let expired = |pending: &&PendingDomain| pending.expires_at <= now;
        tenant.pending_domain(&self.domain).filter(expired).ok_or_else(not_asked_for)?;
        let command = Command::ExpireDomainRequest { domain: self.domain.clone() };
        unit.execute(&self.tenant_id, actor, command).await?;
        Ok(Answer::new(StatusCode::NO_CONTENT, Value::Null))
    }
}

/// Route a domain to a tenant no more, or forget that it was asked for.
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

async fn find(app: &App, tenant_id: &TenantId) -> Result<Tenant, ApiError> {
    let found = app.store.tenant(tenant_id).await.map_err(|error| ApiError::database(&error))?;
    Ok(found.ok_or(Code::TenantNotFound)?)
}

/// The time that decides: the database's.
async fn now(connection: &mut MySqlConnection) -> Result<DateTime<Utc>, sqlx::Error> {
    let (now,): (NaiveDateTime,) = sqlx::query_as("SELECT UTC_TIMESTAMP(6)").fetch_one(connection).await?;
    Ok(now.and_utc())
}
