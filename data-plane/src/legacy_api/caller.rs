//! [`LegacyCaller`]: the extractor that every legacy route begins with. It admits users of the default tenant only.

use super::LegacyError;
use crate::admission::Caller;
use crate::app::App;
use crate::sessions::{NoSession, token};
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use kernel::http::{ApiError, Code, MAX_BODY, is_json, read_body};

/// The caller of a legacy route: a user of the default tenant, whatever host or tenant the request names.
///
/// The token is read from where the legacy application reads it ([`token::in_legacy_request`]). That includes the body
/// of a POST, so the extractor reads the body and hands it on.
pub struct LegacyCaller {
    pub caller: Caller,
    /// The body of a POST; empty for other methods.
    pub body: Bytes,
}

impl FromRequest<App> for LegacyCaller {
    type Rejection = LegacyError;

    async fn from_request(request: Request, app: &App) -> Result<Self, LegacyError> {
        let (parts, body) = request.into_parts();
        let body = match parts.method {
            Method::POST if !parts.headers.get(CONTENT_TYPE).is_some_and(is_json) => {
                return Err(ApiError::from(Code::UnsupportedMediaType).into());
            }
            Method::POST => read_body(body, MAX_BODY).await?,
            _ => Bytes::new(),
        };
        app.routing.freshness.ensure().await?;
        let (default, position) = {
            let table = app.routing.table();
            (table.default_tenant(), table.position)
        };
        tracing::Span::current().record("position", position.0);
        let token = token::in_legacy_request(&parts, &body).ok_or(LegacyError::NotLoggedIn)?;
        let session = app.sessions.session(&token).await.map_err(|why| match why {
            NoSession::Unrecognised => LegacyError::NoUser,
            NoSession::Ended => LegacyError::TokenExpired,
            NoSession::Unavailable(error) => error.into(),
        })?;
        let caller = Caller::admit(app, &parts, default, session).await?;
        Ok(Self { caller, body })
    }
}
