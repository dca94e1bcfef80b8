//! The caller of a request: the admin token, and the request's `Idempotency-Key` and `If-Match`.

use super::AdminState;
use super::admission::Turn;
use super::precondition::IfMatch;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use kernel::crypto::tokens;
use kernel::http::{ApiError, Code, MAX_BODY, MAX_BULK_BODY, idempotency_key, is_json, read_body};
use kernel::store::Idempotency;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use sqlx::MySqlPool;
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
    /// Who asks.
    pub identity: Identity,
    /// The request is in work until the handler is done.
    _turn: Turn,
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
        Self::admit(request, state, MAX_BODY).await
    }
}

/// A caller whose request may have a body of [`MAX_BULK_BODY`].
pub struct BulkCaller(pub Caller);

impl FromRequest<AdminState> for BulkCaller {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AdminState) -> Result<Self, ApiError> {
        Caller::admit(request, state, MAX_BULK_BODY).await.map(Self)
    }
}

impl Caller {
    async fn admit(request: Request, state: &AdminState, most: usize) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let (identity, turn) = authenticate(state, &parts).await?;
        Self::read(&parts, body, most, identity, turn).await
    }

    async fn read(parts: &Parts, body: Body, most: usize, identity: Identity, turn: Turn) -> Result<Self, ApiError> {
        let actor = identity.actor();
        let key = if parts.method == Method::POST { idempotency_key(&parts.headers)? } else { None };
        let if_match = IfMatch::of(&parts.headers)?;
        let body = read_body(body, most).await?;
        if !body.is_empty() && !says_json(&parts.headers) {
            return Err(Code::UnsupportedMediaType.into());
        }
        let idempotency = key.map(|key| Idempotency {
            actor: actor.clone(),
            key,
            request_hash: request_hash(&parts.method, parts.uri.path(), &body),
        });
        Ok(Self { actor, idempotency, if_match, body, identity, _turn: turn })
    }
}

fn says_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_none_or(is_json)
}

/// A caller without a token, where a request needs none. Nothing of the body has been read yet.
pub struct Stranger {
    /// The peer's, or the one that a trusted proxy names.
    pub address: IpAddr,
    /// The request's key, if it has one.
    pub key: Option<String>,
    parts: Parts,
    body: Body,
    turn: Turn,
}

impl Stranger {
    /// Checks what can be checked without the body.
    pub fn of(state: &AdminState, request: Request) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let address = state.trusted.client(&parts.headers, peer(&parts)).ok_or_else(|| {
            ApiError::from(Code::BadRequest).with("detail", "the proxy's X-Forwarded-For names no address")
        })?;
        let turn = state.admission.stranger(address)?;
        if !says_json(&parts.headers) {
            return Err(Code::UnsupportedMediaType.into());
        }
        let key = idempotency_key(&parts.headers)?;
        // Another stranger might choose the same short key.
        if key.as_ref().is_some_and(|key| key.len() < 16) {
            return Err(ApiError::invalid("idempotency_key", "Idempotency-Key", "at least 16 characters"));
        }
        Ok(Self { address, key, parts, body, turn })
    }

    /// Reads the body.
    pub async fn read(self) -> Result<Caller, ApiError> {
        Caller::read(&self.parts, self.body, MAX_BODY, Identity::Stranger, self.turn).await
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

/// Who asks.
pub enum Identity {
    /// The holder of the token with this id. It is the stored id, because the database would also find the id in other
    /// letters, and one token must be one actor.
    Token(String),
    /// Anybody. All strangers are one actor.
    Stranger,
}

impl Identity {
    /// The actor whom events record.
    pub fn actor(&self) -> String {
        match self {
            Self::Token(id) => format!("token:{id}"),
            Self::Stranger => "signup".to_owned(),
        }
    }

    /// Whether the identity is still valid.
    pub async fn is_valid(&self, pool: &MySqlPool) -> Result<bool, sqlx::Error> {
        match self {
            Self::Token(id) => Ok(stored(pool, id).await?.is_some()),
            Self::Stranger => Ok(true),
        }
    }
}

/// Why a request with a token is refused.
pub(super) enum Refused {
    /// The caller may not do it, or too many requests are in work.
    Caller(ApiError),
    /// The system database does not say whether the token is valid.
    Database(ApiError),
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self::Caller(code.into())
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let (Refused::Caller(error) | Refused::Database(error)) = refused;
        error
    }
}

/// The token in `X-Admin-Token` or `Authorization: Bearer`: 401 when it is missing or not valid, 403 when it is valid
/// and does not allow the method. What does not have the form of a token is refused without asking the database.
pub(super) async fn authenticate(state: &AdminState, parts: &Parts) -> Result<(Identity, Turn), Refused> {
    let token = presented(&parts.headers).ok_or(Code::Unauthenticated)?;
    let (id, secret) = parts_of(token).ok_or(Code::Unauthenticated)?;
    let entry = state.admission.enter(token, client(state, parts)).await.map_err(Refused::Caller)?;
    let stored = stored(state.app.store.pool(), id).await;
    let stored = stored.map_err(|error| Refused::Database(ApiError::database(&error)))?;
    let (id, hash, scopes) = stored.ok_or(Code::Unauthenticated)?;
    if !tokens::matches(&hash, secret) {
        return Err(Code::Unauthenticated.into());
    }
    let turn = state.admission.found(token, entry).map_err(Refused::Caller)?;
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let allowed = scopes.split(' ').any(|scope| scope == "admin" || (scope == "read" && reads));
    if allowed { Ok((Identity::Token(id), turn)) } else { Err(Code::AdminRequired.into()) }
}

fn peer(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}

/// The address whose part of the queue a request with a token takes. A valid token needs no address, so the requests of
/// a proxy that names none share the proxy's.
fn client(state: &AdminState, parts: &Parts) -> IpAddr {
    let peer = peer(parts);
    let named = state.trusted.client(&parts.headers, peer).or(peer.map(|peer| peer.ip()));
    named.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}

/// Id, digest and scopes of the token with this id, while it is valid.
async fn stored(pool: &MySqlPool, id: &str) -> Result<Option<(String, Vec<u8>, String)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT token_id, secret_hash, scopes FROM saas_admin_tokens
         WHERE token_id = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > UTC_TIMESTAMP(6))",
    )
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// The id and the secret of `adm_<id>_<secret>`, as `control-plane token create` makes them.
fn parts_of(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.strip_prefix("adm_")?.split_once('_')?;
    let formed = id.len() == 12
        && id.bytes().all(|b| b.is_ascii_hexdigit())
        && secret.len() == 43
        && secret.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    formed.then_some((id, secret))
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get("x-admin-token") {
        return value.to_str().ok();
    }
    // A proxy may add credentials of another scheme.
    headers.get_all(header::AUTHORIZATION).iter().find_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_form_of_a_token_is_looked_up() {
        let secret = "x".repeat(43);
        assert_eq!(parts_of(&format!("adm_0123456789ab_{secret}")), Some(("0123456789ab", secret.as_str())));
        let long = "0".repeat(10_000);
        for bad in ["", "adm_", "adm_x_y", "usr_0123456789ab_x", &format!("adm_0123456789ag_{secret}"), &long] {
            assert_eq!(parts_of(bad), None, "{bad}");
        }
        assert_eq!(parts_of(&format!("adm_0123456789ab_{secret}x")), None);
        assert_eq!(parts_of(&format!("adm_0123456789ab_{} ", &secret[1..])), None);
    }
}
