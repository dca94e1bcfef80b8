//! Databases that jobs have left on a server: the copy of a restore test that was killed, what a tenant has left behind
//! when its former server was away, a creation that ended without its server.
//!
//! **Guarantees.** A database is dropped only if it carries the tenant's ownership marker of this installation, and a
//! job has recorded that it was about to make it and has left it. That is read again under the tenant's lock at the
//! server, which a job that needs the database takes first: a move that brings the tenant back ends the session that is
//! dropping.

use crate::sagas::shared::beside::{REPLACED, RESTORED, TESTED};
use crate::sagas::shared::server_objects::{self, DATABASE, ServerObject};
use crate::sagas::{StepError, Tools};
use crate::server::inventory::Inventory;
use crate::server::{Lock, Marker, Session};
use kernel::audit::{Drift, Finding};
use kernel::domain::{Tenant, TenantId};
use kernel::jobs::{self, JobError, JobKind, Lease};
use std::collections::BTreeSet;

/// The recorded databases of a server: of all tenants, or of one.
#[derive(Default)]
pub struct Recorded {
    all: BTreeSet<String>,
    /// Those that were left.
    left: BTreeSet<String>,
    /// Those whose job has not ended.
    at_work: BTreeSet<String>,
    /// Tenants of which a restore test on this server has not ended. A worker of an older program records no copy.
    tested: BTreeSet<String>,
}

impl Recorded {
    pub async fn read(tools: &Tools, of: Option<&TenantId>) -> Result<Self, JobError> {
        let server = &tools.server.id;
        let one = |column: &str| of.map_or_else(String::new, |_| format!(" AND {column} = ?"));
        let objects = format!(
            "SELECT b.name, b.left_at IS NOT NULL, o.operation_id IS NOT NULL FROM saas_server_objects b
             LEFT JOIN saas_operations o ON o.operation_id = b.operation_id AND o.status IN ('pending', 'running')
             WHERE b.server_id = ? AND b.kind = ?{}",
            one("b.tenant_id")
        );
        let tests = format!(
            "SELECT j.source_tenant_id FROM saas_operations o
             JOIN saas_backup_jobs j ON j.operation_id = o.operation_id
             WHERE o.server_id = ? AND o.kind = ? AND o.status IN ('pending', 'running'){}",
            one("j.source_tenant_id")
        );
        let mut recorded = Self::default();
        // The jobs are read first: if one ends meanwhile, the rest is newer than needed and not older.
        let asking = sqlx::query_scalar(&tests).bind(server).bind(JobKind::RestoreTest.as_str());
        let asking = of.into_iter().fold(asking, |query, id| query.bind(id.as_str()));
        recorded.tested = asking.fetch_all(tools.store.pool()).await?.into_iter().collect();
        let asking = sqlx::query_as(&objects).bind(server).bind(DATABASE);
        let asking = of.into_iter().fold(asking, |query, id| query.bind(id.as_str()));
        let rows: Vec<(String, bool, bool)> = asking.fetch_all(tools.store.pool()).await?;
        for (name, left, at_work) in rows {
            if left {
                recorded.left.insert(name.clone());
            }
            if at_work {
                recorded.at_work.insert(name.clone());
            }
            recorded.all.insert(name);
        }
        Ok(recorded)
    }

    /// Whether a restore test that has not ended uses the database, or may be about to.
    pub fn is_tested(&self, tenant_id: &TenantId, name: &str) -> bool {
        self.at_work.contains(name) || self.tested.contains(tenant_id.as_str())
    }

    /// Whether a job of the tenant, which has none now, has left the database on `server`: the copy of a test that has
    /// ended, a backup that was being loaded, or what a job that ended without the server says that it has left, unless
    /// the tenant is served from it. What a restore has replaced is left only if a job says so: it may be the one place
    /// of some data.
    pub fn is_left(&self, tenant: &Tenant, server: &str, name: &str) -> bool {
        match name.strip_prefix(tenant.database.name.as_str()) {
            Some(TESTED) => true,
            Some(RESTORED) => self.all.contains(name),
            Some(REPLACED) => self.left.contains(name),
            Some("") => self.left.contains(name) && !is_on(tenant, server),
            _ => false,
        }
    }
}

/// Whether the tenant has its database on this server.
fn is_on(tenant: &Tenant, server: &str) -> bool {
    tenant.database.server == server && tenant.has_database()
}

