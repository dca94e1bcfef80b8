//! The saga of the kind `purge`: removes a tenant, and ends with a certificate of what its last check saw.
//!
//! A purge is not given up: it is repeated until every check of the tenant's own server has passed in one attempt. Only
//! a database of which no last backup can be taken ends it, before anything was removed.
//! Other servers that ever held something of the tenant are visited too; the certificate says which of them were seen.
//! Only a tenant that never had data is purged without a server that stays away.

mod databases;
mod drop_database;
mod drop_elsewhere;
mod drop_user;
mod forget;
mod last_backup;
mod verify_absent;

use super::saga::{Outcome, PointOfNoReturn, Saga};
use super::shared::server_objects;
use super::{StepError, TenantJob, Tools};
use kernel::domain::{Command, DeletionCertificate, Tenant};
use kernel::jobs::JobError;
use sqlx::MySqlConnection;
use std::collections::BTreeSet;

pub const SAGA: Saga = Saga {
    point_of_no_return: PointOfNoReturn::AtStart,
    succeed_without_server: Some(|job| Box::pin(without_server(job))),
    outcome: Outcome {
        succeeded: Some(|tools, _, tenant| Box::pin(complete(tools, tenant))),
        cleanup: Some(|connection, tenant| Box::pin(forget_seen(connection, tenant))),
        ..Outcome::NOTHING
    },
    ..Saga::of_tenant(&[
        last_backup::STEP,
        drop_database::STEP,
        drop_user::STEP,
        drop_elsewhere::STEP,
        forget::STEP,
        verify_absent::STEP,
    ])
};

/// The end of the purge of a tenant that never had data, on a server that stays away.
async fn without_server(job: TenantJob<'_>) -> Result<Option<String>, StepError> {
    if job.tenant.database.host.is_some() {
        return Ok(None);
    }
    let server = &job.tools.server.id;
    drop_elsewhere::visit_others(job).await?;
    forget::forget(job).await?;
    let mut unit = job.begin().await?;
    server_objects::leave(&mut unit, job.tenant, server).await?;
    unit.commit().await?;
    Ok(Some(format!("the database {} may be left on {server}", job.database())))
}

/// The rows of servers where nothing is left go with the end of the job. The others say what an audit has to remove.
async fn forget_seen(connection: &mut MySqlConnection, tenant: &Tenant) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM saas_server_objects WHERE tenant_id = ? AND left_at IS NULL")
        .bind(tenant.tenant_id.as_str())
        .execute(connection)
        .await
        .map(drop)
}

/// The certificate says what an attempt has seen in which every step succeeded. `removed_at` is the system database's
/// time after it.
async fn complete(tools: &Tools, tenant: &Tenant) -> Result<Option<Command>, JobError> {
    let (now,): (chrono::NaiveDateTime,) =
        sqlx::query_as("SELECT UTC_TIMESTAMP(6)").fetch_one(tools.store.pool()).await?;
    let [first, second] = tools.usernames(&tenant.tenant_id);
    let database = tenant.database.name.clone();
    let unseen = server_objects::left_on(tools, &tenant.tenant_id, &tenant.database.name).await?;
    let mut seen = server_objects::servers(tools, &tenant.tenant_id).await?;
    seen.insert(tools.server.id.clone());
    seen.retain(|server| !unseen.contains(server));
    let mut checks = Vec::new();
    if !seen.is_empty() {
        checks = vec![
            format!("no database named {database} carries the ownership marker of this tenant"),
            format!("there is no user {first} and no user {second}, hence no grant to them"),
            "neither of them has a session".to_owned(),
            format!("this was seen on the servers {}", list(&seen)),
        ];
    }
    checks.push("no credential of the tenant is stored".to_owned());
    if !unseen.is_empty() {
        checks.push(format!("not seen, because they could not be reached: the servers {}", list(&unseen)));
    }
    let server = tools.server.id.clone();
    let certificate = DeletionCertificate { database, user: first, server, removed_at: now.and_utc(), checks };
    Ok(Some(Command::CompletePurge { certificate }))
}

fn list(servers: &BTreeSet<String>) -> String {
    servers.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
