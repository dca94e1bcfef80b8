//! How much each tenant's database takes, by the sizes of its files.
//!
//! **Guarantees.** A server is measured by one process at a time and once in each period, however many processes there
//! are: the process that measures holds the lease `storage:SERVER`, also when it records. A tenant that uses more than
//! its plan allows is reported (log, metric, admin API) and continues to be served.
//!
//! **Design note.** The server's list of files gives the sizes of all tenants at once. `information_schema.TABLES`
//! would open every table of every tenant, which takes a hundred times as long.

use super::{Dialect, Server, ServerError};
use kernel::database;
use kernel::error::chain;
use kernel::lease::{LeaseError, Role, RoleLease};
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use kernel::store::Store;
use sqlx::{MySql, QueryBuilder};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Rows written by one statement.
const BATCH: usize = 500;

/// Longest time for one measurement.
const LIMIT: Duration = Duration::from_secs(60);
/// A process that was killed while it measured keeps the others from measuring for so long.
const LEASE: Duration = Duration::from_secs(15);

/// Measures a server every `period`, until the process stops.
pub async fn keep_measured(server: Arc<Server>, store: Store, period: Duration, shutdown: Shutdown) {
    let mut reported = HashSet::new();
    let role = Role::of_server("storage", &server.id, LEASE);
    // Polls more often than it measures: another process may have measured, and may be gone.
    let poll = (period / 4).clamp(Duration::from_millis(500), Duration::from_secs(60));
    loop {
        let measured = tokio::select! {
            measured = tokio::time::timeout(LIMIT, measure(&role, &server, &store, period)) => measured,
            () = shutdown.requested() => return role.release(store.pool()).await,
        };
        match &measured {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(server = server.id, cause = %chain(error), "storage was not measured"),
            Err(_) => tracing::warn!(server = server.id, "storage was not measured in time"),
        }
        if !matches!(measured, Ok(Ok(()))) {
            role.release(store.pool()).await;
        }
        if let Err(error) = report(&server, &store, &mut reported).await {
            tracing::warn!(server = server.id, cause = %chain(&error), "the use of storage is not known");
        }
        tokio::select! { () = tokio::time::sleep(poll) => {}, () = shutdown.requested() => return }
    }
}

/// Why a server was not measured.
#[derive(Debug, thiserror::Error)]
enum MeasureError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

async fn measure(role: &Role, server: &Server, store: &Store, period: Duration) -> Result<(), MeasureError> {
    let Some(lease) = begin(role, server, store, period).await? else { return Ok(()) };
    let sizes = tokio::select! {
        sizes = sizes(server) => sizes?,
        lost = lease.keep(store.pool()) => return Err(lost.into()),
    };
    record(lease, server, store, &sizes).await?;
    tracing::debug!(server = server.id, databases = sizes.len(), "storage was measured");
    Ok(())
}

/// Begins a measurement, if one is due and no other process is measuring.
async fn begin(role: &Role, server: &Server, store: &Store, period: Duration) -> Result<Option<RoleLease>, LeaseError> {
    sqlx::query(
        "INSERT INTO saas_storage_measurements (server_id, begun_at) VALUES (?, '2000-01-01')
         ON DUPLICATE KEY UPDATE server_id = saas_storage_measurements.server_id",
    )
    .bind(&server.id)
    .execute(store.pool())
    .await?;
    let (due,): (bool,) = sqlx::query_as(
        "SELECT (begun_at <= UTC_TIMESTAMP(6) - INTERVAL ? SECOND) <> 0 FROM saas_storage_measurements
           WHERE server_id = ?",
    )
    .bind(period.as_secs())
    .bind(&server.id)
    .fetch_one(store.pool())
    .await?;
    if !due {
        return Ok(None);
    }
    let Some(lease) = role.take(store.pool()).await? else { return Ok(None) };
    let mut tx = store.pool().begin().await?;
    lease.hold(&mut tx).await?;
    let begun = sqlx::query(
        "UPDATE saas_storage_measurements SET begun_at = UTC_TIMESTAMP(6)
         WHERE server_id = ? AND begun_at <= UTC_TIMESTAMP(6) - INTERVAL ? SECOND",
    )
    .bind(&server.id)
    .bind(period.as_secs())
    .execute(&mut *tx)
    .await?;
    if begun.rows_affected() == 1 {
        tx.commit().await?;
        return Ok(Some(lease));
    }
    lease.end(&mut *tx).await?;
    tx.commit().await?;
    Ok(None)
}

