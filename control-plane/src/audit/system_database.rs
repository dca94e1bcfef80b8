//! Differences that the system database alone shows, read in one snapshot.
//!
//! Credentials of a tenant with a job in progress are not checked: that job may be writing or removing them.

use super::report::Finding;
use kernel::audit::Drift;
use sqlx::{Executor, MySqlConnection};

/// Most findings of one kind that are reported.
const MOST: u32 = 1000;
/// A job that has been due for so long without a lease waits for a worker that is not there.
const STUCK_SECONDS: u32 = 300;

pub async fn findings(connection: &mut MySqlConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let checks = [
        (
            Drift::CredentialMissing,
            "SELECT d.tenant_id FROM saas_tenant_databases d JOIN saas_tenant_snapshots s ON s.tenant_id = d.tenant_id
             WHERE s.has_database = 1 AND (d.db_username = '' OR d.db_password_encrypted = '')
               AND NOT EXISTS (SELECT 1 FROM saas_operations o WHERE o.tenant_id = d.tenant_id
                               AND o.due_at IS NOT NULL)"
                .to_owned(),
        ),
        (
            Drift::RotationLeft,
            "SELECT n.tenant_id FROM saas_next_credentials n
             WHERE NOT EXISTS (SELECT 1 FROM saas_operations o WHERE o.operation_id = n.operation_id
                               AND o.status IN ('pending', 'running'))"
                .to_owned(),
        ),
        (
            Drift::JobStuck,
            format!(
                "SELECT o.tenant_id FROM saas_operations o FORCE INDEX (idx_open)
                 WHERE o.due_at < UTC_TIMESTAMP(6) - INTERVAL {STUCK_SECONDS} SECOND AND o.tenant_id <> ''
                   AND NOT FIND_IN_SET(o.lane, '{}')",
                kernel::jobs::lanes_that_queue()
            ),
        ),
    ];
    let begin =
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
    connection.execute(sqlx::raw_sql(begin)).await?;
    let mut findings = Vec::new();
    for (kind, check) in checks {
        let rows: Vec<(String,)> = sqlx::query_as(&format!("{check} LIMIT {MOST}")).fetch_all(&mut *connection).await?;
        findings.extend(rows.into_iter().map(|(tenant_id,)| Finding {
            kind,
            server: String::new(),
            subject: tenant_id.clone(),
            tenant_id,
            what: kind.what(),
            detail: "seen in the system database".into(),
            repaired: false,
        }));
    }
    connection.execute(sqlx::raw_sql("COMMIT")).await?;
    Ok(findings)
}

/// Adds what `findings` does not have yet.
pub fn add(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    for finding in more {
        let same =
            |other: &Finding| other.kind == finding.kind && other.tenant_id == finding.tenant_id && !other.repaired;
        if !findings.iter().any(same) {
            findings.push(finding);
        }
    }
}
