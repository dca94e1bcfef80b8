//! What jobs make on database servers, as the system database knows it: databases, and accounts with their hosts.
//!
//! **Guarantees.** A database or an account is recorded before it is made, and its row is deleted when it is known to
//! be gone. So a purge knows every server that ever had something of the tenant, an audit knows what a killed job has
//! left, and an account is found under the host that it was made with, whatever `TENANT_ACCOUNT_HOST` says today.
//!
//! **Design note.** Tenants from before migration 26 have no rows. The first job of such a tenant asks the server for
//! its accounts and records them. Rows of the tenant's database and of its account in use say that all its accounts on
//! that server are recorded ([`is_complete`]).

use super::credential;
use crate::sagas::{StepError, TenantJob, Tools};
use crate::server::Session;
use crate::server::account::AccountName;
use kernel::domain::{Tenant, TenantId};
use kernel::jobs::{JobError, JobUnit};
use sqlx::QueryBuilder;
use std::collections::BTreeSet;

/// A database or an account on a server.
#[derive(Clone, Copy, Debug)]
pub enum ServerObject<'a> {
    Database(&'a str),
    Account(&'a AccountName),
}

pub const DATABASE: &str = "database";
pub const ACCOUNT: &str = "account";

impl<'a> ServerObject<'a> {
    /// The columns `kind`, `name` and `host`.
    fn columns(self) -> (&'static str, &'a str, &'a str) {
        match self {
            Self::Database(name) => (DATABASE, name, ""),
            Self::Account(AccountName { username, host }) => (ACCOUNT, username, host),
        }
    }
}

/// Records that the job of `unit` is about to make these objects of the tenant on `server`.
pub async fn record(
    unit: &mut JobUnit<'_>,
    tenant_id: &TenantId,
    server: &str,
    objects: &[ServerObject<'_>],
) -> Result<(), JobError> {
    let rows: Vec<_> = objects.iter().map(|object| (tenant_id, *object)).collect();
    record_all(unit, server, &rows).await
}

/// Records objects of several tenants on `server`.
pub async fn record_all(
    unit: &mut JobUnit<'_>,
    server: &str,
    objects: &[(&TenantId, ServerObject<'_>)],
) -> Result<(), JobError> {
    if objects.is_empty() {
        return Ok(());
    }
    let operation_id = unit.lease().operation_id.to_string();
    let mut insert = QueryBuilder::new(
        "INSERT INTO saas_server_objects (tenant_id, server_id, kind, name, host, operation_id, recorded_at) ",
    );
    insert.push_values(objects, |mut row, (tenant_id, object)| {
        let (kind, name, host) = object.columns();
        row.push_bind(tenant_id.as_str()).push_bind(server).push_bind(kind).push_bind(name).push_bind(host);
        row.push_bind(&operation_id).push("UTC_TIMESTAMP(6)");
    });
    insert.push(" ON DUPLICATE KEY UPDATE operation_id = VALUES(operation_id), left_at = NULL");
    insert.build().execute(unit.connection()).await?;
    Ok(())
}

/// Records the objects in a unit of its own.
pub async fn record_now(job: TenantJob<'_>, server: &str, objects: &[ServerObject<'_>]) -> Result<(), JobError> {
    let mut unit = job.begin().await?;
    record(&mut unit, &job.tenant.tenant_id, server, objects).await?;
    unit.commit().await
}

/// Deletes the row of an object that is gone.
pub async fn forget(
    unit: &mut JobUnit<'_>,
    tenant_id: &TenantId,
    server: &str,
    object: ServerObject<'_>,
) -> Result<(), JobError> {
    let (kind, name, host) = object.columns();
    sqlx::query(
        "DELETE FROM saas_server_objects WHERE tenant_id = ? AND server_id = ? AND kind = ? AND name = ? AND host = ?",
    )
    .bind(tenant_id.as_str())
    .bind(server)
    .bind(kind)
    .bind(name)
    .bind(host)
    .execute(unit.connection())
    .await?;
    Ok(())
}

/// Deletes the row of an object that is gone, in a unit of its own.
pub async fn forget_now(job: TenantJob<'_>, server: &str, object: ServerObject<'_>) -> Result<(), JobError> {
    let mut unit = job.begin().await?;
    forget(&mut unit, &job.tenant.tenant_id, server, object).await?;
    unit.commit().await
}

/// Deletes all rows of the tenant on `server`, where nothing of it is left.
pub async fn forget_all(job: TenantJob<'_>, server: &str) -> Result<(), JobError> {
    let mut unit = job.begin().await?;
    sqlx::query("DELETE FROM saas_server_objects WHERE tenant_id = ? AND server_id = ?")
        .bind(job.tenant.tenant_id.as_str())
        .bind(server)
        .execute(unit.connection())
        .await?;
    unit.commit().await
}

/// Records that the tenant has left all that it has on `server`: an audit of that server removes it. It is for jobs
/// after which the tenant needs nothing there: a move past its point of no return, a creation that failed, a purge.
pub async fn leave(unit: &mut JobUnit<'_>, tenant: &Tenant, server: &str) -> Result<(), JobError> {
    let tenant_id = &tenant.tenant_id;
    record(unit, tenant_id, server, &[ServerObject::Database(&tenant.database.name)]).await?;
    sqlx::query("UPDATE saas_server_objects SET left_at = UTC_TIMESTAMP(6) WHERE tenant_id = ? AND server_id = ?")
        .bind(tenant_id.as_str())
        .bind(server)
        .execute(unit.connection())
        .await?;
    Ok(())
}

/// Records that the job of `unit` leaves on `server` what it was about to make there itself: a copy. What the tenant
/// has there from before, such as the data on a lost server that has come back, is the operator's and stays.
pub async fn leave_copy(unit: &mut JobUnit<'_>, tenant: &Tenant, server: &str) -> Result<(), JobError> {
    let operation_id = unit.lease().operation_id.to_string();
    sqlx::query(
        "UPDATE saas_server_objects SET left_at = UTC_TIMESTAMP(6)
         WHERE tenant_id = ? AND server_id = ? AND operation_id = ?",
    )
    .bind(tenant.tenant_id.as_str())
    .bind(server)
    .bind(operation_id)
    .execute(unit.connection())
    .await?;
    Ok(())
}

/// Whether a job has recorded that it was about to make this database.
pub async fn is_recorded(tools: &Tools, tenant_id: &TenantId, server: &str, database: &str) -> Result<bool, JobError> {
    let found: Option<(String,)> = sqlx::query_as(
        "SELECT name FROM saas_server_objects WHERE tenant_id = ? AND server_id = ? AND kind = ? AND name = ?",
    )
    .bind(tenant_id.as_str())
    .bind(server)
    .bind(DATABASE)
    .bind(database)
    .fetch_optional(tools.store.pool())
    .await?;
    Ok(found.is_some())
}

/// Every account of the tenant that `server` may have: those that are recorded, and those that would be made by the
/// present settings.
pub async fn accounts(job: TenantJob<'_>, server: &str, session: &mut Session) -> Result<Vec<AccountName>, StepError> {
    let (tools, tenant) = (job.tools, job.tenant);
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("SELECT kind, name, host FROM saas_server_objects WHERE tenant_id = ? AND server_id = ?")
            .bind(tenant.tenant_id.as_str())
            .bind(server)
            .fetch_all(tools.store.pool())
            .await
            .map_err(JobError::from)?;
    let usernames = job.usernames();
    let in_use = credential::username_of(job).await?;
    let is_complete = is_complete(rows.iter().map(|(kind, name, _)| (kind, name)), &tenant.database.name, &in_use);
    let recorded = rows.into_iter().filter(|(kind, ..)| kind == ACCOUNT);
    let mut found: BTreeSet<_> = recorded.map(|(_, username, host)| AccountName { username, host }).collect();
    if !is_complete {
        let seen = session.accounts_of(&usernames).await?;
        found.extend(seen.unwrap_or_else(|| usernames.iter().map(|username| job.new_name(username)).collect()));
        if tenant.has_database() && tenant.database.server == server {
            let accounts = found.iter().map(ServerObject::Account);
            let objects: Vec<_> = accounts.chain([ServerObject::Database(&tenant.database.name)]).collect();
            record_now(job, server, &objects).await?;
        }
    }
    found.extend(usernames.iter().map(|username| job.new_name(username)));
    Ok(found.into_iter().collect())
}

/// Whether rows of a tenant on a server name its accounts there: its database is among them, and an account of the user
/// in use, if there is one. A row of the database alone may say no more than that a job has left it there.
pub fn is_complete<'r>(rows: impl IntoIterator<Item = (&'r String, &'r String)>, database: &str, in_use: &str) -> bool {
    let (mut has_database, mut has_account) = (false, in_use.is_empty());
    for (kind, name) in rows {
        has_database |= kind == DATABASE && name == database;
        has_account |= kind == ACCOUNT && name == in_use;
    }
    has_database && has_account
}

/// The servers that may have something of the tenant: those where something is recorded, and those that its events
/// name.
pub async fn servers(tools: &Tools, tenant_id: &TenantId) -> Result<BTreeSet<String>, JobError> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT server_id FROM saas_server_objects WHERE tenant_id = ?
         UNION SELECT CONVERT(JSON_UNQUOTE(JSON_EXTRACT(data, '$.server')) USING ascii) FROM saas_events
         WHERE tenant_id = ? AND event_type IN ('tenant.created', 'tenant.database_provisioned',
               'tenant.database_move_requested', 'tenant.database_move_started', 'tenant.database_moved')",
    )
    .bind(tenant_id.as_str())
    .bind(tenant_id.as_str())
    .fetch_all(tools.store.pool())
    .await?;
    Ok(rows.into_iter().map(|(server,)| server).collect())
}

