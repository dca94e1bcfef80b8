//! A request for an audit: a job for each database server. While an audit is in work, every request is answered with
//! it.

use super::report::{self, Report};
use crate::commands::{Refusal, Write};
use kernel::audit::{PATIENCE, enqueue};
use kernel::store::{UnitOfWork, servers};
use uuid::Uuid;

pub struct RequestAudit {
    /// Whether what is safe is repaired.
    pub repair: bool,
}

impl Write for RequestAudit {
    type Done = Option<Report>;

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Option<Report>, Refusal> {
        // The lock of this row makes requests wait for each other.
        sqlx::query("SELECT name FROM saas_schedules WHERE name = 'audit' FOR UPDATE")
            .execute(unit.connection())
            .await?;
        let in_work: Option<(String,)> = sqlx::query_as(
            "SELECT a.audit_id FROM saas_audits a JOIN saas_audit_jobs j ON j.audit_id = a.audit_id
             JOIN saas_operations o ON o.operation_id = j.operation_id AND o.status IN ('pending', 'running')
             WHERE a.repair >= ? AND a.created_at > UTC_TIMESTAMP(6) - INTERVAL ? SECOND
             ORDER BY a.created_at DESC LIMIT 1",
        )
        .bind(self.repair)
        .bind(2 * PATIENCE.as_secs())
        .fetch_optional(unit.connection())
        .await?;
        let audit_id = match in_work {
            Some((audit_id,)) => audit_id,
            None => new(unit, actor, self.repair).await?,
        };
        Ok(report::of(unit.connection(), &audit_id).await?)
    }
}

async fn new(unit: &mut UnitOfWork, actor: &str, repair: bool) -> Result<String, sqlx::Error> {
    // Jobs that no provisioner took up are not done twice when one comes back.
    sqlx::query(
        "UPDATE saas_operations SET status = 'failed', error = 'no provisioner took it up; a newer audit was asked for',
                finished_at = UTC_TIMESTAMP(6) WHERE kind = 'audit' AND tenant_id = '' AND status = 'pending'",
    )
    .execute(unit.connection())
    .await?;
    let audit_id = Uuid::now_v7().to_string();
    sqlx::query(
        "INSERT INTO saas_audits (audit_id, requested_by, repair, created_at) VALUES (?, ?, ?, UTC_TIMESTAMP(6))",
    )
    .bind(&audit_id)
    .bind(actor)
    .bind(repair)
    .execute(unit.connection())
    .await?;
    for server in servers::ids(unit.connection()).await? {
        enqueue(unit.connection(), &audit_id, &server, None).await?;
    }
    Ok(audit_id)
}
