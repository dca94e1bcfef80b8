//! Statistics of all tenants by day, and requests to count days (again).

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse};
use crate::app::App;
use crate::statistics::{
    Collection, Days, RequestCollection, RequestedCollection, SystemDay, TenantDay, check_range, collections, csv_rows,
    page, parse_day, system_days,
};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use chrono::{NaiveDate, Utc};
use kernel::http::{ApiError, ApiPath, ApiQuery, Code, accepts, parse_limit};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Query of `GET /admin/stats`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Question {
    /// First day, in UTC; by default the 30 days up to `to`.
    #[param(value_type = Option<NaiveDate>)]
    from: Option<String>,
    /// Last day; by default today.
    #[param(value_type = Option<NaiveDate>)]
    to: Option<String>,
    /// Only this tenant.
    tenant_id: Option<String>,
    /// Most rows of the page; 1,000 by default. A CSV has all rows.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// `json`, or `csv`, which `Accept: text/csv` requests as well.
    #[param(pattern = "^(json|csv)$")]
    format: Option<String>,
}

impl Question {
    fn parse(&self) -> Result<Days, ApiError> {
        let to = self.to.as_deref().map(|text| parse_day(text, "to")).transpose()?;
        let to = to.unwrap_or_else(|| Utc::now().date_naive());
        let from =
            self.from.as_deref().map(|text| parse_day(text, "from")).transpose()?.unwrap_or(to - chrono::Days::new(29));
        check_range(from, to)?;
        let tenant_id = self.tenant_id.as_deref().map(parse::tenant_id).transpose()?.map(|id| id.as_str().to_owned());
        let limit = parse_limit(self.limit.as_deref(), 1000, 10_000)?;
        let after = self.cursor.as_deref().map(crate::statistics::parse_cursor).transpose()?;
        Ok(Days { from, to, tenant_id, limit, after })
    }
}

/// Statistics by day.
#[derive(Serialize, ToSchema)]
pub struct History {
    /// First day.
    from: NaiveDate,
    /// Last day.
    to: NaiveDate,
    /// The whole system by day, unless the query names a tenant.
    system: Vec<SystemDay>,
    /// Tenants by day.
    tenants: Vec<TenantDay>,
    /// Where the next page of `tenants` begins; null on the last one.
    next_cursor: Option<String>,
}

/// Statistics of tenants by day: JSON, a page at a time, or a CSV of all of them.
#[utoipa::path(
    get, path = "/admin/stats", tag = "statistics",
    params(Question),
    responses(
        (status = 200, description = "Days", content((History = "application/json"), (String = "text/csv"))),
        (
            status = 422,
            description = "invalid_from, invalid_to, invalid_tenant_id, invalid_limit, invalid_cursor, invalid_format",
        ),
    ),
)]
pub async fn history(
    State(app): State<App>,
    ApiQuery(question): ApiQuery<Question>,
    headers: HeaderMap,
    _: Caller,
) -> Result<Response, ApiError> {
    let days = question.parse()?;
    let csv = match question.format.as_deref() {
        Some("csv") => true,
        Some("json") => false,
        None => accepts(&headers, "text/csv"),
        Some(_) => return Err(ApiError::invalid("format", "format", "json or csv")),
    };
    if csv {
        let name = format!("attachment; filename=\"statistics_{}_{}.csv\"", days.from, days.to);
        let rows = csv_rows(app.store.pool().clone(), days);
        let headers =
            [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)];
        return Ok((headers, Body::from_stream(rows)).into_response());
    }
    let (rows, next_cursor) = page(app.store.pool(), &days).await?;
    let system = match days.tenant_id {
        Some(_) => Vec::new(),
        None => system_days(app.store.pool(), &days).await?,
    };
    let (from, to) = (days.from, days.to);
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

/// Collections of statistics.
#[derive(Serialize, ToSchema)]
pub struct Collections {
    /// The id of the request.
    request_id: Option<String>,
    /// One collection for each database server with tenants.
    collections: Vec<Collection>,
}

/// Have days counted, or counted again.
#[utoipa::path(
    post, path = "/admin/stats/collections", tag = "statistics",
    request_body = NewCollection,
    responses(
        (
            status = 202,
            description = "Accepted",
            body = Collections,
            headers(("Location" = String, description = "The collections")),
        ),
        (status = 422, description = "invalid_from, invalid_to"),
    ),
)]
pub async fn collect(State(app): State<App>, caller: Caller) -> Result<Answer, ApiError> {
    let body: NewCollection = caller.json()?;
    let days = (parse_day(&body.from, "from")?, parse_day(&body.to, "to")?);
    let accepted = |requested: RequestedCollection| {
        let location = format!("/admin/stats/collections/{}", requested.request_id);
        Answer::accepted(requested).at(location)
    };
    answer(&app, &caller, &RequestCollection::new(days), accepted).await
}

/// The newest collections of statistics.
#[utoipa::path(
    get, path = "/admin/stats/collections", tag = "statistics",
    responses( (status = 200, description = "At most a hundred", body = Collections)),
)]
pub async fn list(State(app): State<App>, _: Caller) -> Result<Json<Collections>, ApiError> {
    let found = collections(&mut *app.store.pool().acquire().await?, None).await?;
    Ok(Json(Collections { request_id: None, collections: found }))
}

/// The progress of a request for statistics, and the tenants that could not be counted.
#[utoipa::path(
    get, path = "/admin/stats/collections/{request_id}", tag = "statistics",
    params(("request_id" = String, Path, description = "As the answer to the request says")),
    responses(
        (status = 200, description = "The collections", body = Collections),
        (status = 404, description = "operation_not_found"),
        (status = 422, description = "invalid_request_id"),
    ),
)]
pub async fn show(
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    _: Caller,
) -> Result<Json<Collections>, ApiError> {
    let id: uuid::Uuid = id.parse().map_err(|_| ApiError::invalid("request_id", "request_id", "a UUID"))?;
    let found = collections(&mut *app.store.pool().acquire().await?, Some(&id.to_string())).await?;
    if found.is_empty() {
        return Err(Code::OperationNotFound.into());
    }
    Ok(Json(Collections { request_id: Some(id.to_string()), collections: found }))
}
