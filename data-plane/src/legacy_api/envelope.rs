//! The legacy envelope: `{"code": 0, "message": "success", "data": ...}`, always with HTTP status 200.

use super::{LegacyError, json};
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use kernel::http::{ApiError, Language};
use kernel::process::telemetry::names;
use serde::Serialize;
use utoipa::ToSchema;

/// The answer to a legacy call. Without `data` it is an error: 1001 unknown user, 1004 not logged in, 1005 session
/// expired, 401 no right to see another user's data, 404 no such course, 2001 wrong parameter, 400, 413 and 415 as in
/// HTTP, -1 anything else.
// The members of all answers are in alphabetical order, because the legacy application sorts them.
#[derive(Serialize, ToSchema)]
pub struct Envelope<'m, D> {
    code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    data: Option<D>,
    message: &'m str,
}

/// A successful answer.
pub fn success<D: Serialize>(data: D) -> Result<Response, LegacyError> {
    enclose(&Envelope { code: 0, data: Some(data), message: "success" })
}

/// Puts every error of a legacy call into the envelope, in the caller's language. This is a layer, because most errors
/// come from code that the legacy API shares with the tenants' API.
pub async fn envelope(request: Request, next: Next) -> Response {
    let language = Language::of(request.headers());
    let mut response = next.run(request).await;
    let extensions = response.extensions_mut();
    let error = extensions.remove::<LegacyError>().or_else(|| extensions.remove::<ApiError>().map(LegacyError::from));
    let Some(error) = error else { return response };
    metrics::counter!(names::LEGACY_ERRORS, "code" => error.code().to_string()).increment(1);
    let message = error.message(language);
    let body = Envelope::<()> { code: error.code(), data: None, message: &message };
    let mut response = enclose(&body).unwrap_or_else(IntoResponse::into_response);
    if let LegacyError::Unexpected { retry_after: Some(seconds) } = error {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn enclose<D: Serialize>(envelope: &Envelope<'_, D>) -> Result<Response, LegacyError> {
    let body = json::text(envelope).map_err(|error| LegacyError::from(ApiError::internal(&error)))?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

impl IntoResponse for LegacyError {
    fn into_response(self) -> Response {
        let mut response = StatusCode::OK.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
