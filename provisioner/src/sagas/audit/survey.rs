//! The survey of a server: compares all its tenants at once, in a few statements and without any lock. What looks wrong
//! may be a change in progress, so the survey enqueues a job of that tenant, which compares again while no other job of
//! the tenant runs. What belongs to no tenant is reported here; a user of this installation that belongs to no tenant
//! is dropped here.
//!
//! The server is read before the system database: by then the tenant of everything that was seen is recorded.

use super::compare::{self, Ours};
use super::expected::{self, Expected, Hosts};
use super::leftovers::{self, Recorded};
use crate::sagas::shared::beside::{REPLACED, RESTORED, TESTED};
use crate::sagas::shared::server_objects::{self, ServerObject};
use crate::sagas::{StepError, Tools};
use crate::server::account::{self, Account, AccountName};
use crate::server::inventory::{Inventory, Scope};
use crate::server::{Lock, Marker, ServerError, Session};
use kernel::audit::{self, Audit, Drift, Finding, Row};
use kernel::database;
use kernel::domain::TenantId;
use kernel::jobs::{JobError, Lease};
use kernel::process::failpoint;
use std::collections::HashMap;

/// Tenants whose accounts are recorded together.
const ADOPTED: usize = 200;

/// One attempt.
pub async fn act(tools: &Tools, lease: &Lease) -> Result<(), StepError> {
    let audit = audit::of_job(tools.store.pool(), lease.operation_id).await.map_err(JobError::from)?;
    let audit = audit.ok_or(StepError::Unfit("the job belongs to no audit"))?;
    // The lock is the job's own, so two audits do not end each other.
    let mut session = Session::open(&tools.server, &Lock::of_job(&tools.installation, lease.operation_id)).await?;
    database::limit_statements(session.connection(), super::SURVEY_DEADLINE).await.map_err(ServerError::from)?;
    let prefix = account::prefix(&tools.installation);
    let seen = session.inventory(Scope { users: &prefix, database: None }).await?;
    let open = session.open_to_all().await?;
    failpoint::hit("audit.surveyed").await;
    let tenants = expected::all(tools).await.map_err(JobError::from)?;
    let recorded = Recorded::read(tools, None).await?;
    let ours = Ours { installation: &tools.installation, account_host: &tools.account_host, dialect: session.dialect };

    let here = |expected: &&Expected| expected.tenant.database.server == tools.server.id;
    let (busy, quiet): (Vec<_>, Vec<_>) = tenants.iter().filter(here).partition(|expected| expected.busy);
    let mut suspicious = Vec::new();
    for expected in &quiet {
        if !compare::of_tenant(&ours, expected, &seen).is_empty() {
            suspicious.push(&expected.tenant.tenant_id);
        }
        // Comparing a password hash is slow on purpose; other tasks renew their leases meanwhile.
        tokio::task::yield_now().await;
    }
    let mut findings: Vec<Finding> =
        open.into_iter().map(|on| finding(Drift::OpenToAll, on, "to anonymous users, PUBLIC or by a role")).collect();
    if seen.users.is_none() {
        findings.push(finding(
            Drift::ServerUnreadable,
            "mysql.*",
            "users and rights were not compared; grant SELECT on it",
        ));
    }
    findings.extend(orphans(tools, &tenants, &recorded, &seen));
    adopt(tools, lease, &quiet, &seen).await?;
    let mut repaired = Vec::new();
    if audit.repair {
        repaired = drop_users(tools, lease, &mut session, &findings, &tenants).await?;
        repaired.extend(leftovers::drop_databases(tools, lease, &findings, &seen).await?);
    }
    record(tools, lease, &audit, &findings, &repaired, &suspicious, (quiet.len(), busy.len())).await?;
    session.close().await;
    Ok(())
}

/// Records the accounts of tenants from before the records, under the hosts that the server shows, so that a change of
/// `TENANT_ACCOUNT_HOST` is carried out for them too.
async fn adopt(tools: &Tools, lease: &Lease, quiet: &[&Expected], seen: &Inventory) -> Result<(), StepError> {
    let Some(users) = &seen.users else { return Ok(()) };
    let mut accounts: HashMap<&str, Vec<AccountName>> = HashMap::new();
    for user in users {
        let name = AccountName { username: user.username.clone(), host: user.host.clone() };
        accounts.entry(user.username.as_str()).or_default().push(name);
    }
    let is_old = |expected: &&&Expected| {
        matches!(expected.hosts, Hosts::Unrecorded) && expected.tenant.has_database() && !expected.in_use.is_empty()
    };
    let old: Vec<_> = quiet.iter().filter(is_old).collect();
    for some in old.chunks(ADOPTED) {
        let mut objects = Vec::new();
        for expected in some {
            let tenant = &expected.tenant;
            objects.push((&tenant.tenant_id, ServerObject::Database(&tenant.database.name)));
            let named = expected.usernames.iter().filter_map(|username| accounts.get(username.as_str()));
            objects.extend(named.flatten().map(|name| (&tenant.tenant_id, ServerObject::Account(name))));
        }
        let mut unit = lease.begin(&tools.store).await?;
        server_objects::record_all(&mut unit, &tools.server.id, &objects).await?;
        unit.commit().await?;
    }
    Ok(())
}

