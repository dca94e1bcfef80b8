//! Statistics: of one tenant now, of all by day, and asking for days to be counted (again).

use super::Caller;
use super::tenants::path_tenant_id;
use crate::serve::App;
use crate::statistics::{
    AskCollection, Collection, Live, Question, Row, SystemDay, collections, csv_rows, now, page, parse_day, system_days,
};
use crate::write::{Answer, answer};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use kernel::domain::TenantId;
use kernel::http::{ApiError, ApiPath, ApiQuery, Code};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a tenant has now: orders, revenue, study records.
#[utoipa::path(get, path = "/admin/tenants/{tenant_id}/stats", tag = "statistics", params(("tenant_id" = TenantId, Path)), responses(
    (status = 200, description = "The figures", body = Live),
    (status = 404, description = "tenant_not_found"),
    (status = 409, description = "invalid_state"),
    (status = 422, description = "invalid_tenant_id"),
    (status = 503, description = "tenant_unavailable")))]
pub async fn of_tenant(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    _: Caller,
) -> Result<Json<Live>, ApiError> {
    let id = path_tenant_id(&id)?;
    let tenant = app.store.tenant(&id).await.map_err(|error| ApiError::database(&error))?;
    now(&app, &tenant.ok_or(Code::TenantNotFound)?).await.map(Json)
}

/// What was counted, by day.
#[derive(Serialize, ToSchema)]
pub struct History {
    /// First day.
    from: NaiveDate,
    /// Last day.
    to: NaiveDate,
    /// The whole system by day, unless one tenant was asked for.
    system: Vec<SystemDay>,
    /// Tenants by day.
    tenants: Vec<Row>,
    /// Where the next page of `tenants` begins; null on the last one.
    next_cursor: Option<String>,
}

/// What was counted of tenants by day: JSON, a page at a time, or a CSV of all of it.
#[utoipa::path(get, path = "/admin/stats", tag = "statistics", params(Question), responses(
    (status = 200, description = "Days", content((History = "application/json"), (String = "text/csv"))),
    (status = 422, description = "invalid_from, invalid_to, invalid_tenant_id, invalid_limit, invalid_cursor, invalid_format")))]
pub async fn history(
    State(app): State<App>,
    ApiQuery(question): ApiQuery<Question>,
    headers: HeaderMap,
    _: Caller,
) -> Result<Response, ApiError> {
    let wanted = question.understand()?;
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let csv = match question.format.as_deref() {
        Some("csv") => true,
        Some("json") => false,
        None => accepts.contains("text/csv"),
        Some(_) => return Err(ApiError::invalid("format", "format", "json or csv")),
    };
    if csv {
        let name = format!("attachment; filename=\"statistics_{}_{}.csv\"", wanted.from, wanted.to);
        let rows = csv_rows(app.store.pool().clone(), wanted);
        let headers =
            [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)];
        return Ok((headers, Body::from_stream(rows)).into_response());
    }
    let failed = |error: sqlx::Error| ApiError::database(&error);
    let (rows, next_cursor) = page(app.store.pool(), &wanted).await.map_err(failed)?;
    let system = match wanted.tenant_id {
        Some(_) => Vec::new(),
        None => system_days(app.store.pool(), &wanted).await.map_err(failed)?,
    };
    let (from, to) = (wanted.from, wanted.to);
    Ok(Json(History { from, to, system, tenants: rows, next_cursor }).into_response())
}

/// Body of `POST /admin/stats/collections`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCollection {
    /// First day, in UTC.
    #[schema(value_type = NaiveDate)]
    from: String,
    /// Last day: one that has begun, and at most 366 days in all.
    #[schema(value_type = NaiveDate)]
    to: String,
}

/// What was asked for.
#[derive(Serialize, ToSchema)]
pub struct Collections {
    /// Its id.
    request_id: Option<String>,
    /// One for each database server with tenants.
    collections: Vec<Collection>,
}

/// Have days counted, again if they were.
#[utoipa::path(post, path = "/admin/stats/collections", tag = "statistics", request_body = NewCollection, responses(
    (status = 202, description = "Accepted", body = Collections, headers(("Location" = String, description = "The collections"))),
    (status = 422, description = "invalid_from, invalid_to")))]
pub async fn collect(State(app): State<App>, caller: Caller) -> Result<Answer, ApiError> {
    let body: NewCollection = caller.json()?;
    let days = (parse_day(&body.from, "from")?, parse_day(&body.to, "to")?);
    answer(&app, &caller, &AskCollection::new(days)).await
}

/// The newest collections.
#[utoipa::path(get, path = "/admin/stats/collections", tag = "statistics", responses(
    (status = 200, description = "At most a hundred", body = Collections)))]
pub async fn list(State(app): State<App>, _: Caller) -> Result<Json<Collections>, ApiError> {
    let find = async { collections(&mut *app.store.pool().acquire().await?, None).await };
    let found = find.await.map_err(|error| ApiError::database(&error))?;
    Ok(Json(Collections { request_id: None, collections: found }))
}

/// How far a collection is, and which tenants could not be counted.
#[utoipa::path(get, path = "/admin/stats/collections/{request_id}", tag = "statistics", params(("request_id" = String, Path, description = "As the answer to the request says")), responses(
    (status = 200, description = "The collections", body = Collections),
    (status = 404, description = "operation_not_found"),
    (status = 422, description = "invalid_request_id")))]
pub async fn show(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    _: Caller,
) -> Result<Json<Collections>, ApiError> {
    let id: uuid::Uuid = id.parse().map_err(|_| ApiError::invalid("request_id", "request_id", "a UUID"))?;
    let find = async { collections(&mut *app.store.pool().acquire().await?, Some(&id.to_string())).await };
    let found = find.await.map_err(|error| ApiError::database(&error))?;
    if found.is_empty() {
        return Err(Code::OperationNotFound.into());
    }
    Ok(Json(Collections { request_id: Some(id.to_string()), collections: found }))
}
