//! The outcome of an audit.

use crate::cursor::Page;
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::audit::{self, Drift, PATIENCE};
use serde::Serialize;
use sqlx::{MySqlConnection, Row};
use utoipa::ToSchema;

/// The letter of the cursors of findings.
pub const LIST: char = 'f';
/// Most findings of one page.
pub const MOST: u32 = 1000;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AuditFinding)]
pub struct Finding {
    /// Its kind, such as `account_open`.
    #[schema(value_type = String)]
    pub kind: Drift,
    /// The database server; empty for the system database.
    pub server: String,
    /// The tenant; empty for what belongs to no tenant.
    pub tenant_id: String,
    /// What differs, such as the name of a user or a table.
    pub subject: String,
    /// What is wrong with it, in words.
    pub what: &'static str,
    /// How it differs.
    pub detail: String,
    /// Whether it was repaired.
    pub repaired: bool,
}

/// An audit, as the admin API shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AuditReport)]
pub struct Report {
    pub audit_id: String,
    /// The actor that requested it.
    pub requested_by: String,
    /// Whether what is safe is repaired.
    pub repair: bool,
    /// `running`, `done`, or `incomplete`: a check failed, or no provisioner took it up.
    pub status: &'static str,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// When the last of its jobs ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Tenants that were compared with their servers.
    pub tenants_compared: u64,
    /// Tenants that were not compared, because a job of theirs was in progress.
    pub tenants_passed_over: u64,
    /// Tenants that are still being checked one by one, because the survey found a difference.
    pub tenants_left: u64,
    /// How many differences are left, on all pages.
    pub differences_left: u64,
    /// A page of the differences: first those that are left, then those that were repaired.
    pub findings: Vec<Finding>,
    /// Where the next page of findings begins.
    #[serde(skip)]
    pub next_cursor: Option<String>,
}

pub async fn newest(connection: &mut MySqlConnection, page: &Page) -> Result<Option<Report>, sqlx::Error> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT audit_id FROM saas_audits ORDER BY created_at DESC, audit_id DESC LIMIT 1")
            .fetch_optional(&mut *connection)
            .await?;
    match row {
        Some((audit_id,)) => of(connection, &audit_id, page).await,
        None => Ok(None),
    }
}

