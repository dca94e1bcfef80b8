//! The caller of a request: the admin token, and the request's `Idempotency-Key` and `If-Match`.

use super::AdminState;
use super::precondition::IfMatch;
use crate::app::App;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use kernel::crypto::tokens;
use kernel::http::{ApiError, Code, MAX_BODY, MAX_BULK_BODY, idempotency_key, is_json, read_body};
use kernel::store::Idempotency;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A caller with a valid token that allows the request.
pub struct Caller {
    /// `token:<id>`, recorded in events.
    pub actor: String,
    /// The request's key, if it is a POST with one.
    pub idempotency: Option<Idempotency>,
    /// Which version of the tenant the request may change.
    pub if_match: Option<IfMatch>,
    body: axum::body::Bytes,
}

impl Caller {
    /// The request's body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        kernel::http::parse_json(&self.body)
    }

    /// The same, where a request may have no body at all, or `null`.
    pub fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.body.is_empty() { Ok(T::default()) } else { self.json().map(Option::unwrap_or_default) }
    }
}

impl FromRequest<AdminState> for Caller {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AdminState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let actor = authenticate(&state.app, &parts.headers, &parts.method).await?;
        Self::read(&parts, body, MAX_BODY, actor).await
    }
}

/// A caller whose request may have a body of [`MAX_BULK_BODY`].
pub struct BulkCaller(pub Caller);

impl FromRequest<AdminState> for BulkCaller {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AdminState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let actor = authenticate(&state.app, &parts.headers, &parts.method).await?;
        Caller::read(&parts, body, MAX_BULK_BODY, actor).await.map(Self)
    }
}

impl Caller {
    async fn read(parts: &Parts, body: Body, most: usize, actor: String) -> Result<Self, ApiError> {
        let body = read_body(body, most).await?;
        let json = parts.headers.get(header::CONTENT_TYPE).is_none_or(is_json);
        if !body.is_empty() && !json {
            return Err(Code::UnsupportedMediaType.into());
        }
        let key = if parts.method == Method::POST { idempotency_key(&parts.headers)? } else { None };
        let idempotency = key.map(|key| Idempotency {
            actor: actor.clone(),
            key,
            request_hash: request_hash(&parts.method, parts.uri.path(), &body),
        });
        let if_match = IfMatch::of(&parts.headers)?;
        Ok(Self { actor, idempotency, if_match, body })
    }
}

/// A caller without a token, where a request needs none.
pub struct Stranger {
    /// All strangers are one actor, `signup`.
    pub caller: Caller,
    /// The peer's, or the one that a trusted proxy names.
    pub address: IpAddr,
}

impl FromRequest<AdminState> for Stranger {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AdminState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        let address = state.trusted.client(&parts.headers, peer).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let caller = Caller::read(&parts, body, MAX_BODY, "signup".into()).await?;
        // Another stranger might choose the same short key.
        if caller.idempotency.as_ref().is_some_and(|idempotency| idempotency.key.len() < 16) {
            return Err(ApiError::invalid("idempotency_key", "Idempotency-Key", "at least 16 characters"));
        }
        Ok(Self { caller, address })
    }
}

fn request_hash(method: &Method, path: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [method.as_str().as_bytes(), path.as_bytes(), body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The token in `X-Admin-Token` or `Authorization: Bearer`: 401 when it is missing or not valid, 403 when it is valid
/// and does not allow the method.
pub(super) async fn authenticate(app: &App, headers: &HeaderMap, method: &Method) -> Result<String, ApiError> {
    let token = presented(headers).ok_or(Code::Unauthenticated)?;
    let (id, secret) = token.strip_prefix("adm_").and_then(|rest| rest.split_once('_')).ok_or(Code::Unauthenticated)?;
    let row: Option<(Vec<u8>, String)> = sqlx::query_as(
        "SELECT secret_hash, scopes FROM saas_admin_tokens
         WHERE token_id = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > UTC_TIMESTAMP(6))",
    )
    .bind(id)
    .fetch_optional(app.store.pool())
    .await
    .map_err(|error| ApiError::database(&error))?;
    let (hash, scopes) = row.ok_or(Code::Unauthenticated)?;
    if !tokens::matches(&hash, secret) {
        return Err(Code::Unauthenticated.into());
    }
    let allowed = scopes.split(' ').any(|scope| scope == "admin" || (scope == "read" && method == Method::GET));
    if allowed { Ok(format!("token:{id}")) } else { Err(Code::AdminRequired.into()) }
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get("x-admin-token") {
        return value.to_str().ok();
    }
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
