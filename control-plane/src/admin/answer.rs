//! The answer to a request that changes something, given once per `Idempotency-Key`.
//!
//! **Guarantee.** The answer is stored in the unit of work of its command. A repeated request with the same key gets
//! the stored answer, and the command does not run again.

use super::Caller;
use super::precondition::Conditional;
use crate::app::App;
use crate::commands::{Refusal, Started, Write, perform};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kernel::crypto::{KeyRing, Purpose};
use kernel::domain::TenantId;
use kernel::http::{ApiError, Code};
use kernel::store::{Claim, Idempotency, StoredAnswer, UnitOfWork};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Display;

pub struct Answer {
    status: StatusCode,
    location: Option<String>,
    /// `null`: no body.
    body: Value,
}

impl Answer {
    fn new(status: StatusCode, body: impl Serialize) -> Self {
        Self { status, location: None, body: json!(body) }
    }

    pub fn ok(body: impl Serialize) -> Self {
        Self::new(StatusCode::OK, body)
    }

    pub fn created(body: impl Serialize) -> Self {
        Self::new(StatusCode::CREATED, body)
    }

    pub fn accepted(body: impl Serialize) -> Self {
        Self::new(StatusCode::ACCEPTED, body)
    }

    pub fn no_content((): ()) -> Self {
        Self::new(StatusCode::NO_CONTENT, Value::Null)
    }

    /// 202 with the operation that has begun.
    pub fn started(started: Started) -> Self {
        let location = operation(started.operation_id);
        Self::accepted(started).at(location)
    }

    /// With the header `Location`.
    pub fn at(self, location: String) -> Self {
        Self { location: Some(location), ..self }
    }
}

/// Where an operation is read.
pub fn operation(id: impl Display) -> String {
    format!("/admin/operations/{id}")
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

/// Performs a command for a request, and makes the answer of what it did.
pub async fn answer<W: Write>(
    app: &App,
    caller: &Caller,
    write: &W,
    present: impl Fn(W::Done) -> Answer + Send + Sync,
) -> Result<Answer, ApiError> {
    let write = Conditional { write, if_match: caller.if_match.as_ref() };
    let answered = match &caller.idempotency {
        None => perform(&app.store, &caller.actor, &write).await.map(present),
        Some(idempotency) => {
            // A repeated request gets its answer, although the first one has changed the version.
            let once = Once { write: &write, present, idempotency, keys: &app.keys };
            perform(&app.store, &caller.actor, &once).await
        }
    };
    Ok(answered?)
}

/// A command whose answer is stored for the request's key.
struct Once<'a, W, F> {
    write: &'a W,
    present: F,
    idempotency: &'a Idempotency,
    keys: &'a KeyRing,
}

impl<W: Write, F: Fn(W::Done) -> Answer + Send + Sync> Write for Once<'_, W, F> {
    type Done = Answer;

    fn tenant(&self) -> Option<&TenantId> {
        self.write.tenant()
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let purpose = Purpose::Answer { actor: &self.idempotency.actor, key: &self.idempotency.key };
        let internal = |error: &dyn std::error::Error| ApiError::internal(error);
        match unit.claim_key(self.idempotency).await? {
            Claim::Answered(stored) => {
                let body = self.keys.open(purpose, &stored.sealed_body).map_err(|error| internal(&error))?;
                let body = serde_json::from_slice(&body).map_err(|error| internal(&error))?;
                let status = StatusCode::from_u16(stored.status).map_err(|error| internal(&error))?;
                Ok(Answer { status, location: stored.location, body })
            }
            Claim::Mismatch => Err(ApiError::from(Code::IdempotencyMismatch).with("field", "Idempotency-Key").into()),
            Claim::New => {
                let answer = (self.present)(self.write.run(unit, actor).await?);
                let sealed_body = self.keys.seal(purpose, answer.body.to_string().as_bytes());
                let stored = StoredAnswer {
                    status: answer.status.as_u16(),
                    location: answer.location.clone(),
                    sealed_body: sealed_body.map_err(|error| internal(&error))?,
                };
                unit.store_answer(self.idempotency, &stored).await?;
                Ok(answer)
            }
        }
    }
}
