//! [`Idempotency`]: the same `Idempotency-Key` gives the same answer, whatever happened in between.
//!
//! A unit of work writes the row of the key first and the answer last. Two simultaneous requests with one key therefore
//! meet at this row: the second one waits until the first commits, and then reads its answer.

use super::UnitOfWork;
use crate::database::is_duplicate;
use sqlx::MySqlExecutor;

/// The key of a request, and what identifies the request.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The caller. Keys of different callers are different keys.
    pub actor: String,
    /// The value of the header: 1 to 255 printable ASCII characters.
    pub key: String,
    /// SHA-256 of method, path and body. The same key with another hash is a mistake of the caller.
    pub request_hash: [u8; 32],
}

/// An answer that was given before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The header `Location`, if the answer had one.
    pub location: Option<String>,
    /// The body, which the caller has sealed, because it may contain a token that is shown only once.
    pub sealed_body: String,
}

/// The result of claiming a key.
#[derive(Debug)]
pub enum Claim {
    /// The key is new. The caller continues, and stores the answer with [`UnitOfWork::store_answer`] before the commit.
    New,
    /// The request was answered before.
    Answered(StoredAnswer),
    /// The key was used before for another request.
    Mismatch,
}

/// Whether a request of this caller with this key was answered before.
pub async fn is_answered(executor: impl MySqlExecutor<'_>, actor: &str, key: &str) -> Result<bool, sqlx::Error> {
    let answered: Option<(i32,)> =
        sqlx::query_as("SELECT 1 FROM saas_idempotency_keys WHERE actor = ? AND idempotency_key = ?")
            .bind(actor)
            .bind(key)
            .fetch_optional(executor)
            .await?;
    Ok(answered.is_some())
}

impl UnitOfWork {
    /// Claims the key for this unit. If another unit holds it, this call waits for that unit's end.
    pub async fn claim_key(&mut self, idempotency: &Idempotency) -> Result<Claim, sqlx::Error> {
        let claimed = sqlx::query(
            "INSERT INTO saas_idempotency_keys (actor, idempotency_key, request_hash, status_code, response_sealed,
                                               created_at)
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

    /// Stores the answer, in the transaction of the changes that it reports.
    pub async fn store_answer(&mut self, idempotency: &Idempotency, answer: &StoredAnswer) -> Result<(), sqlx::Error> {
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
