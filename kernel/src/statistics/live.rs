//! The present figures of one tenant. Only workers may log in to a tenant's database, so the control plane writes a
//! question into the tenant's row, rings, and reads the answer there.
//!
//! **Guarantees.** An answer counts for a question only if its counting began after the question. Many questions at
//! once are answered by one or two countings. A worker answers under a claim of the row; a worker that was paused until
//! its claim ran out cannot answer any more. The control plane stops waiting for a question that no worker answers.
//!
//! **Design note.** A claim is not a row of `saas_leases`: workers answer for different tenants side by side, each for
//! a moment, and the time at which the claim began is its epoch.

use super::{Figures, IS_COUNTED};
use chrono::NaiveDateTime;
use sqlx::MySqlPool;

/// A worker that gives no answer for so long has lost its claim.
const CLAIM_SECONDS: u32 = 10;

/// The newest answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Newest figures, and when they were counted.
    pub figures: Option<(Figures, NaiveDateTime)>,
    /// The newest counting began after the question.
    pub is_new: bool,
    /// Why the newest counting gave no figures.
    pub reason: Option<String>,
}

/// Asks; returns when, by the database's clock.
pub async fn ask(pool: &MySqlPool, tenant_id: &str) -> Result<NaiveDateTime, sqlx::Error> {
    let (now,): (NaiveDateTime,) = sqlx::query_as("SELECT UTC_TIMESTAMP(6)").fetch_one(pool).await?;
    sqlx::query(
        "INSERT INTO saas_live_statistics (tenant_id, asked_at) VALUES (?, ?)
         ON DUPLICATE KEY UPDATE asked_at = GREATEST(asked_at, VALUES(asked_at))",
    )
    .bind(tenant_id)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(now)
}

/// The newest answer to a question that was asked at `asked`.
pub async fn answered(pool: &MySqlPool, tenant_id: &str, asked: NaiveDateTime) -> Result<Answer, sqlx::Error> {
    type Row = (Option<NaiveDateTime>, Option<String>, Option<NaiveDateTime>, Option<String>);
    let row: Option<Row> =
        sqlx::query_as("SELECT began_at, figures, counted_at, reason FROM saas_live_statistics WHERE tenant_id = ?")
            .bind(tenant_id)
            .fetch_optional(pool)
            .await?;
    let (began, figures, counted, reason) = row.unwrap_or_default();
    let figures = figures.and_then(|text| serde_json::from_str(&text).ok()).zip(counted);
    Ok(Answer { figures, is_new: began.is_some_and(|began| began >= asked), reason })
}

/// Claims open questions for tenants of `server`, at most `limit`; with each, when its counting begins.
pub async fn claim_asked(
    pool: &MySqlPool,
    server: &str,
    limit: u32,
) -> Result<Vec<(String, NaiveDateTime)>, sqlx::Error> {
    let open: Vec<(String,)> = sqlx::query_as(&format!(
        "SELECT l.tenant_id FROM saas_live_statistics l JOIN saas_tenant_snapshots s ON s.tenant_id = l.tenant_id
         WHERE l.asked_at > UTC_TIMESTAMP(6) - INTERVAL {CLAIM_SECONDS} SECOND AND s.server_id = ? AND {IS_COUNTED}
           AND (l.began_at IS NULL OR l.began_at < l.asked_at)
           AND (l.claimed_until IS NULL OR l.claimed_until <= UTC_TIMESTAMP(6)) LIMIT ?"
    ))
    .bind(server)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let mut claimed = Vec::new();
    for (tenant_id,) in open {
        let (now,): (NaiveDateTime,) = sqlx::query_as("SELECT UTC_TIMESTAMP(6)").fetch_one(pool).await?;
        let won = sqlx::query(&format!(
            "UPDATE saas_live_statistics SET claimed_until = ? + INTERVAL {CLAIM_SECONDS} SECOND
             WHERE tenant_id = ? AND (claimed_until IS NULL OR claimed_until <= ?)"
        ))
        .bind(now)
        .bind(&tenant_id)
        .bind(now)
        .execute(pool)
        .await?;
        if won.rows_affected() == 1 {
            claimed.push((tenant_id, now));
        }
    }
    Ok(claimed)
}

/// Answers, with figures or with the reason why there are none, if the claim that began at `began` still stands.
pub async fn reply(
    pool: &MySqlPool,
    tenant_id: &str,
    began: NaiveDateTime,
    counted: Result<&Figures, &str>,
) -> Result<(), sqlx::Error> {
    let figures = counted.ok().map(|figures| serde_json::to_string(figures).expect("figures are plain data"));
    sqlx::query(&format!(
        "UPDATE saas_live_statistics SET began_at = ?, claimed_until = NULL, counted_at = IF(? IS NULL, counted_at, ?),
                figures = COALESCE(?, figures), reason = ?
         WHERE tenant_id = ? AND (began_at IS NULL OR began_at < ?)
           AND claimed_until = ? + INTERVAL {CLAIM_SECONDS} SECOND"
    ))
    .bind(began)
    .bind(&figures)
    .bind(began)
    .bind(&figures)
    .bind(counted.err().map(|reason| reason.chars().take(300).collect::<String>()))
    .bind(tenant_id)
    .bind(began)
    .bind(began)
    .execute(pool)
    .await
    .map(drop)
}
