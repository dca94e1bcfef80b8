//! The one way in which the admin API changes anything: a [`Write`] in one unit of work.
//!
//! Whatever a request does (events, a job, a user, a token) and the answer kept for its `Idempotency-Key` commit
//! together. A conflict with somebody else is decided again once, on the newest state; then it is 409.

use crate::admin::Caller;
use crate::serve::App;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kernel::crypto::{KeyRing, Purpose};
use kernel::domain::Rejection;
use kernel::http::{ApiError, Code};
use kernel::store::{Claim, CommandError, Idempotency, Store, StoredAnswer, UnitOfWork};
use serde_json::Value;

/// Something that changes the system database. Run again from the start when it meets a conflict.
pub trait Write: Sync {
    /// Does it inside `unit`; `actor` is recorded in events.
    fn run(&self, unit: &mut UnitOfWork, actor: &str) -> impl Future<Output = Result<Answer, Refusal>> + Send;
}

/// What a write answers.
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// `Location` header.
    pub location: Option<String>,
    /// Body; `null` for none.
    pub body: Value,
}

impl Answer {
    /// An answer with a body.
    pub fn new(status: StatusCode, body: Value) -> Self {
        Self { status, location: None, body }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Value::Null => self.status.into_response(),
            body => (self.status, axum::Json(body)).into_response(),
        };
        if let Some(value) = self.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
            response.headers_mut().insert(header::LOCATION, value);
        }
        response
    }
}

/// Why a write did not happen.
#[derive(Debug)]
pub enum Refusal {
    /// The tenant's rules, another tenant, or the database.
    Command(CommandError),
    /// Something about the request itself.
    Api(ApiError),
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Command(error.into())
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::Api(code.into())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Api(error) => error,
            Refusal::Command(CommandError::DomainTaken(domain)) => {
                ApiError::from(Code::DomainTaken).with("field", "domain").with("domain", domain.as_str())
            }
            Refusal::Command(CommandError::Conflict) => Code::Conflict.into(),
            Refusal::Command(CommandError::Database(error)) => ApiError::database(&error),
            Refusal::Command(CommandError::Rejected(rejection)) => match rejection {
                Rejection::Exists => ApiError::from(Code::TenantExists).with("field", "tenant_id"),
                Rejection::NotFound => Code::TenantNotFound.into(),
                Rejection::State(state) => ApiError::from(Code::InvalidState).with("state", state.as_str()),
                Rejection::DomainPresent => ApiError::from(Code::DomainPresent).with("field", "domain"),
                Rejection::DomainAbsent => ApiError::from(Code::DomainNotFound).with("field", "domain"),
                Rejection::ServerPresent => {
                    ApiError::invalid("server", "server", "another server than the one that the tenant is on")
                }
            },
        }
    }
}

/// Does `write` in a unit of its own, for the process itself.
pub async fn perform(store: &Store, actor: &str, write: &impl Write) -> Result<Answer, Refusal> {
    attempt(store, actor, write, None).await
}

/// Does `write` for a request of the admin API: once per `Idempotency-Key`, if it has one.
pub async fn answer(app: &App, caller: &Caller, write: &impl Write) -> Result<Answer, ApiError> {
    let idempotency = caller.idempotency.as_ref().map(|key| (key, &app.keys));
    Ok(attempt(&app.store, &caller.actor, write, idempotency).await?)
}

async fn attempt(
    store: &Store,
    actor: &str,
    write: &impl Write,
    idempotency: Option<(&Idempotency, &KeyRing)>,
) -> Result<Answer, Refusal> {
    let mut retried = false;
    loop {
        let mut unit = store.begin().await?;
        match once(&mut unit, actor, write, idempotency).await {
            Ok(answer) => {
                unit.commit().await?;
                return Ok(answer);
            }
            Err(refusal) => {
                unit.rollback().await?;
                match refusal {
                    Refusal::Command(error) if error.is_conflict() && !retried => retried = true,
                    refusal => return Err(refusal),
                }
            }
        }
    }
}

async fn once(
    unit: &mut UnitOfWork,
    actor: &str,
    write: &impl Write,
    idempotency: Option<(&Idempotency, &KeyRing)>,
) -> Result<Answer, Refusal> {
    let Some((idempotency, keys)) = idempotency else {
        return write.run(unit, actor).await;
    };
    let purpose = Purpose::Answer { actor: &idempotency.actor, key: &idempotency.key };
    match unit.claim_key(idempotency).await? {
        Claim::Answered(kept) => {
            let body = keys.open(purpose, &kept.sealed_body).map_err(|error| ApiError::internal(&error))?;
            let body = serde_json::from_slice(&body).map_err(|error| ApiError::internal(&error))?;
            let status = StatusCode::from_u16(kept.status).map_err(|error| ApiError::internal(&error))?;
            Ok(Answer { status, location: kept.location, body })
        }
        Claim::Mismatch => Err(ApiError::from(Code::IdempotencyMismatch).with("field", "Idempotency-Key").into()),
        Claim::New => {
            let answer = write.run(unit, actor).await?;
            let sealed_body = keys.seal(purpose, answer.body.to_string().as_bytes());
            let kept = StoredAnswer {
                status: answer.status.as_u16(),
                location: answer.location.clone(),
                sealed_body: sealed_body.map_err(|error| ApiError::internal(&error))?,
            };
            unit.keep_answer(idempotency, &kept).await?;
            Ok(answer)
        }
    }
}