/// Bytes of files by database.
async fn sizes(server: &Server) -> Result<HashMap<String, u64>, ServerError> {
    let mut connection = server.connect().await?;
    database::limit_statements(&mut connection, LIMIT).await?;
    let dialect = server.learn_dialect(&mut connection).await?;
    // One list, two names. A name is `database/table`, the database in the file system's spelling: ours have no letter
    // that is spelled otherwise but `-`, `@002d`.
    let list = match dialect {
        Dialect::MariaDb => "information_schema.INNODB_SYS_TABLESPACES",
        Dialect::MySql => "information_schema.INNODB_TABLESPACES",
    };
    let sum = format!(
        "SELECT CAST(SUBSTRING_INDEX(NAME, '/', 1) AS CHAR), CAST(SUM(FILE_SIZE) AS UNSIGNED) FROM {list}
         WHERE NAME LIKE 'ai\\\\_shifu\\\\_tenant\\\\_%' GROUP BY 1"
    );
    let rows: Vec<(String, u64)> = sqlx::query_as(&sum).fetch_all(&mut connection).await?;
    Ok(rows.into_iter().map(|(name, bytes)| (name.replace("@002d", "-"), bytes)).collect())
}

/// Stores the sizes of this server's tenants in place of the former ones, and ends the lease.
async fn record(
    lease: RoleLease,
    server: &Server,
    store: &Store,
    sizes: &HashMap<String, u64>,
) -> Result<(), LeaseError> {
    let tenants: Vec<(String, String)> = sqlx::query_as(
        "SELECT s.tenant_id, d.db_name FROM saas_tenant_snapshots s
         JOIN saas_tenant_databases d ON d.tenant_id = s.tenant_id WHERE s.server_id = ?",
    )
    .bind(&server.id)
    .fetch_all(store.pool())
    .await?;
    let found: Vec<(String, u64)> =
        tenants.into_iter().filter_map(|(id, name)| Some((id, *sizes.get(&name)?))).collect();
    let mut tx = store.pool().begin().await?;
    lease.hold(&mut tx).await?;
    sqlx::query("DELETE FROM saas_tenant_storage WHERE server_id = ?").bind(&server.id).execute(&mut *tx).await?;
    for rows in found.chunks(BATCH) {
        let mut insert =
            QueryBuilder::<MySql>::new("INSERT INTO saas_tenant_storage (tenant_id, server_id, bytes, measured_at) ");
        insert.push_values(rows, |mut row, (tenant_id, bytes)| {
            row.push_bind(tenant_id).push_bind(&server.id).push_bind(bytes).push("UTC_TIMESTAMP(6)");
        });
        // A tenant that has been moved here since the last measurement has a row of its former server.
        insert.push(
            " ON DUPLICATE KEY UPDATE server_id = VALUES(server_id), bytes = VALUES(bytes),
               measured_at = VALUES(measured_at)",
        );
        insert.build().execute(&mut *tx).await?;
    }
    lease.end(&mut *tx).await?;
    Ok(tx.commit().await?)
}

/// Logs each tenant once that has come to use more than its plan allows, and sets the gauge that counts them.
async fn report(server: &Server, store: &Store, reported: &mut HashSet<String>) -> Result<(), sqlx::Error> {
    let over: Vec<(String, u64, u64)> = sqlx::query_as(
        "SELECT u.tenant_id, u.bytes, p.storage_bytes FROM saas_tenant_storage u
         JOIN saas_tenant_snapshots s ON s.tenant_id = u.tenant_id JOIN saas_plans p ON p.plan_type = s.plan_type
         WHERE u.server_id = ? AND u.bytes > p.storage_bytes",
    )
    .bind(&server.id)
    .fetch_all(store.pool())
    .await?;
    metrics::gauge!(names::TENANTS_OVER_STORAGE, "server" => server.id.clone()).set(over.len() as f64);
    for (tenant_id, bytes, allowed) in &over {
        if !reported.contains(tenant_id) {
            tracing::warn!(tenant_id, bytes, allowed, "a tenant uses more storage than its plan allows");
        }
    }
    *reported = over.into_iter().map(|(tenant_id, ..)| tenant_id).collect();
    Ok(())
}
