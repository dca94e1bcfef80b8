//! `Idempotency-Key`: the same key gives the same answer, whatever happened in between.
//!
//! The key's row is the first thing a unit of work writes and its answer the last. Two simultaneous requests with one
//! key therefore meet at the row: the second waits for the first to commit and then reads its answer.

use super::UnitOfWork;
use crate::database::is_duplicate;

/// Who repeats what.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// Keys of different callers are different keys.
    pub actor: String,
    /// The header's value, 1 to 255 printable ASCII characters.
    pub key: String,
    /// SHA-256 of method, path and body: the same key for something else is a mistake of the caller.
    pub request_hash: [u8; 32],
}

/// An answer given before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Location` header, if it had one.
    pub location: Option<String>,
    /// The body, sealed by the caller: it may hold a token that is shown once.
    pub sealed_body: String,
}

/// What a key turned out to be.
#[derive(Debug)]
pub enum Claim {
    /// New: go on, and keep the answer with [`UnitOfWork::keep_answer`] before the commit.
    New,
    /// Answered before.
    Answered(StoredAnswer),
    /// Used before for another request.
    Mismatch,
}

impl UnitOfWork {
    /// Claims the key for this unit, waiting for another unit that holds it.
    pub async fn claim_key(&mut self, idempotency: &Idempotency) -> Result<Claim, sqlx::Error> {
        let claimed = sqlx::query(
            "INSERT INTO saas_idempotency_keys (actor, idempotency_key, request_hash, status_code, response_sealed, created_at)
             VALUES (?, ?, ?, 0, '', UTC_TIMESTAMP(6))",
        )
        .bind(&idempotency.actor)
        .bind(&idempotency.key)
        .bind(&idempotency.request_hash[..])
        .execute(self.connection())
        .await;
        match claimed {
            Ok(_) => return Ok(Claim::New),
            Err(error) if is_duplicate(&error) => {}
            Err(error) => return Err(error),
        }
        let (hash, status, location, sealed_body): (Vec<u8>, u16, Option<String>, String) = sqlx::query_as(
            "SELECT request_hash, status_code, location, response_sealed FROM saas_idempotency_keys
             WHERE actor = ? AND idempotency_key = ?",
        )
        .bind(&idempotency.actor)
        .bind(&idempotency.key)
        .fetch_one(self.connection())
        .await?;
        Ok(if hash == idempotency.request_hash {
            Claim::Answered(StoredAnswer { status, location, sealed_body })
        } else {
            Claim::Mismatch
        })
    }

    /// Keeps the answer, in the same transaction as what it answers.
    pub async fn keep_answer(&mut self, idempotency: &Idempotency, answer: &StoredAnswer) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE saas_idempotency_keys SET status_code = ?, location = ?, response_sealed = ?
             WHERE actor = ? AND idempotency_key = ?",
        )
        .bind(answer.status)
        .bind(&answer.location)
        .bind(&answer.sealed_body)
        .bind(&idempotency.actor)
        .bind(&idempotency.key)
        .execute(self.connection())
        .await
        .map(drop)
    }
}