/// Drops the databases of these findings that jobs have left. Returns the findings whose database is gone.
pub async fn drop_databases(
    tools: &Tools,
    lease: &Lease,
    findings: &[Finding],
    seen: &Inventory,
) -> Result<Vec<Finding>, StepError> {
    let mut dropped = Vec::new();
    for finding in findings.iter().filter(|finding| finding.kind == Drift::CopyLeft) {
        let marker = seen.databases.get(&finding.subject).and_then(|database| database.marker.as_ref());
        let Some(marker) = marker else { continue };
        if drop_one(tools, lease, &finding.subject, marker).await? {
            let server = &tools.server.id;
            tracing::warn!(server, database = finding.subject, "dropped a database that a job has left");
            dropped.push(finding.clone());
        }
    }
    Ok(dropped)
}

async fn drop_one(tools: &Tools, lease: &Lease, name: &str, marker: &Marker) -> Result<bool, StepError> {
    let tenant_id = &marker.tenant_id;
    let is_test = name.ends_with(TESTED);
    let lock = match is_test {
        true => Lock::of_restore_test(&tools.installation, tenant_id),
        false => Lock::of_tenant(&tools.installation, tenant_id),
    };
    // A session that holds the lock is at work for the tenant; the next audit looks again.
    let Some(mut session) = Session::open_if_free(&tools.server, &lock).await? else { return Ok(false) };
    let recorded = Recorded::read(tools, Some(tenant_id)).await?;
    let is_left = match tools.store.tenant(tenant_id).await.map_err(JobError::from)? {
        _ if is_test => !recorded.is_tested(tenant_id, name),
        Some(tenant) => recorded.is_left(&tenant, &tools.server.id, name) && !is_busy(tools, tenant_id).await?,
        None => false,
    };
    if is_left {
        session.drop_database(name, marker, false).await?;
        forget(tools, lease, tenant_id, ServerObject::Database(name)).await?;
    }
    session.close().await;
    Ok(is_left)
}

/// Deletes the row of an object that was dropped. The caller still holds the lock under which it was dropped, so the
/// row is not that of an object that another job is about to make.
pub async fn forget(
    tools: &Tools,
    lease: &Lease,
    tenant_id: &TenantId,
    object: ServerObject<'_>,
) -> Result<(), JobError> {
    let mut unit = lease.begin(&tools.store).await?;
    server_objects::forget(&mut unit, tenant_id, &tools.server.id, object).await?;
    unit.commit().await
}

/// Whether the tenant has its database on this server by now, or a job may be bringing it here.
pub async fn is_needed(tools: &Tools, tenant_id: &TenantId) -> Result<bool, JobError> {
    let tenant = tools.store.tenant(tenant_id).await?;
    Ok(is_busy(tools, tenant_id).await? || tenant.is_some_and(|tenant| is_on(&tenant, &tools.server.id)))
}

async fn is_busy(tools: &Tools, tenant_id: &TenantId) -> Result<bool, JobError> {
    let mut connection = tools.store.pool().acquire().await?;
    Ok(jobs::active_operation(&mut connection, tenant_id).await?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(server: &str) -> Tenant {
        let tenant = serde_json::json!({
            "tenant_id": "acme", "tenant_name": "Acme", "tenant_domain": null, "domains": [], "status": 1,
            "state": "active", "plan_type": "basic", "version": 3, "position": 3,
            "database": {"server": server, "host": "h", "port": 3306, "name": "tenant_acme", "max_connections": 20,
                         "schema_version": 1},
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        });
        serde_json::from_value(tenant).unwrap()
    }

    #[test]
    fn only_what_a_job_has_left_or_can_load_again_is_left() {
        let names = ["tenant_acme", "tenant_acme__restore", "tenant_acme__before"].map(String::from);
        let left = |recorded: &Recorded, server: &str| -> Vec<String> {
            let is_left = |name: &&String| recorded.is_left(&tenant(server), "here", name);
            names.iter().filter(is_left).cloned().collect()
        };
        let mut recorded = Recorded { all: names.iter().cloned().collect(), ..Recorded::default() };
        assert_eq!(left(&recorded, "elsewhere"), names[1..2], "the operator may need what no job has left");
        recorded.left.clone_from(&recorded.all);
        assert_eq!(left(&recorded, "elsewhere"), names);
        assert_eq!(left(&recorded, "here"), names[1..], "the tenant is served from its database here");
        assert_eq!(left(&Recorded::default(), "elsewhere"), Vec::<String>::new());
        assert!(!recorded.is_left(&tenant("elsewhere"), "here", "tenant_acme2"));
    }

    #[test]
    fn a_test_of_an_older_worker_is_at_work_too() {
        let (acme, name) = ("acme".parse().unwrap(), "tenant_acme__test");
        assert!(!Recorded::default().is_tested(&acme, name));
        let at_work = Recorded { at_work: [name.to_owned()].into(), ..Recorded::default() };
        let unrecorded = Recorded { tested: ["acme".to_owned()].into(), ..Recorded::default() };
        assert!(at_work.is_tested(&acme, name) && unrecorded.is_tested(&acme, name));
    }
}