/// The servers on which a job has left this database of the tenant. An account that was left says nothing about a
/// database beside it.
pub async fn left_on(tools: &Tools, tenant_id: &TenantId, database: &str) -> Result<BTreeSet<String>, JobError> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT server_id FROM saas_server_objects
         WHERE tenant_id = ? AND kind = ? AND name = ? AND left_at IS NOT NULL",
    )
    .bind(tenant_id.as_str())
    .bind(DATABASE)
    .bind(database)
    .fetch_all(tools.store.pool())
    .await?;
    Ok(rows.into_iter().map(|(server,)| server).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_known_only_with_the_one_in_use() {
        let known = |rows: &[(&str, &str)], in_use: &str| {
            let rows: Vec<_> = rows.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect();
            is_complete(rows.iter().map(|(kind, name)| (kind, name)), "tenant_acme", in_use)
        };
        let database = (DATABASE, "tenant_acme");
        assert!(known(&[database, (ACCOUNT, "ten_a")], "ten_a"));
        assert!(known(&[database], ""), "no user is in use");
        assert!(!known(&[database], "ten_a"), "a job has left the database, and nothing says who may log in");
        assert!(!known(&[database, (ACCOUNT, "ten_b")], "ten_a"));
        assert!(!known(&[(DATABASE, "tenant_acme__test"), (ACCOUNT, "ten_a")], "ten_a"));
        assert!(!known(&[], ""));
    }
}
