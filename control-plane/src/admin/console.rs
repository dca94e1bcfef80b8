//! The console: one page that uses the admin API like any other client, with the token that its user enters.
//!
//! The page itself is no secret and needs no token. It loads nothing from another host, and browsers may not frame it.

use axum::http::header;
use axum::response::{Html, IntoResponse};

const PAGE: &str = include_str!("console.html");

const POLICY: &str = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The console: one page that uses this API.
#[utoipa::path(
    get, path = "/", tag = "console",
    security(()),
    responses( (status = 200, description = "The page", body = String, content_type = "text/html")),
)]
pub async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(PAGE))
}
