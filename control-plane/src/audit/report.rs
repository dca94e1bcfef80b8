//! The outcome of an audit.

use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::audit::{Drift, PATIENCE};
use serde::Serialize;
use sqlx::{MySqlConnection, Row};
use utoipa::ToSchema;

/// Most findings that are reported.
const MOST: u32 = 1000;

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
    /// Differences that are left, and those that were repaired.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Differences that are left.
    pub fn left(&self) -> usize {
        self.findings.iter().filter(|finding| !finding.repaired).count()
    }
}

pub async fn newest(connection: &mut MySqlConnection) -> Result<Option<Report>, sqlx::Error> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT audit_id FROM saas_audits ORDER BY created_at DESC, audit_id DESC LIMIT 1")
            .fetch_optional(&mut *connection)
            .await?;
    match row {
        Some((audit_id,)) => of(connection, &audit_id).await,
        None => Ok(None),
    }
}

/// The audit of this id.
pub async fn of(connection: &mut MySqlConnection, audit_id: &str) -> Result<Option<Report>, sqlx::Error> {
    let audit: Option<(String, bool, NaiveDateTime, bool)> = sqlx::query_as(
        "SELECT requested_by, repair <> 0, created_at, created_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND
         FROM saas_audits WHERE audit_id = ?",
    )
    .bind(2 * PATIENCE.as_secs())
    .bind(audit_id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((requested_by, repair, created_at, is_old)) = audit else { return Ok(None) };
    let mut findings = found(connection, audit_id).await?;
    let jobs: Vec<Job> = sqlx::query_as(
        "SELECT j.server_id, j.tenant_id, j.compared, j.passed_over, COALESCE(o.status, 'failed'), o.error,
                o.finished_at
         FROM saas_audit_jobs j LEFT JOIN saas_operations o ON o.operation_id = j.operation_id WHERE j.audit_id = ?",
    )
    .bind(audit_id)
    .fetch_all(connection)
    .await?;
    let (mut open, mut compared, mut passed_over, mut left, mut incomplete) = (false, 0, 0, 0, jobs.is_empty());
    let mut ended_at = None;
    for (server, tenant_id, surveyed, over, status, error, finished) in jobs {
        let (survey, ended) = (tenant_id.is_empty(), !matches!(status.as_str(), "pending" | "running"));
        ended_at = ended_at.max(finished);
        passed_over += u64::from(over);
        if survey {
            compared += u64::from(surveyed);
        }
        // A server whose provisioner is away does not keep the audit open for ever.
        let given_up = survey && is_old && status == "pending";
        if !(ended || given_up) {
            open = true;
            left += u64::from(!survey);
        } else if status != "succeeded" {
            let detail = error.unwrap_or_else(|| "no provisioner took the job up".into());
            let kind = Drift::ServerNotSeen;
            let subject = if survey { server.clone() } else { tenant_id.clone() };
            findings.push(Finding { kind, server, tenant_id, subject, what: kind.what(), detail, repaired: false });
        }
        incomplete |= status != "succeeded";
    }
    let status = match (open, incomplete) {
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
        ended_at: ended_at.filter(|_| !open).map(|time| time.and_utc()),
        tenants_compared: compared,
        tenants_passed_over: passed_over,
        tenants_left: left,
        findings,
    }))
}

/// Server, tenant, tenants compared and passed over, status, error, end.
type Job = (String, String, u32, u32, String, Option<String>, Option<NaiveDateTime>);

async fn found(connection: &mut MySqlConnection, audit_id: &str) -> Result<Vec<Finding>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT kind, server_id, tenant_id, subject, detail, outcome = 'repaired' FROM saas_audit_findings
         WHERE audit_id = ? ORDER BY outcome, tenant_id, kind, subject LIMIT ?",
    )
    .bind(audit_id)
    .bind(MOST)
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
