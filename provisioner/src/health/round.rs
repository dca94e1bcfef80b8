//! A round: all tenants of the server, a few at a time.

use super::check::{Finding, Patient};
use super::{Checker, LEASE};
use futures::StreamExt;
use kernel::lease::{LeaseError, RoleLease};
use kernel::process::telemetry::names;
use sqlx::{MySql, QueryBuilder};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Longest time for the server itself to answer.
const PROBE: Duration = Duration::from_secs(2);
/// Most findings in one statement.
const BATCH: usize = 500;
/// Findings are recorded at least this often, also when they come slowly: recording renews the lease.
const RECORD_EVERY: Duration = Duration::from_secs(5);
/// For so long the report of a node that it was served from a database stands for a check.
const BELIEVED_SECONDS: u32 = 60;
/// A tenant that nodes are served from all the time is checked in every round of so many.
const SHARES: u32 = 10;
/// In one of so many rounds old reports are removed.
const FORGETTING_ROUNDS: u64 = 60;
/// Reports of this age are removed.
const FORGOTTEN_HOURS: u32 = 1;

impl Checker {
    pub(super) async fn round(&self, mut lease: RoleLease) -> Result<(), LeaseError> {
        let patients = self.patients(None).await?;
        let away = OnceLock::new();
        if let Err(reason) = self.probe().await {
            let _ = away.set(reason);
        }
        let (mut healthy, mut unhealthy) = (0_u32, 0_u32);
        let checks = futures::stream::iter(patients.into_iter().map(|patient| self.unless_away(patient, &away)));
        let mut findings = checks.buffer_unordered(self.connections).boxed();
        let (mut batch, mut record_at) = (Vec::with_capacity(BATCH), Instant::now() + RECORD_EVERY);
        loop {
            let next = timeout_at(record_at, findings.next()).await;
            let (is_last, is_late) = (matches!(next, Ok(None)), next.is_err());
            batch.extend(next.ok().flatten());
            if !(is_last || is_late || batch.len() == BATCH) {
                continue;
            }
            let sick = batch.iter().filter(|finding: &&Finding| finding.reason.is_some()).count();
            unhealthy += u32::try_from(sick).unwrap_or(u32::MAX);
            healthy += u32::try_from(batch.len() - sick).unwrap_or(u32::MAX);
            self.record(&mut lease, &batch).await?;
            batch.clear();
            record_at = Instant::now() + RECORD_EVERY;
            if is_last {
                break;
            }
        }
        let reason = away.get();
        let mut tx = self.store.pool().begin().await?;
        lease.renew(&mut *tx).await?;
        sqlx::query(
            "UPDATE saas_health_rounds SET ended_at = UTC_TIMESTAMP(6), done_began_at = began_at,
               rounds_ended = rounds_ended + 1, lease_until = NULL, reason = ?, period_seconds = ?, healthy = ?,
               unhealthy = ?
             WHERE server_id = ?",
        )
        .bind(reason)
        .bind(u32::try_from(self.every.as_secs()).unwrap_or(u32::MAX))
        .bind(healthy)
        .bind(unhealthy)
        .bind(&self.server.id)
        .execute(&mut *tx)
        .await?;
        // Those that the round has not recorded: what it records is never older than the reports that it believes.
        sqlx::query(&format!(
            "DELETE FROM saas_tenant_health WHERE server_id = ? AND checked_at
               < (SELECT began_at FROM saas_health_rounds WHERE server_id = ?) - INTERVAL {BELIEVED_SECONDS} SECOND"
        ))
        .bind(&self.server.id)
        .bind(&self.server.id)
        .execute(&mut *tx)
        .await?;
        lease.end(&mut *tx).await?;
        tx.commit().await?;
        let server = &self.server.id;
        metrics::gauge!(names::TENANT_DATABASES, "server" => server.clone(), "status" => "healthy").set(healthy);
        metrics::gauge!(names::TENANT_DATABASES, "server" => server.clone(), "status" => "unhealthy").set(unhealthy);
        metrics::gauge!(names::DATABASE_SERVER_UP, "server" => server.clone()).set(u8::from(reason.is_none()));
        self.forget_old_reports().await?;
        Ok(())
    }

    /// Removes old reports of nodes. This reads the whole table, so it is done once in many rounds.
    async fn forget_old_reports(&self) -> Result<(), sqlx::Error> {
        let ended: Option<(u64,)> =
            sqlx::query_as("SELECT CAST(rounds_ended AS UNSIGNED) FROM saas_health_rounds WHERE server_id = ?")
                .bind(&self.server.id)
                .fetch_optional(self.store.pool())
                .await?;
        if ended.is_none_or(|(ended,)| !ended.is_multiple_of(FORGETTING_ROUNDS)) {
            return Ok(());
        }
        sqlx::query(&format!(
            "DELETE FROM saas_served_tenants WHERE served_at < UTC_TIMESTAMP(6) - INTERVAL {FORGOTTEN_HOURS} HOUR"
        ))
        .execute(self.store.pool())
        .await
        .map(drop)
    }

