//! Domains of a tenant: listed, requested, proven, made primary, removed.

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse, read};
use crate::app::App;
use crate::commands::{
    MakePrimaryDomain, RegisterDomain, RemoveDomain, ServeProvenDomain, database_time, not_requested,
};
use crate::ownership::{Record, Verdict};
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use kernel::domain::{DomainName, PendingDomain, Tenant, TenantId};
use kernel::http::{ApiError, ApiPath, Code};
use serde::{Deserialize, Serialize};
use serde_json::json;
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
    /// Domains that serve, in the order of registration.
    domains: Vec<Serving>,
    /// Domains that wait for their proof, in the order of the requests.
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
    /// When the request is forgotten.
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
#[utoipa::path(
    get, path = "/admin/tenants/{tenant_id}/domains", tag = "domains",
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 200, description = "The domains", body = Domains),
        (status = 404, description = "tenant_not_found"),
        (status = 422, description = "invalid_tenant_id"),
    ),
)]
pub async fn list(State(app): State<App>, ApiPath(id): ApiPath<String>, _: Caller) -> Result<Json<Domains>, ApiError> {
    let tenant = read::tenant(&app, &parse::tenant_id(&id)?).await?;
    let primary = |domain: &DomainName| tenant.tenant_domain.as_ref() == Some(domain);
    let serving = |domain: &DomainName| Serving { domain: domain.clone(), primary: primary(domain) };
    Ok(Json(Domains {
        domains: tenant.domains.iter().map(serving).collect(),
        pending: tenant.pending_domains.iter().map(Waiting::from).collect(),
    }))
}

/// Route a domain to a tenant.
///
/// If the installation requires a proof, the answer is the TXT record to set. A repeated request gets the same record
/// until it expires. A domain that its former tenant takes back while it rests needs no proof.
#[utoipa::path(
    post, path = "/admin/tenants/{tenant_id}/domains", tag = "domains",
    request_body = NewDomain,
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 201, description = "It routes to the tenant", body = Registered),
        (status = 202, description = "It will route to the tenant once its record has been seen", body = Requested),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "domain_exists, domain_taken, invalid_state"),
        (status = 422, description = "invalid_tenant_id, invalid_domain"),
    ),
)]
pub async fn register(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let body: NewDomain = caller.json()?;
    let tenant_id = parse::tenant_id(&id)?;
    let domain = parse::domain(&body.domain, "domain")?;
    let register = RegisterDomain { tenant_id, domain: domain.clone(), ownership: Arc::clone(&app.ownership) };
    let done = |tenant: Tenant| match tenant.pending_domain(&domain).map(Waiting::from) {
        Some(waiting) => Answer::accepted(Requested { waiting, primary: false, verified: false, tenant }),
        None => Answer::created(Registered::new(&domain, tenant)),
    };
    answer(&app, &caller, &register, done).await
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

/// Check a domain's record, and route the domain if the record is right.
///
/// `reason` of 409: `no_record`, or `wrong_value` with the values that were `found`; of 503: `unanswered` if DNS did
/// not answer.
#[utoipa::path(
    post, path = "/admin/tenants/{tenant_id}/domains/{domain}/verify", tag = "domains",
    params(("tenant_id" = TenantId, Path), ("domain" = DomainName, Path)),
    responses(
        (status = 200, description = "It routes to the tenant", body = Registered),
        (status = 404, description = "tenant_not_found, domain_not_found"),
        (status = 409, description = "domain_unverified, domain_taken, invalid_state"),
        (status = 422, description = "invalid_tenant_id, invalid_domain"),
    ),
)]
pub async fn verify(
    State(app): State<App>,
    ApiPath((id, domain)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let (tenant_id, domain) = (parse::tenant_id(&id)?, parse::domain(&domain, "domain")?);
    let tenant = read::tenant(&app, &tenant_id).await?;
    let mut challenge = String::new();
    if !tenant.domains.contains(&domain) {
        let now = database_time(&mut *app.store.pool().acquire().await?).await?;
        let counts = |pending: &&PendingDomain| pending.expires_at > now;
        let pending = tenant.pending_domain(&domain).filter(counts).ok_or_else(not_requested)?;
        challenge.clone_from(&pending.challenge);
        let verdict = app.ownership.check(&domain, &challenge).await;
        if let Some(refusal) = refusal(verdict, pending) {
            return Err(refusal);
        }
    }
    let serve = ServeProvenDomain { tenant_id, domain: domain.clone(), challenge };
    answer(&app, &caller, &serve, |tenant| Answer::ok(Registered::new(&domain, tenant))).await
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

/// Stop routing a domain to a tenant, or forget the request for it.
#[utoipa::path(
    delete, path = "/admin/tenants/{tenant_id}/domains/{domain}", tag = "domains",
    params(("tenant_id" = TenantId, Path), ("domain" = DomainName, Path)),
    responses(
        (status = 204, description = "Done"),
        (status = 404, description = "tenant_not_found, domain_not_found"),
        (status = 409, description = "invalid_state"),
        (status = 422, description = "invalid_tenant_id, invalid_domain"),
    ),
)]
pub async fn remove(
    State(app): State<App>,
    ApiPath((id, domain)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let (tenant_id, domain) = (parse::tenant_id(&id)?, parse::domain(&domain, "domain")?);
    answer(&app, &caller, &RemoveDomain { tenant_id, domain }, Answer::no_content).await
}

/// Make one of a tenant's domains its primary one.
#[utoipa::path(
    put, path = "/admin/tenants/{tenant_id}/domains/{domain}/primary", tag = "domains",
    params(("tenant_id" = TenantId, Path), ("domain" = DomainName, Path)),
    responses(
        (status = 200, description = "The tenant", body = Tenant),
        (status = 404, description = "tenant_not_found, domain_not_found"),
        (status = 409, description = "invalid_state"),
        (status = 422, description = "invalid_tenant_id, invalid_domain"),
    ),
)]
pub async fn make_primary(
    State(app): State<App>,
    ApiPath((id, domain)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let (tenant_id, domain) = (parse::tenant_id(&id)?, parse::domain(&domain, "domain")?);
    answer(&app, &caller, &MakePrimaryDomain { tenant_id, domain }, Answer::ok).await
}