/// Databases and users of this installation that no tenant should have on this server.
fn orphans(tools: &Tools, tenants: &[Expected], recorded: &Recorded, seen: &Inventory) -> Vec<Finding> {
    let by_id: HashMap<&str, &Expected> =
        tenants.iter().map(|expected| (expected.tenant.tenant_id.as_str(), expected)).collect();
    let by_user: HashMap<&str, &Expected> = tenants
        .iter()
        .flat_map(|expected| expected.usernames.iter().map(move |username| (username.as_str(), expected)))
        .collect();
    let is_elsewhere = |expected: &Expected| expected.tenant.database.server != tools.server.id && !expected.busy;
    let mut found = Vec::new();
    for (name, database) in &seen.databases {
        let Some(Marker { tenant_id, installation, .. }) = &database.marker else { continue };
        if *installation != tools.installation {
            continue;
        }
        match by_id.get(tenant_id.as_str()) {
            None => found.push(finding(Drift::DatabaseOrphan, name, format!("there is no tenant {tenant_id}"))),
            Some(expected) if is_in_work(expected, recorded, name) => {}
            Some(expected) if !expected.busy && recorded.is_left(&expected.tenant, &tools.server.id, name) => {
                let detail = format!("a job of {tenant_id} has left it");
                found.push(finding(Drift::CopyLeft, name, detail));
            }
            Some(expected) if expected.tenant.database.name != *name => {
                found.push(finding(Drift::DatabaseOrphan, name, format!("its ownership marker names {tenant_id}")));
            }
            Some(expected) if is_elsewhere(expected) => {
                let detail = format!("{tenant_id} is on {}", expected.tenant.database.server);
                found.push(finding(Drift::DatabaseOrphan, name, detail));
            }
            Some(_) => {}
        }
    }
    for user in seen.users.iter().flatten() {
        match by_user.get(user.username.as_str()) {
            None => found.push(finding(Drift::UserOrphan, compare::subject(user), "no tenant has users of this name")),
            Some(expected) if is_elsewhere(expected) => {
                let detail = format!("{} is on {}", expected.tenant.tenant_id, expected.tenant.database.server);
                found.push(finding(Drift::UserLeft, compare::subject(user), detail));
            }
            Some(_) => {}
        }
    }
    found
}

/// Whether a running restore or a restore test needs the database.
fn is_in_work(expected: &Expected, recorded: &Recorded, name: &str) -> bool {
    match name.strip_prefix(expected.tenant.database.name.as_str()) {
        Some(RESTORED | REPLACED) => expected.busy,
        Some(TESTED) => recorded.is_tested(&expected.tenant.tenant_id, name),
        _ => false,
    }
}

/// Drops the users that belong to no tenant, and those of tenants that are on another server now, which remain on a
/// lost server that has come back. The log and the findings report it, because it is part of no tenant's history.
async fn drop_users(
    tools: &Tools,
    lease: &Lease,
    session: &mut Session,
    findings: &[Finding],
    tenants: &[Expected],
) -> Result<Vec<Finding>, StepError> {
    let mut dropped = Vec::new();
    for finding in findings.iter().filter(|finding| matches!(finding.kind, Drift::UserOrphan | Drift::UserLeft)) {
        let Some((username, host)) = finding.subject.split_once('@') else { continue };
        let owner = tenants.iter().find(|expected| expected.usernames.iter().any(|name| name == username));
        let account = Account { username, host, database: "", max_connections: 0 };
        match owner {
            None => account.remove(session).await?,
            Some(owner) if remove_left(tools, lease, &owner.tenant.tenant_id, &account).await? => {}
            Some(_) => continue,
        }
        tracing::warn!(
            server = tools.server.id,
            user = finding.subject,
            "dropped a database user of this installation that no tenant has on this server"
        );
        dropped.push(finding.clone());
    }
    Ok(dropped)
}

/// Removes an account of a tenant that is on another server, under the tenant's lock here. `false`: the tenant is being
/// worked for, or is here by now.
async fn remove_left(
    tools: &Tools,
    lease: &Lease,
    tenant_id: &TenantId,
    account: &Account<'_>,
) -> Result<bool, StepError> {
    let lock = Lock::of_tenant(&tools.installation, tenant_id);
    let Some(mut session) = Session::open_if_free(&tools.server, &lock).await? else { return Ok(false) };
    let is_left = !leftovers::is_needed(tools, tenant_id).await?;
    if is_left {
        account.remove(&mut session).await?;
        let name = AccountName { username: account.username.to_owned(), host: account.host.to_owned() };
        leftovers::forget(tools, lease, tenant_id, ServerObject::Account(&name)).await?;
    }
    session.close().await;
    Ok(is_left)
}

async fn record(
    tools: &Tools,
    lease: &Lease,
    audit: &Audit,
    findings: &[Finding],
    repaired: &[Finding],
    suspicious: &[&TenantId],
    (compared, passed_over): (usize, usize),
) -> Result<(), StepError> {
    let row = Row { audit_id: &audit.audit_id, server: &tools.server.id, tenant: "" };
    let write = async {
        let mut unit = lease.begin(&tools.store).await?;
        audit::store(&mut unit, row, findings).await?;
        for finding in repaired {
            audit::repaired(&mut unit, row, finding).await?;
        }
        for tenant_id in suspicious {
            audit::enqueue(unit.connection(), &audit.audit_id, &tools.server.id, Some(tenant_id)).await?;
        }
        audit::record_compared(&mut unit, compared, passed_over).await?;
        // In the transaction of its jobs, so that no second survey enqueues them again after a kill.
        unit.finish(&[], None).await?;
        unit.commit().await
    };
    let written: Result<(), JobError> = write.await;
    Ok(written?)
}

fn finding(kind: Drift, subject: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding { kind, subject: subject.into(), detail: detail.into() }
}
