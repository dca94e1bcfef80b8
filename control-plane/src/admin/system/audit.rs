//! Drift: what the newest audit found, by pages, and the request for another audit.

use crate::admin::Caller;
use crate::admin::answer::{Answer, answer};
use crate::app::App;
use crate::audit::RequestAudit;
use crate::audit::report::{LIST, MOST, Report, newest};
use crate::cursor::Page;
use axum::Json;
use axum::extract::State;
use kernel::http::{ApiError, ApiQuery};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Query of `GET /admin/audit`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Question {
    /// Most findings of the page; 1000 by default.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Body of `POST /admin/audit`, which may be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AuditWish)]
pub struct NewAudit {
    /// Repair what is safe: rights, limits, locks and users, never a database.
    #[serde(default)]
    repair: Option<bool>,
}

/// The known differences.
#[derive(Serialize, ToSchema)]
#[schema(as = KnownDrift)]
pub struct Known {
    /// The newest audit with a page of its findings; null before the first audit.
    audit: Option<Report>,
    /// How many differences are left, on all pages.
    differences_left: u64,
    /// Where the next page of findings begins.
    next_cursor: Option<String>,
}

/// Compare the database servers with the events. The audit has ended once its `status` is not `running`.
#[utoipa::path(
    post, path = "/admin/audit", tag = "audit",
    request_body = Option<NewAudit>,
    responses( (status = 202, description = "The audit: a new one, or the one in work", body = Report)),
)]
pub async fn request(State(app): State<App>, caller: Caller) -> Result<Answer, ApiError> {
    let NewAudit { repair } = caller.json_or_default()?;
    let request = RequestAudit { repair: repair.unwrap_or_default() };
    answer(&app, &caller, &request, |report| Answer::accepted(report).at("/admin/audit".into())).await
}

/// What the newest audit found. Nothing is compared: `POST /admin/audit` requests that.
#[utoipa::path(
    get, path = "/admin/audit", tag = "audit",
    params(Question),
    responses(
        (status = 200, description = "Drift", body = Known),
        (status = 422, description = "invalid_limit, invalid_cursor"),
    ),
)]
pub async fn get(
    State(app): State<App>,
    ApiQuery(question): ApiQuery<Question>,
    _: Caller,
) -> Result<Json<Known>, ApiError> {
    let page = Page::parse(LIST, question.limit.as_deref(), question.cursor.as_deref(), (MOST, MOST))?;
    let audit = newest(&mut *app.store.pool().acquire().await?, &page).await?;
    let differences_left = audit.as_ref().map_or(0, |audit| audit.differences_left);
    let next_cursor = audit.as_ref().and_then(|audit| audit.next_cursor.clone());
    Ok(Json(Known { audit, differences_left, next_cursor }))
}
