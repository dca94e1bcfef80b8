//! Tenants: create, list, read.

use super::Caller;
use super::domains;
use super::page::{cut, parse_cursor};
use super::plans;
use crate::ownership::Ownership;
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::DateTime;
use kernel::domain::{Command, DomainName, Position, Tenant, TenantId, TenantState};
use kernel::http::{ApiError, ApiPath, ApiQuery, Code, parse_limit};
use kernel::jobs::{self, JobKind, NewJob};
use kernel::store::{At, CommandError, FoldError, Plan, TenantFilter, UnitOfWork, installation, servers};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Body of `POST /admin/tenants`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    #[schema(value_type = TenantId)]
    tenant_id: String,
    /// Name for people.
    #[schema(min_length = 1, max_length = 100, example = "Acme")]
    tenant_name: String,
    /// First domain.
    #[serde(default)]
    #[schema(value_type = Option<DomainName>)]
    tenant_domain: Option<String>,
    /// A plan; `basic` unless told otherwise.
    #[serde(default)]
    plan_type: Option<String>,
}

/// Create a tenant.
///
/// It is accepted and provisioned; the operation tells how far that is.
#[utoipa::path(post, path = "/admin/tenants", tag = "tenants", request_body = NewTenant, responses(
    (status = 202, description = "Accepted", body = Accepted, headers(("Location" = String, description = "The operation"))),
    (status = 409, description = "tenant_exists, domain_taken, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_tenant_name, invalid_domain, invalid_plan_type")))]
pub async fn create(State(app): State<App>, caller: Caller) -> Result<Answer, ApiError> {
    let body: NewTenant = caller.json()?;
    let create = CreateTenant {
        tenant_id: parse_tenant_id(&body.tenant_id)?,
        tenant_name: tenant_name(&body.tenant_name)?,
        domain: body.tenant_domain.as_deref().map(|text| parse_domain(text, "tenant_domain")).transpose()?,
        plan_type: body.plan_type.unwrap_or_else(|| "basic".into()),
        patience: app.patience,
        ownership: Some(Arc::clone(&app.ownership)),
    };
    answer(&app, &caller, &create).await
}

/// A tenant on its way.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    tenant: Tenant,
    /// Its provisioning.
    #[schema(value_type = String, format = "uuid")]
    operation_id: Uuid,
    /// Its domain, if that has to be proven before it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_domain: Option<domains::Waiting>,
}

/// The creation of a tenant: its first events and its provisioning job.
pub struct CreateTenant {
    /// Its id.
    pub tenant_id: TenantId,
    /// Its name for people.
    pub tenant_name: String,
    /// Its first domain.
    pub domain: Option<DomainName>,
    /// Its plan.
    pub plan_type: String,
    /// How long failing provisioning is tried.
    pub patience: Duration,
    /// What its domain may have to prove; `None`: nothing.
    pub ownership: Option<Arc<Ownership>>,
}

impl Write for CreateTenant {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        check_plan(unit, &self.plan_type).await?;
        let server = servers::place(unit.connection()).await?;
        let mut to_prove = None;
        if let (Some(domain), Some(ownership)) = (&self.domain, &self.ownership) {
            let needed = ownership.is_needed(unit, &self.tenant_id, domain).await.map_err(of_this_request)?;
            to_prove = needed.then_some((domain, ownership));
        }
        let command = Command::Create {
            tenant_name: self.tenant_name.clone(),
            domain: self.domain.clone().filter(|_| to_prove.is_none()),
            plan_type: self.plan_type.clone(),
            server: server.clone(),
            max_connections: installation::default_connections(unit.connection()).await?,
        };
        let created = unit.execute(&self.tenant_id, actor, command).await;
        let mut tenant = created.map_err(of_this_request)?;
        if let Some((domain, ownership)) = to_prove {
            tenant = domains::request(unit, actor, &self.tenant_id, domain, ownership).await?;
        }
        let job = NewJob::for_tenant(JobKind::Provision, &self.tenant_id, server, self.patience);
        let operation_id = jobs::enqueue(unit.connection(), &[job]).await?[0];
        Ok(Answer {
            status: StatusCode::ACCEPTED,
            location: Some(format!("/admin/operations/{operation_id}")),
            body: json!(Accepted {
                pending_domain: tenant.pending_domains.first().map(domains::Waiting::from),
                tenant,
                operation_id,
            }),
        })
    }
}

/// A taken domain by the name that the field has in this request.
fn of_this_request(error: CommandError) -> Refusal {
    match error {
        CommandError::DomainTaken(domain) => {
            ApiError::from(Code::DomainTaken).with("field", "tenant_domain").with("domain", domain.as_str()).into()
        }
        error => Refusal::from(error),
    }
}

/// `invalid_plan_type` unless the plan exists; until the unit ends it is not removed.
pub async fn check_plan(unit: &mut UnitOfWork, plan_type: &str) -> Result<(), Refusal> {
    if plans::is_name(plan_type) && Plan::use_by_tenant(unit.connection(), plan_type).await? {
        return Ok(());
    }
    let known: Vec<_> = Plan::all(unit.connection()).await?.into_iter().map(|plan| plan.plan_type).collect();
    Err(ApiError::invalid("plan_type", "plan_type", format!("one of {}", known.join(", "))).into())
}

/// Query of `GET /admin/tenants`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Only those in this state, by its word or its number.
    #[param(pattern = "^(provisioning|active|suspended|maintenance|failed|deleted|purged|[0-4])$")]
    status: Option<String>,
    /// Most rows of the page; 50 unless told otherwise.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of tenants.
