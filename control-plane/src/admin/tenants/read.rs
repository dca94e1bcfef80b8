//! Reading tenants: a page of them, and one as it is or as it was.

use crate::admin::{Caller, parse};
use crate::app::App;
use crate::cursor::Page;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use kernel::domain::{Position, Tenant, TenantId, TenantState};
use kernel::http::{ApiError, ApiPath, ApiQuery, Code, parse_time};
use kernel::store::{At, FoldError, TenantFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Query of `GET /admin/tenants`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only tenants in this state, by its word or its number.
    #[param(pattern = "^(provisioning|active|suspended|maintenance|failed|deleted|purged|[0-4])$")]
    status: Option<String>,
    /// Most rows of the page; 50 by default.
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
#[utoipa::path(
    get, path = "/admin/tenants", tag = "tenants",
    params(Filter),
    responses(
        (status = 200, description = "A page", body = Tenants),
        (status = 422, description = "invalid_status, invalid_limit, invalid_cursor"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    ApiQuery(filter): ApiQuery<Filter>,
    _: Caller,
) -> Result<Json<Tenants>, ApiError> {
    let page = Page::parse('t', filter.limit.as_deref(), filter.cursor.as_deref(), (50, 500))?;
    let (status, state) = filter.status.as_deref().map(parse_status).transpose()?.unwrap_or_default();
    let filter = TenantFilter { status, state, after: Position(page.after), limit: page.rows() };
    let (rows, next_cursor) = page.cut(app.store.tenants(&filter).await?, |(position, _)| position.0);
    Ok(Json(Tenants { tenants: rows.into_iter().map(|(_, tenant)| tenant).collect(), next_cursor }))
}

/// Query of `GET /admin/tenants/{tenant_id}`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Moment {
    /// A position, or an RFC 3339 time.
    at: Option<String>,
}

/// A tenant as it is now, or with `at` as it was then.
#[utoipa::path(
    get, path = "/admin/tenants/{tenant_id}", tag = "tenants",
    params(("tenant_id" = TenantId, Path), Moment),
    responses(
        (
            status = 200,
            description = "The tenant",
            body = Tenant,
            headers(("ETag" = String, description = "Its version, for If-Match")),
        ),
        (status = 404, description = "tenant_not_found"),
        (status = 422, description = "invalid_tenant_id, invalid_at"),
    ),
)]
pub async fn get(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(moment): ApiQuery<Moment>,
    _: Caller,
) -> Result<impl IntoResponse, ApiError> {
    let id = parse::tenant_id(&id)?;
    let tenant = match moment.at.as_deref().map(parse_at).transpose()? {
        None => app.store.tenant(&id).await?,
        Some(at) => app.store.tenant_at(&id, at).await.map_err(|error| match error {
            FoldError::Database(error) => ApiError::database(&error),
            error => ApiError::internal(&error),
        })?,
    };
    let tenant = tenant.ok_or(Code::TenantNotFound)?;
    Ok(([(header::ETAG, format!("\"{}\"", tenant.version))], Json(tenant)))
}

/// A status by its number, or a state by its word; the state comes with its number, which has an index.
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

/// A moment of the past: a position, or a time by RFC 3339.
fn parse_at(text: &str) -> Result<At, ApiError> {
    if let Ok(position) = text.parse() {
        return Ok(At::Position(Position(position)));
    }
    parse_time(text, "at").map(At::Time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

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
}
