//! Reads the body, query and path of a request, within limits of size and time. Every refusal names the field.

use super::{ApiError, Code};
use crate::domain::inexact_number;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use futures::stream::{StreamExt, poll_fn};
use serde::de::DeserializeOwned;
use std::future::Future;
use std::task::Poll;
use std::time::Duration;

/// Largest body of a request, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// Largest body of a request that changes many things at once, in bytes.
pub const MAX_BULK_BODY: usize = 256 * 1024;

/// The most bytes of a body that is too large that are read and discarded.
const MAX_DISCARDED: usize = 4 << 20;

/// The extractor of a JSON body. The type decides whether unknown fields are refused (`deny_unknown_fields`).
pub struct ApiJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if !request.headers().get(header::CONTENT_TYPE).is_some_and(is_json) {
            return Err(Code::UnsupportedMediaType.into());
        }
        parse_json(&read_body(request.into_body(), MAX_BODY).await?).map(Self)
    }
}

/// The body did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive in time")]
struct TooSlow;

/// A body that fails if it has not arrived completely within `limit` from now.
pub(super) fn bounded(body: Body, limit: Duration) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let (mut data, mut late) = (body.into_data_stream(), Box::pin(tokio::time::sleep(limit)));
    Body::from_stream(poll_fn(move |context| match data.poll_next_unpin(context) {
        Poll::Pending => late.as_mut().poll(context).map(|()| Some(Err(axum::BoxError::from(TooSlow)))),
        Poll::Ready(chunk) => Poll::Ready(chunk.map(|read| read.map_err(axum::BoxError::from))),
    }))
}

/// Reads a whole body.
///
/// # Errors
/// 413 if it is larger than `most`, 408 if it arrives too slowly, 400 if it is broken.
pub async fn read_body(body: Body, most: usize) -> Result<Bytes, ApiError> {
    let (mut data, mut read) = (body.into_data_stream(), Vec::new());
    while let Some(chunk) = data.next().await {
        let chunk = chunk.map_err(|error| if is_too_slow(&error) { Code::RequestTimeout } else { Code::BadRequest })?;
        if read.len() + chunk.len() > most {
            discard(data).await;
            return Err(Code::TooLarge.into());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.into())
}

/// Reads and discards a body that is too large, unless the client waits for permission to send it, or it is larger than
/// [`MAX_DISCARDED`].
pub(super) async fn refuse_body(request: Request) {
    let asks_first = request.headers().contains_key(header::EXPECT);
    if !asks_first && length(request.headers()).is_some_and(|length| length <= MAX_DISCARDED as u64) {
        discard(request.into_body().into_data_stream()).await;
    }
}

/// Reads and discards the rest of a body, up to [`MAX_DISCARDED`]. Unread bytes would make the system reset the
/// connection, and a client that is still sending would not see its answer.
async fn discard(mut data: BodyDataStream) {
    let mut read = 0;
    while let Some(Ok(chunk)) = data.next().await {
        read += chunk.len();
        if read > MAX_DISCARDED {
            break;
        }
    }
}

fn is_too_slow(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<TooSlow>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the headers announce a body larger than any request may have.
pub(super) fn announces_too_much(headers: &HeaderMap) -> bool {
    length(headers).is_some_and(|length| length > MAX_BULK_BODY as u64)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a `Content-Type` is JSON.
pub fn is_json(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// The header `Idempotency-Key`, if the request has one.
///
/// # Errors
/// 422 if it is not 1 to 255 printable ASCII characters, or if there are several.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if values.next().is_none() && (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Some(key.to_owned()))
    } else {
        Err(ApiError::invalid("idempotency_key", "Idempotency-Key", "one value of 1 to 255 printable ASCII characters"))
    }
}

/// Parses a JSON text.
///
/// # Errors
/// 422 `invalid_body` with the path of the wrong field. A list is always refused: serde would take its items for the
/// fields in the order of their declaration, and the contract does not promise that order. So is a number that would be
/// stored as another one.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = without_mark(bytes);
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::invalid("body", "body", "a JSON object is expected, not a list"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let whole = matches!(path.as_str(), "." | "?");
        ApiError::invalid("body", if whole { "body" } else { &path }, error.inner())
    })?;
    reader.end().map_err(|error| ApiError::invalid("body", "body", error))?;
    match std::str::from_utf8(bytes).ok().and_then(inexact_number) {
        Some(number) => {
            let shown: String = number.chars().take(40).collect();
            Err(ApiError::invalid("body", "body", format!("the number {shown} cannot be stored exactly")))
        }
        None => Ok(value),
    }
}

/// The text without the byte order mark that some programs write before it. A parser of JSON may ignore it (RFC 8259).
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

/// The extractor of a query string.
pub struct ApiQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| ApiError::invalid("query", "query", error.body_text()))
    }
}

/// The extractor of the parts of a path. A path that is not UTF-8 after decoding is refused with `bad_request`.
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
    fn a_refused_body_names_its_field() {
        let field = |text: &str| format!("{:?}", parse_json::<Body>(text.as_bytes()).unwrap_err());
        assert!(field(r#"{"name": 3}"#).contains(r#""field": String("name")"#));
        assert!(field(r#"{"name": "x", "extra": 1}"#).contains("extra"));
        assert!(field("{").contains(r#""field": String("body")"#));
        assert!(field(r#"{"name": "x"} y"#).contains("body"));
        assert!(field(r#" ["x"]"#).contains("not a list"));
        assert!(field("\u{feff}[]").contains("not a list"));
        assert_eq!(parse_json::<Body>("\u{feff}{\"name\": \"x\"}".as_bytes()).unwrap().name, "x");
    }
}
