//! How much each tenant's database takes, by the sizes of its files.
//!
//! **Guarantees.** A server is measured by one process at a time and once in each period, however many processes there are.
//! A tenant that uses more than its plan allows is reported (log, metric, admin API) and goes on being served.
//!
//! **Design note.** One look at the server's list of files tells all tenants' sizes; `information_schema.TABLES` would open
//! every table of every tenant, which takes a hundred times as long.

use super::{Dialect, Server, ServerError};
use kernel::error::chain;
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use kernel::store::Store;
use sqlx::{MySql, MySqlConnection, QueryBuilder};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Rows written by one statement.
const BATCH: usize = 500;

/// Longest time for one measurement.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures a server every `period`, until the process stops.
pub async fn keep_measured(server: Arc<Server>, store: Store, period: Duration, shutdown: Shutdown) {
    let mut told = HashSet::new();
    // Looks more often than it measures: another process may have measured, and may be gone.
    let look = (period / 4).clamp(Duration::from_millis(500), Duration::from_secs(60));
    loop {
        match tokio::time::timeout(LIMIT, measure(&server, &store, period)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(server = server.id, cause = %chain(&error), "storage was not measured"),
            Err(_) => tracing::warn!(server = server.id, "storage was not measured in time"),
        }
        if let Err(error) = report(&server, &store, &mut told).await {
            tracing::warn!(server = server.id, cause = %chain(&error), "the use of storage is not known");
        }
        tokio::select! { () = tokio::time::sleep(look) => {}, () = shutdown.requested() => return }
    }
}

/// Why a server was not measured.
#[derive(Debug, thiserror::Error)]
enum MeasureError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("the system database failed")]
    System(#[source] sqlx::Error),
}

async fn measure(server: &Server, store: &Store, period: Duration) -> Result<(), MeasureError> {
    if !take_turn(server, store, period).await.map_err(MeasureError::System)? {
        return Ok(());
    }
    let mut connection = server.connect().await?;
    let dialect = server.learn_dialect(&mut connection).await?;
    let sizes = sizes(&mut connection, dialect).await.map_err(ServerError::from)?;
    record(server, store, &sizes).await.map_err(MeasureError::System)?;
    tracing::debug!(server = server.id, databases = sizes.len(), "storage was measured");
    Ok(())
}

async fn take_turn(server: &Server, store: &Store, period: Duration) -> Result<bool, sqlx::Error> {
    sqlx::query(
        "INSERT INTO saas_storage_measurements (server_id, begun_at) VALUES (?, '2000-01-01')
         ON DUPLICATE KEY UPDATE server_id = saas_storage_measurements.server_id",
    )
    .bind(&server.id)
    .execute(store.pool())
    .await?;
    let taken = sqlx::query(
        "UPDATE saas_storage_measurements SET begun_at = UTC_TIMESTAMP(6)
         WHERE server_id = ? AND begun_at <= UTC_TIMESTAMP(6) - INTERVAL ? SECOND",
    )
    .bind(&server.id)
    .bind(period.as_secs())
    .execute(store.pool())
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Bytes of files by database.
async fn sizes(connection: &mut MySqlConnection, dialect: Dialect) -> Result<HashMap<String, u64>, sqlx::Error> {
    // One list, two names. A name is `database/table`, the database in the file system's spelling: ours have no letter that
    // is spelled otherwise but `-`, `@002d`.
    let list = match dialect {
        Dialect::MariaDb => "information_schema.INNODB_SYS_TABLESPACES",
        Dialect::MySql => "information_schema.INNODB_TABLESPACES",
    };
    let sum = format!(
        "SELECT CAST(SUBSTRING_INDEX(NAME, '/', 1) AS CHAR), CAST(SUM(FILE_SIZE) AS UNSIGNED) FROM {list}
         WHERE NAME LIKE 'ai\\\\_shifu\\\\_tenant\\\\_%' GROUP BY 1"
    );
    let rows: Vec<(String, u64)> = sqlx::query_as(&sum).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(name, bytes)| (name.replace("@002d", "-"), bytes)).collect())
}

/// Keeps what was found for this server's tenants, and forgets the others.
async fn record(server: &Server, store: &Store, sizes: &HashMap<String, u64>) -> Result<(), sqlx::Error> {
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
    sqlx::query("DELETE FROM saas_tenant_storage WHERE server_id = ?").bind(&server.id).execute(&mut *tx).await?;
    for rows in found.chunks(BATCH) {
        let mut insert =
            QueryBuilder::<MySql>::new("INSERT INTO saas_tenant_storage (tenant_id, server_id, bytes, measured_at) ");
        insert.push_values(rows, |mut row, (tenant_id, bytes)| {
            row.push_bind(tenant_id).push_bind(&server.id).push_bind(bytes).push("UTC_TIMESTAMP(6)");
        });
        // A tenant that has been moved here since.
        insert.push(
            " ON DUPLICATE KEY UPDATE server_id = VALUES(server_id), bytes = VALUES(bytes), measured_at = VALUES(measured_at)",
        );
        insert.build().execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// Logs who has come to use too much, once; counts them.
async fn report(server: &Server, store: &Store, told: &mut HashSet<String>) -> Result<(), sqlx::Error> {
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
        if !told.contains(tenant_id) {
            tracing::warn!(tenant_id, bytes, allowed, "a tenant uses more storage than its plan allows");
        }
    }
    *told = over.into_iter().map(|(tenant_id, ..)| tenant_id).collect();
    Ok(())
}
