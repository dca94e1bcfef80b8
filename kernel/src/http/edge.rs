//! The outermost layer of both APIs. It gives every request an id, measures it, writes errors in the caller's language,
//! lets no cache store an answer that is meant for one caller, and turns a panic into a 500. If a library refuses a
//! request in its own words (because a path is not UTF-8), this layer turns that into an error of the contract, so
//! clients see no other errors.

use super::body::{announces_too_much, refuse_body};
use super::{ApiError, Code, Language};
use crate::process::telemetry::{names, traces};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header, header::HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
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

/// The outermost layer: see the module for what it does.
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
    traces::follow_client(&span, request.headers().get("traceparent").and_then(|value| value.to_str().ok()));
    let of_tenant = OfTenant::default();
    let _in_flight = InFlight::begin();
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(of_tenant.clone());
    let mut response = if announces_too_much(request.headers()) {
        refuse_body(request).await;
        ApiError::from(Code::TooLarge).into_response()
    } else {
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span).await;
        answered.unwrap_or_else(|_| ApiError::from(Code::Internal).into_response())
    };
    let error = response.extensions_mut().remove::<ApiError>().or_else(|| of_a_library(&response));
    if let Some(error) = error {
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
    protect(response.headers_mut());
    measure(&method, route.as_ref(), &response, began);
    of_tenant.measure(&response, began);
    response
}

/// What an answer depends on beside its address: who asks, for which tenant, and in what form.
const VARY: &str = "Accept, Accept-Language, Authorization, Cookie, Token, X-Admin-Token, X-Tenant-ID, Tenant-ID";

/// Lets no cache store an answer, and no browser guess its type. A handler that has set one of these headers knows
/// better.
fn protect(headers: &mut HeaderMap) {
    for (name, value) in
        [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::VARY, VARY)]
    {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The tenant of a request, for the metrics of tenants. The handler that finds the tenant sets it.
#[derive(Clone, Debug, Default)]
pub struct OfTenant(Arc<OnceLock<String>>);

impl OfTenant {
    /// Sets the tenant of the request.
    pub fn set(&self, tenant_id: &str) {
        let _ = self.0.set(names::tenants::label(tenant_id));
    }

    fn measure(&self, response: &Response, began: Instant) {
        let Some(tenant) = self.0.get() else { return };
        let class = match response.status().as_u16() {
            ..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        metrics::counter!(names::TENANT_REQUESTS, "tenant_id" => tenant.clone(), "class" => class).increment(1);
        metrics::histogram!(names::TENANT_REQUEST_DURATION, "tenant_id" => tenant.clone()).record(began.elapsed());
    }
}

/// Counts a request that is being answered, until it is dropped.
struct InFlight;

impl InFlight {
    fn begin() -> Self {
        metrics::gauge!(names::HTTP_REQUESTS_IN_FLIGHT).increment(1);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!(names::HTTP_REQUESTS_IN_FLIGHT).decrement(1);
    }
}

/// The error of the contract for a response that a library has refused in its own words.
fn of_a_library(response: &Response) -> Option<ApiError> {
    let text =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !text {
        return None;
    }
    let code = match response.status() {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        status if status.is_client_error() => Code::BadRequest,
        status if status.is_server_error() => Code::Internal,
        _ => return None,
    };
    Some(code.into())
}

fn measure(method: &axum::http::Method, route: Option<&MatchedPath>, response: &Response, began: Instant) {
    // Unknown paths and unknown methods share one label each, so that the number of labels stays small.
    let route = route.map_or_else(|| "unmatched".into(), |route| route.as_str().to_owned());
    let method = match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    };
    let status = response.status().as_str().to_owned();
    let labels = [("method", method.to_owned()), ("route", route), ("status", status)];
    metrics::counter!(names::HTTP_REQUESTS, &labels).increment(1);
    metrics::histogram!(names::HTTP_REQUEST_DURATION, &labels).record(began.elapsed());
}
