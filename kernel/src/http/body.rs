//! Reading what a client sent; every refusal names the field.

use super::{ApiError, Code};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;

/// Largest body of a request, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// A JSON body. Unknown fields are for the type to refuse (`deny_unknown_fields`).
pub struct ApiJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Code::UnsupportedMediaType.into());
        }
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|error| unreadable(&error))?;
        parse_json(&bytes).map(Self)
    }
}

/// Whether a `Content-Type` is JSON.
pub fn is_json(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// The header `Idempotency-Key`, if the request has one.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Some(key.to_owned()))
    } else {
        Err(ApiError::invalid("idempotency_key", "Idempotency-Key", "1 to 255 printable ASCII characters"))
    }
}

fn unreadable(error: &BytesRejection) -> ApiError {
    let too_large = error.status() == StatusCode::PAYLOAD_TOO_LARGE;
    if too_large { Code::TooLarge.into() } else { Code::BadRequest.into() }
}

/// A JSON text as `T`, or `invalid_body` with the path of the field that is wrong.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let whole = matches!(path.as_str(), "." | "?");
        ApiError::invalid("body", if whole { "body" } else { &path }, error.inner())
    })?;
    reader.end().map_err(|error| ApiError::invalid("body", "body", error))?;
    Ok(value)
}

/// A query string.
pub struct ApiQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| ApiError::invalid("query", "query", error.body_text()))
    }
}

/// The parts of a path. What is not UTF-8 once decoded is `bad_request`.
pub struct ApiPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|_| Code::BadRequest.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Body {
        name: String,
    }

    #[test]
    fn a_wrong_field_is_named() {
        let field = |text: &str| format!("{:?}", parse_json::<Body>(text.as_bytes()).unwrap_err());
        assert!(field(r#"{"name": 3}"#).contains(r#""field": String("name")"#));
        assert!(field(r#"{"name": "x", "extra": 1}"#).contains("extra"));
        assert!(field("{").contains(r#""field": String("body")"#));
        assert!(field(r#"{"name": "x"} y"#).contains("body"));
    }
}
