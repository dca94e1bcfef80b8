//! Databases that jobs have left on a server: the copy of a restore test that was killed, what a tenant has left behind
//! when its former server was away, a creation that ended without its server.
//!
//! **Guarantees.** A database is dropped only if it carries the tenant's ownership marker of this installation, and a
//! job has recorded that it was about to make it and has left it. That is read again under the tenant's lock at the
//! server, which a job that needs the database takes first: a move that brings the tenant back ends the session that is
//! dropping.

use super::expected::Expected;
use crate::sagas::shared::server_objects::{self, ACCOUNT, DATABASE};
use crate::sagas::{StepError, Tools};
use crate::server::inventory::Inventory;
use crate::server::{Lock, Marker, Session};
use kernel::audit::{Drift, Finding};
use kernel::domain::TenantId;
use kernel::jobs::{self, JobError, JobUnit};
use std::collections::{BTreeMap, BTreeSet};

/// What a restore test appends to the name of the tenant's database.
pub const TEST: &str = "__test";

/// The recorded databases of the server.
pub struct Recorded {
    /// Those that were left.
    left: BTreeSet<String>,
    /// Those whose job has not ended.
    at_work: BTreeMap<String, String>,
}

impl Recorded {
    pub async fn read(tools: &Tools) -> Result<Self, JobError> {
        let rows: Vec<(String, bool, Option<String>)> = sqlx::query_as(
            "SELECT b.name, b.left_at IS NOT NULL, o.operation_id FROM saas_server_objects b
             LEFT JOIN saas_operations o ON o.operation_id = b.operation_id AND o.status IN ('pending', 'running')
             WHERE b.server_id = ? AND b.kind = ?",
        )
        .bind(&tools.server.id)
        .bind(DATABASE)
        .fetch_all(tools.store.pool())
        .await?;
        let mut recorded = Self { left: BTreeSet::new(), at_work: BTreeMap::new() };
        for (name, left, operation_id) in rows {
            if left {
                recorded.left.insert(name.clone());
            }
            if let Some(operation_id) = operation_id {
                recorded.at_work.insert(name, operation_id);
            }
        }
        Ok(recorded)
    }

    /// Whether a restore test that has not ended uses the database.
    pub fn is_tested(&self, name: &str) -> bool {
        self.at_work.contains_key(name)
    }

    /// Whether a job has left the database: the copy of a test that has ended, or the tenant's database on a server
    /// where the tenant is not.
    pub fn is_left(&self, expected: &Expected, name: &str) -> bool {
        let beside = name.strip_prefix(expected.tenant.database.name.as_str());
        beside == Some(TEST) || (beside == Some("") && self.left.contains(name))
    }
}

/// Drops the databases of these findings that jobs have left. Returns the findings whose database is gone.
pub async fn drop_databases(tools: &Tools, findings: &[Finding], seen: &Inventory) -> Result<Vec<Finding>, StepError> {
    let mut dropped = Vec::new();
    for finding in findings.iter().filter(|finding| finding.kind == Drift::CopyLeft) {
        let marker = seen.databases.get(&finding.subject).and_then(|database| database.marker.as_ref());
        let Some(marker) = marker else { continue };
        if drop_one(tools, &finding.subject, marker).await? {
            let server = &tools.server.id;
            tracing::warn!(server, database = finding.subject, "dropped a database that a job has left");
            dropped.push(finding.clone());
        }
    }
    Ok(dropped)
}

async fn drop_one(tools: &Tools, name: &str, marker: &Marker) -> Result<bool, StepError> {
    let tenant_id = &marker.tenant_id;
    let lock = match name.ends_with(TEST) {
        true => Lock::of_restore_test(&tools.installation, tenant_id),
        false => Lock::of_tenant(&tools.installation, tenant_id),
    };
    // A session that holds the lock is at work for the tenant; the next audit looks again.
    let Some(mut session) = Session::open_if_free(&tools.server, &lock).await? else { return Ok(false) };
    let is_left = match name.ends_with(TEST) {
        true => !Recorded::read(tools).await?.is_tested(name),
        false => {
            let left = server_objects::left_on(tools, tenant_id).await?.contains(&tools.server.id);
            left && !is_needed(tools, tenant_id).await?
        }
    };
    if is_left {
        session.drop_database(name, marker, false).await?;
    }
    session.close().await;
    Ok(is_left)
}

/// Whether the tenant has its database on this server by now, or a job may be bringing it here.
pub async fn is_needed(tools: &Tools, tenant_id: &TenantId) -> Result<bool, JobError> {
    let mut connection = tools.store.pool().acquire().await?;
    if jobs::active_operation(&mut connection, tenant_id).await?.is_some() {
        return Ok(true);
    }
    let tenant = tools.store.tenant(tenant_id).await?;
    Ok(tenant.is_some_and(|tenant| tenant.database.server == tools.server.id && tenant.has_database()))
}

/// Deletes the rows of databases and accounts that were dropped.
pub async fn forget(unit: &mut JobUnit<'_>, server: &str, dropped: &[Finding]) -> Result<(), JobError> {
    for finding in dropped.iter().filter(|finding| finding.kind == Drift::CopyLeft) {
        sqlx::query("DELETE FROM saas_server_objects WHERE server_id = ? AND kind = ? AND name = ?")
            .bind(server)
            .bind(DATABASE)
            .bind(&finding.subject)
            .execute(unit.connection())
            .await?;
    }
    for finding in dropped.iter().filter(|finding| finding.kind == Drift::UserLeft) {
        let Some((username, host)) = finding.subject.split_once('@') else { continue };
        sqlx::query("DELETE FROM saas_server_objects WHERE server_id = ? AND kind = ? AND name = ? AND host = ?")
            .bind(server)
            .bind(ACCOUNT)
            .bind(username)
            .bind(host)
            .execute(unit.connection())
            .await?;
    }
    Ok(())
}