    /// Tenants that are served or under maintenance, with their credentials; or one of them. A tenant counts as served
    /// by nodes if it has not changed since a node reported so, if its last check was good, and if it is not its turn
    /// to be logged in to: each tenant has a turn in every [`SHARES`] rounds.
    pub(super) async fn patients(&self, only: Option<&str>) -> Result<Vec<Patient>, sqlx::Error> {
        sqlx::query_as(&format!(
            "SELECT s.tenant_id, d.db_username, d.db_password_encrypted, v.served_at FROM saas_tenant_snapshots s
             JOIN saas_tenant_databases d ON d.tenant_id = s.tenant_id
             JOIN saas_health_rounds r ON r.server_id = s.server_id
             LEFT JOIN saas_tenant_health h
               ON h.tenant_id = s.tenant_id AND h.server_id = s.server_id AND h.status = 'healthy'
             LEFT JOIN saas_served_tenants v
               ON v.tenant_id = h.tenant_id AND v.position >= s.position AND s.status = 1
              AND v.served_at > UTC_TIMESTAMP(6) - INTERVAL {BELIEVED_SECONDS} SECOND
              AND CRC32(s.tenant_id) % {SHARES} <> r.rounds_ended % {SHARES}
             WHERE s.server_id = ? AND s.status IN (1, 2) AND (? IS NULL OR s.tenant_id = ?) ORDER BY s.tenant_id"
        ))
        .bind(&self.server.id)
        .bind(only)
        .bind(only)
        .fetch_all(self.store.pool())
        .await
    }

    async fn probe(&self) -> Result<(), String> {
        match timeout(PROBE, self.server.connect()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.reason(&self.server.id)),
            Err(_) => Err(format!("database server {} does not answer", self.server.id)),
        }
    }

    async fn unless_away(&self, patient: Patient, away: &OnceLock<String>) -> Finding {
        if let Some(reason) = away.get() {
            return Finding::unhealthy(&patient.tenant_id, reason.clone());
        }
        if patient.served_at.is_some() {
            return Finding::healthy(&patient.tenant_id, None, patient.served_at);
        }
        let finding = self.check(&patient).await;
        if let Some(response) = finding.response {
            metrics::histogram!(names::TENANT_DATABASE_CHECK_DURATION, "server" => self.server.id.clone())
                .record(response);
        }
        if finding.unreachable
            && let Err(reason) = self.probe().await
        {
            let _ = away.set(reason);
        }
        finding
    }

    async fn record(&self, lease: &mut RoleLease, findings: &[Finding]) -> Result<(), LeaseError> {
        let mut tx = self.store.pool().begin().await?;
        lease.renew(&mut *tx).await?;
        if !findings.is_empty() {
            // Without a prepared statement, because each number of rows would be one of its own.
            insert(findings, &self.server.id).build().persistent(false).execute(&mut *tx).await?;
        }
        sqlx::query(
            "UPDATE saas_health_rounds SET lease_until = UTC_TIMESTAMP(6) + INTERVAL ? SECOND WHERE server_id = ?",
        )
        .bind(LEASE.as_secs())
        .bind(&self.server.id)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}

/// The statement that stores findings, of which there is at least one.
fn insert<'a>(findings: &'a [Finding], server: &'a str) -> QueryBuilder<'a, MySql> {
    let mut insert = QueryBuilder::new(
        "INSERT INTO saas_tenant_health (tenant_id, server_id, status, reason, response_us, checked_at) ",
    );
    insert.push_values(findings, |mut row, finding| {
        row.push_bind(&finding.tenant_id)
            .push_bind(server)
            .push_bind(if finding.reason.is_none() { "healthy" } else { "unhealthy" })
            .push_bind(&finding.reason)
            .push_bind(finding.response.map(|time| u32::try_from(time.as_micros()).unwrap_or(u32::MAX)))
            .push("COALESCE(")
            .push_bind_unseparated(finding.served_at)
            .push_unseparated(", UTC_TIMESTAMP(6))");
    });
    // Of a database that was not logged in to, the last time that a login took stays.
    insert.push(
        " ON DUPLICATE KEY UPDATE server_id = VALUES(server_id), status = VALUES(status), reason = VALUES(reason),
           response_us = IF(VALUES(status) = 'healthy', COALESCE(VALUES(response_us), response_us), NULL),
           checked_at = VALUES(checked_at)",
    );
    insert
}
