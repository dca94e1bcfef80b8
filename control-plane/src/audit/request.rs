//! A request for an audit: a job for each database server. While an audit is in work, every request is answered with
//! it. What the system database alone shows, a job that no worker takes, is found and stored by the request itself.

use super::report::{self, LIST, MOST, Report};
use crate::commands::{Refusal, Write};
use crate::cursor::Page;
use kernel::audit::{Drift, Finding, PATIENCE, Row, SURVEYED, enqueue};
use kernel::jobs;
use kernel::store::{UnitOfWork, servers};
use uuid::Uuid;

/// A job that has been due for so long without a lease waits for a worker that is not there.
const STUCK_SECONDS: u32 = 300;

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
        Ok(report::of(unit.connection(), &audit_id, &Page::first(LIST, MOST)).await?)
    }
}

async fn new(unit: &mut UnitOfWork, actor: &str, repair: bool) -> Result<String, sqlx::Error> {
    // Jobs that no provisioner took up are not done twice when one comes back.
    let untaken: Vec<(String,)> = sqlx::query_as(&format!(
        "SELECT o.operation_id FROM saas_operations o FORCE INDEX (idx_open)
         WHERE o.due_at IS NOT NULL AND o.kind = 'audit' AND o.tenant_id = '' AND o.status = 'pending'
           AND NOT {SURVEYED}"
    ))
    .fetch_all(unit.connection())
    .await?;
    for (operation_id,) in untaken {
        sqlx::query(
            "UPDATE saas_operations
             SET status = 'failed', error = 'no provisioner took it up; a newer audit was asked for',
                 finished_at = UTC_TIMESTAMP(6) WHERE operation_id = ? AND status = 'pending'",
        )
        .bind(operation_id)
        .execute(unit.connection())
        .await?;
    }
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
    store_stuck_jobs(unit, &audit_id).await?;
    Ok(audit_id)
}

/// Stores a finding for each tenant with a job that no worker takes, by the index of open jobs.
async fn store_stuck_jobs(unit: &mut UnitOfWork, audit_id: &str) -> Result<(), sqlx::Error> {
    let stuck: Vec<(String, String)> = sqlx::query_as(&format!(
        "SELECT tenant_id, server_id FROM saas_operations FORCE INDEX (idx_open)
         WHERE due_at < UTC_TIMESTAMP(6) - INTERVAL {STUCK_SECONDS} SECOND AND tenant_id <> ''
           AND NOT FIND_IN_SET(lane, ?) LIMIT {MOST}"
    ))
    .bind(jobs::lanes_that_queue())
    .fetch_all(unit.connection())
    .await?;
    for (tenant_id, server) in stuck {
        let detail = format!("no worker of server {server} takes it");
        let finding = Finding { kind: Drift::JobStuck, subject: tenant_id.clone(), detail };
        // Of no server: no survey compares it.
        let row = Row { audit_id, server: "", tenant: &tenant_id };
        kernel::audit::add(unit.connection(), row, &[finding]).await?;
    }
    Ok(())
}
