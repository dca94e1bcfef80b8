//! The outermost layer of both APIs: gives every request an id, measures it, writes errors in the caller's language,
//! and turns a panic into a 500.

use super::{ApiError, Code, Language};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, header::HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request: the caller's `X-Request-Id` if it is a plain word of up to 36 characters, else a new UUID.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

impl RequestId {
    fn of(request: &Request) -> Self {
        let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
        let plain = |id: &&str| {
            (1..=36).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        Self(given.filter(plain).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned))
    }
}

/// See the module.
pub async fn edge(mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = RequestId::of(&request);
    let language = Language::of(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let span = tracing::info_span!(
        "request",
        request_id = %id.0,
        method = %method,
        route = route.as_ref().map_or("", MatchedPath::as_str),
        tenant_id = tracing::field::Empty,
        position = tracing::field::Empty,
    );
    request.extensions_mut().insert(id.clone());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span).await;
    let mut response = answered.unwrap_or_else(|_| ApiError::from(Code::Internal).into_response());
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let headers = std::mem::take(response.headers_mut());
        response = error.render(language, &id.0);
        for name in [axum::http::header::ALLOW] {
            if let Some(value) = headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    measure(&method, route.as_ref(), &response, began);
    response
}

fn measure(method: &axum::http::Method, route: Option<&MatchedPath>, response: &Response, began: Instant) {
    // Unknown paths and methods share one label each: labels must stay few.
    let route = route.map_or_else(|| "unmatched".into(), |route| route.as_str().to_owned());
    let method = match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    };
    let status = response.status().as_str().to_owned();
    metrics::counter!("http_requests_total", "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!("http_request_duration_seconds", "method" => method, "route" => route).record(began.elapsed());
}