#[derive(Serialize, ToSchema)]
pub struct Tenants {
    tenants: Vec<Tenant>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

/// All tenants, in the order of creation.
#[utoipa::path(get, path = "/admin/tenants", tag = "tenants", params(Page), responses(
    (status = 200, description = "A page", body = Tenants),
    (status = 422, description = "invalid_status, invalid_limit, invalid_cursor")))]
pub async fn list(
    State(app): State<App>,
    ApiQuery(page): ApiQuery<Page>,
    _: Caller,
) -> Result<Json<Tenants>, ApiError> {
    let limit = parse_limit(page.limit.as_deref(), 50, 500)?;
    let (status, state) = page.status.as_deref().map(parse_status).transpose()?.unwrap_or_default();
    let filter =
        TenantFilter { status, state, after: Position(parse_cursor('t', page.cursor.as_deref())?), limit: limit + 1 };
    let rows = app.store.tenants(&filter).await.map_err(|error| ApiError::database(&error))?;
    let (rows, next_cursor) = cut(rows, limit, 't', |(position, _)| position.0);
    Ok(Json(Tenants { tenants: rows.into_iter().map(|(_, tenant)| tenant).collect(), next_cursor }))
}

/// Query of `GET /admin/tenants/{tenant_id}`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Moment {
    /// A position, or an RFC 3339 time.
    at: Option<String>,
}

/// A tenant as it is, or with `at` as it was.
#[utoipa::path(get, path = "/admin/tenants/{tenant_id}", tag = "tenants", params(("tenant_id" = TenantId, Path), Moment), responses(
    (status = 200, description = "The tenant", body = Tenant),
    (status = 404, description = "tenant_not_found"),
    (status = 422, description = "invalid_tenant_id, invalid_at")))]
pub async fn get(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(moment): ApiQuery<Moment>,
    _: Caller,
) -> Result<Json<Tenant>, ApiError> {
    let id = path_tenant_id(&id)?;
    let tenant = match moment.at.as_deref().map(parse_at).transpose()? {
        None => app.store.tenant(&id).await.map_err(|error| ApiError::database(&error))?,
        Some(at) => app.store.tenant_at(&id, at).await.map_err(|error| match error {
            FoldError::Database(error) => ApiError::database(&error),
            error => ApiError::internal(&error),
        })?,
    };
    tenant.map(Json).ok_or(Code::TenantNotFound.into())
}

/// A tenant id in a body.
fn parse_tenant_id(text: &str) -> Result<TenantId, ApiError> {
    text.parse().map_err(|error| ApiError::invalid("tenant_id", "tenant_id", error))
}

/// A tenant id in a path.
pub fn path_tenant_id(text: &str) -> Result<TenantId, ApiError> {
    parse_tenant_id(text)
}

/// A domain in `field`.
pub fn parse_domain(text: &str, field: &str) -> Result<DomainName, ApiError> {
    text.parse().map_err(|error| ApiError::invalid("domain", field, error))
}

/// 1 to 100 characters (the column's length), no control characters, not only blanks.
pub fn tenant_name(text: &str) -> Result<String, ApiError> {
    let name = text.trim();
    if (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
        Ok(name.to_owned())
    } else {
        Err(ApiError::invalid("tenant_name", "tenant_name", "1 to 100 characters without control characters"))
    }
}

/// A number, or a state by its word (and its number, which has an index).
fn parse_status(text: &str) -> Result<(Option<i16>, Option<TenantState>), ApiError> {
    let states = TenantState::ALL;
    if let Some(state) = states.into_iter().find(|state| state.as_str() == text) {
        return Ok((Some(state.status()), Some(state)));
    }
    let number = states.into_iter().map(TenantState::status).find(|status| status.to_string() == text);
    match number {
        Some(number) => Ok((Some(number), None)),
        None => Err(ApiError::invalid("status", "status", "a state or its number, 0 to 4")),
    }
}

/// A moment of the past: a position, or a time.
fn parse_at(text: &str) -> Result<At, ApiError> {
    if let Ok(position) = text.parse() {
        return Ok(At::Position(Position(position)));
    }
    // A `+` that was not written as %2B arrives as a blank; no time has one there.
    let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
    time.map(|time| At::Time(time.to_utc()))
        .map_err(|_| ApiError::invalid("at", "at", "a position, or an RFC 3339 time such as 2026-01-31T12:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_positions_or_times() {
        let noon = At::Time(DateTime::from_timestamp(1_769_860_800, 0).unwrap());
        assert_eq!(parse_at("7").unwrap(), At::Position(Position(7)));
        for text in ["2026-01-31T12:00:00Z", "2026-01-31T20:00:00+08:00", "2026-01-31T20:00:00 08:00"] {
            assert_eq!(parse_at(text).unwrap(), noon);
        }
        for bad in ["", "-1", "yesterday", "2026-01-31", "2026-01-31T12:00:00", "18446744073709551616"] {
            assert!(parse_at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn statuses_are_words_or_numbers() {
        assert_eq!(parse_status("deleted").unwrap(), (Some(0), Some(TenantState::Deleted)));
        assert_eq!(parse_status("4").unwrap(), (Some(4), None));
        assert!(parse_status("5").is_err() && parse_status("").is_err());
    }

    #[test]
    fn names_are_bounded() {
        assert_eq!(tenant_name(" 学校 ").unwrap(), "学校");
        assert!(tenant_name("  ").is_err() && tenant_name("a\nb").is_err() && tenant_name(&"x".repeat(101)).is_err());
    }
}
