//! The rows of audits, of their jobs and of their findings.

use super::Drift;
use crate::domain::TenantId;
use crate::jobs::{self, JobKind, JobUnit, Lane, NewJob};
use sqlx::{MySqlConnection, MySqlExecutor};
use std::time::Duration;
use uuid::Uuid;

/// How long a job of an audit is retried, and how long it waits for other jobs of its tenant.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Whether a worker surveys the server of a job `o` of an audit at the moment, or waits to try that again.
pub const SURVEYED: &str = "EXISTS (SELECT 1 FROM saas_operations s FORCE INDEX (idx_claim)
    WHERE s.server_id = o.server_id AND s.lane = o.lane AND s.due_at > UTC_TIMESTAMP(6) AND s.attempts > 0)";
/// Longest subject and detail of a stored finding.
const SUBJECT_CHARS: usize = 150;
const DETAIL_CHARS: usize = 500;

/// Provisioners that have no workers for the lane of surveys have not recorded a host of accounts either. They take a
/// survey as bulk work.
async fn lane_of_surveys(connection: &mut MySqlConnection, server: &str) -> Result<Lane, sqlx::Error> {
    let host: Option<(Option<String>,)> =
        sqlx::query_as("SELECT account_host FROM saas_database_servers WHERE server_id = ?")
            .bind(server)
            .fetch_optional(connection)
            .await?;
    Ok(if matches!(host, Some((Some(_),))) { Lane::Surveys } else { Lane::Bulk })
}

/// The audit that a job belongs to.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The id of the audit.
    pub audit_id: String,
    /// Whether the audit repairs what is safe to repair.
    pub repair: bool,
    /// Whether the job's tenant was skipped because of its other jobs.
    pub passed_over: bool,
}

/// A difference that an audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of difference.
    pub kind: Drift,
    /// What differs. There is one finding for each kind and subject.
    pub subject: String,
    /// How it differs; never a secret.
    pub detail: String,
}

/// The audit, server and tenant of a finding.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub audit_id: &'a str,
    /// The examined server.
    pub server: &'a str,
    /// The tenant, or an empty text for none.
    pub tenant: &'a str,
}

/// Enqueues a job of an audit: for a tenant, or for the server itself (`None`).
pub async fn enqueue(
    connection: &mut MySqlConnection,
    audit_id: &str,
    server: &str,
    tenant: Option<&TenantId>,
) -> Result<Uuid, sqlx::Error> {
    let job = match tenant {
        Some(tenant_id) => NewJob::for_tenant(JobKind::Audit, tenant_id, server, PATIENCE),
        None => {
            NewJob::for_server(JobKind::Audit, server, PATIENCE).in_lane(lane_of_surveys(connection, server).await?)
        }
    };
    let operation_id = jobs::enqueue(connection, &[job]).await?[0];
    sqlx::query("INSERT INTO saas_audit_jobs (operation_id, audit_id, server_id, tenant_id) VALUES (?, ?, ?, ?)")
        .bind(operation_id.to_string())
        .bind(audit_id)
        .bind(server)
        .bind(tenant.map_or("", TenantId::as_str))
        .execute(connection)
        .await?;
    Ok(operation_id)
}

/// The audit that a job belongs to.
pub async fn of_job(executor: impl MySqlExecutor<'_>, operation_id: Uuid) -> Result<Option<Audit>, sqlx::Error> {
    let row: Option<(String, bool, bool)> = sqlx::query_as(
        "SELECT a.audit_id, a.repair <> 0, j.passed_over <> 0 FROM saas_audit_jobs j
         JOIN saas_audits a ON a.audit_id = j.audit_id WHERE j.operation_id = ?",
    )
    .bind(operation_id.to_string())
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|(audit_id, repair, passed_over)| Audit { audit_id, repair, passed_over }))
}

/// Stores how many tenants the job has compared, and how many it skipped.
pub async fn record_compared(unit: &mut JobUnit<'_>, compared: usize, passed_over: usize) -> Result<(), sqlx::Error> {
    let operation_id = unit.lease().operation_id;
    sqlx::query("UPDATE saas_audit_jobs SET compared = ?, passed_over = ? WHERE operation_id = ?")
        .bind(u32::try_from(compared).unwrap_or(u32::MAX))
        .bind(u32::try_from(passed_over).unwrap_or(u32::MAX))
        .bind(operation_id.to_string())
        .execute(unit.connection())
        .await
        .map(drop)
}

/// Stores findings. A finding that is stored already gets the new detail.
pub async fn store(unit: &mut JobUnit<'_>, row: Row<'_>, findings: &[Finding]) -> Result<(), sqlx::Error> {
    add(unit.connection(), row, findings).await
}

/// Stores findings that no worker has made, on the connection of a unit of work.
pub async fn add(connection: &mut MySqlConnection, row: Row<'_>, findings: &[Finding]) -> Result<(), sqlx::Error> {
    for finding in findings {
        sqlx::query(
            "INSERT INTO saas_audit_findings (audit_id, server_id, tenant_id, kind, subject, detail, outcome, found_at)
             VALUES (?, ?, ?, ?, ?, ?, 'found', UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE detail = VALUES(detail)",
        )
        .bind(row.audit_id)
        .bind(row.server)
        .bind(row.tenant)
        .bind(finding.kind.as_str())
        .bind(cut(&finding.subject, SUBJECT_CHARS))
        .bind(cut(&finding.detail, DETAIL_CHARS))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The stored findings about the tenant that are not repaired.
pub async fn stored(executor: impl MySqlExecutor<'_>, row: Row<'_>) -> Result<Vec<Finding>, sqlx::Error> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT kind, subject, detail FROM saas_audit_findings
         WHERE audit_id = ? AND server_id = ? AND tenant_id = ? AND outcome = 'found' ORDER BY kind, subject",
    )
    .bind(row.audit_id)
    .bind(row.server)
    .bind(row.tenant)
    .fetch_all(executor)
    .await?;
    let finding = |(kind, subject, detail): (String, String, String)| {
        let unknown = |()| sqlx::Error::Decode(format!("a finding has the unknown kind {kind}").into());
        let kind = kind.parse().map_err(unknown)?;
        Ok(Finding { kind, subject, detail })
    };
    rows.into_iter().map(finding).collect()
}

/// Records that a finding was repaired.
pub async fn repaired(unit: &mut JobUnit<'_>, row: Row<'_>, finding: &Finding) -> Result<(), sqlx::Error> {
    settle(unit, row, finding, "UPDATE saas_audit_findings SET outcome = 'repaired'").await
}

/// Deletes a finding that has vanished by itself, because a change was in progress.
pub async fn drop_vanished(unit: &mut JobUnit<'_>, row: Row<'_>, finding: &Finding) -> Result<(), sqlx::Error> {
    settle(unit, row, finding, "DELETE FROM saas_audit_findings").await
}

async fn settle(unit: &mut JobUnit<'_>, row: Row<'_>, finding: &Finding, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::query(&format!(
        "{statement} WHERE audit_id = ? AND server_id = ? AND tenant_id = ? AND kind = ? AND subject = ?"
    ))
    .bind(row.audit_id)
    .bind(row.server)
    .bind(row.tenant)
    .bind(finding.kind.as_str())
    .bind(cut(&finding.subject, SUBJECT_CHARS))
    .execute(unit.connection())
    .await
    .map(drop)
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