/// The audit of this id, with a page of its findings.
pub async fn of(connection: &mut MySqlConnection, audit_id: &str, page: &Page) -> Result<Option<Report>, sqlx::Error> {
    let audit: Option<(String, bool, NaiveDateTime, bool)> = sqlx::query_as(
        "SELECT requested_by, repair <> 0, created_at, created_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND
         FROM saas_audits WHERE audit_id = ?",
    )
    .bind(2 * PATIENCE.as_secs())
    .bind(audit_id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((requested_by, repair, created_at, is_old)) = audit else { return Ok(None) };
    let is_open = is_open(is_old);
    let (jobs, open, left, unsuccessful, failed, compared, passed_over, ended_at): Jobs = sqlx::query_as(&format!(
        "SELECT COUNT(*), CAST(COALESCE(SUM({is_open}), 0) AS SIGNED),
                CAST(COALESCE(SUM({is_open} AND j.tenant_id <> ''), 0) AS SIGNED),
                CAST(COALESCE(SUM(COALESCE(o.status, 'failed') <> 'succeeded'), 0) AS SIGNED),
                CAST(COALESCE(SUM(COALESCE(o.status, 'failed') <> 'succeeded' AND NOT {is_open}), 0) AS SIGNED),
                CAST(COALESCE(SUM(IF(j.tenant_id = '', j.compared, 0)), 0) AS SIGNED),
                CAST(COALESCE(SUM(j.passed_over), 0) AS SIGNED), MAX(o.finished_at)
         FROM saas_audit_jobs j LEFT JOIN saas_operations o ON o.operation_id = j.operation_id WHERE j.audit_id = ?"
    ))
    .bind(audit_id)
    .fetch_one(&mut *connection)
    .await?;
    let found: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM saas_audit_findings WHERE audit_id = ? AND outcome <> 'repaired'")
            .bind(audit_id)
            .fetch_one(&mut *connection)
            .await?;
    let (findings, next_cursor) = page.cut_by_place(findings(connection, audit_id, &is_open, page).await?);
    let status = match (open > 0, unsuccessful > 0 || jobs == 0) {
        (true, _) => "running",
        (false, true) => "incomplete",
        (false, false) => "done",
    };
    Ok(Some(Report {
        audit_id: audit_id.to_owned(),
        requested_by,
        repair,
        status,
        created_at: created_at.and_utc(),
        ended_at: ended_at.filter(|_| open == 0).map(|time| time.and_utc()),
        tenants_compared: compared.unsigned_abs(),
        tenants_passed_over: passed_over.unsigned_abs(),
        tenants_left: left.unsigned_abs(),
        differences_left: (found + failed).unsigned_abs(),
        findings,
        next_cursor,
    }))
}

/// Jobs in all, open ones, open ones of tenants, unsuccessful ones, failed ones, tenants compared and passed over, end.
type Jobs = (i64, i64, i64, i64, i64, i64, i64, Option<NaiveDateTime>);

/// Whether a job of an audit is still awaited. A server whose provisioner is away does not keep an old audit open. A
/// survey that waits for another one of its server is not untaken.
fn is_open(is_old: bool) -> String {
    let untaken = format!("j.tenant_id = '' AND o.status = 'pending' AND NOT {}", audit::SURVEYED);
    let given_up = if is_old { untaken.as_str() } else { "FALSE" };
    format!("(COALESCE(o.status, 'failed') IN ('pending', 'running') AND NOT ({given_up}))")
}

/// A page of the stored findings. A job that failed is a finding too: its server or tenant was not examined.
async fn findings(
    connection: &mut MySqlConnection,
    audit_id: &str,
    is_open: &str,
    page: &Page,
) -> Result<Vec<Finding>, sqlx::Error> {
    // Both parts of a UNION need one collation.
    let text = |value: &str| format!("CONVERT({value} USING utf8mb4) COLLATE utf8mb4_unicode_ci");
    let rows = sqlx::query(&format!(
        "SELECT kind, server_id, tenant_id, subject, detail, outcome = 'repaired' FROM (
           SELECT {} AS kind, {} AS server_id, {} AS tenant_id, {} AS subject, {} AS detail, {} AS outcome
           FROM saas_audit_findings WHERE audit_id = ?
           UNION ALL
           SELECT {}, {}, {}, {}, {}, {}
           FROM saas_audit_jobs j LEFT JOIN saas_operations o ON o.operation_id = j.operation_id
           WHERE j.audit_id = ? AND COALESCE(o.status, 'failed') <> 'succeeded' AND NOT {is_open}) differences
         ORDER BY outcome, tenant_id, kind, server_id, subject LIMIT ? OFFSET ?",
        text("kind"),
        text("server_id"),
        text("tenant_id"),
        text("subject"),
        text("detail"),
        text("outcome"),
        text(&format!("'{}'", Drift::ServerNotSeen.as_str())),
        text("j.server_id"),
        text("j.tenant_id"),
        text("IF(j.tenant_id = '', j.server_id, j.tenant_id)"),
        text("COALESCE(o.error, 'no provisioner took the job up')"),
        text("'found'"),
    ))
    .bind(audit_id)
    .bind(audit_id)
    .bind(page.rows())
    .bind(page.after)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let kind: String = row.try_get(0)?;
            let kind: Drift =
                kind.parse().map_err(|()| sqlx::Error::Decode(format!("a finding is a {kind}").into()))?;
            Ok(Finding {
                kind,
                server: row.try_get(1)?,
                tenant_id: row.try_get(2)?,
                subject: row.try_get(3)?,
                what: kind.what(),
                detail: row.try_get(4)?,
                repaired: row.try_get::<i64, _>(5)? != 0,
            })
        })
        .collect()
}
