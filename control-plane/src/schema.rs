//! Which tenants have the newest schema, and which do not have it yet.

use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::database::migrate::tenant_schema;
use serde::Serialize;
use sqlx::{FromRow, MySqlConnection};
use utoipa::ToSchema;

/// Whether the tenant of a snapshot `s` has a database with a schema older than the one that is bound.
pub const BEHIND: &str = "s.has_database = 1 AND s.schema_version < ?";

/// Most failures that are shown.
const SHOWN: u32 = 100;

/// The progress of schema migrations.
#[derive(Serialize, ToSchema)]
#[schema(as = TenantSchemas)]
pub struct Report {
    /// The newest tenant migration of this control plane, which tenants are brought to.
    schema_version: u32,
    /// Tenants that have a database.
    tenants: i64,
    /// Tenants with a database of an older schema.
    behind: i64,
    /// Migration jobs that have not ended.
    migrating: i64,
    /// Tenants that are behind because their newest migration failed, the first hundred.
    failed: Vec<Failure>,
}

/// A tenant that could not be brought to the newest schema. Nodes serve it all the same.
#[derive(Serialize, ToSchema)]
#[schema(as = FailedMigration)]
struct Failure {
    tenant_id: String,
    /// The schema of its database.
    schema_version: u32,
    operation_id: String,
    error: Option<String>,
    finished_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Failed {
    tenant_id: String,
    schema_version: u32,
    operation_id: String,
    error: Option<String>,
    finished_at: NaiveDateTime,
}

/// How many tenants have a database, and how many of them are behind.
pub async fn count(connection: &mut MySqlConnection) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(&format!(
        "SELECT CAST(COALESCE(SUM(s.has_database), 0) AS SIGNED),
                CAST(COALESCE(SUM({BEHIND}), 0) AS SIGNED) FROM saas_tenant_snapshots s"
    ))
    .bind(tenant_schema())
    .fetch_one(connection)
    .await
}

/// The progress of schema migrations.
pub async fn report(connection: &mut MySqlConnection) -> Result<Report, sqlx::Error> {
    let (tenants, behind) = count(connection).await?;
    let (migrating,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM saas_operations WHERE kind = 'migrate' AND status IN ('pending', 'running')",
    )
    .fetch_one(&mut *connection)
    .await?;
    let failed: Vec<Failed> = sqlx::query_as(&format!(
        "SELECT s.tenant_id, s.schema_version,
                o.operation_id, o.error, o.finished_at
         FROM saas_tenant_snapshots s
         JOIN saas_operations o ON o.tenant_id = s.tenant_id AND o.kind = 'migrate' AND o.status = 'failed'
         WHERE {BEHIND} AND NOT EXISTS (SELECT 1 FROM saas_operations n
             WHERE n.tenant_id = o.tenant_id AND n.kind = 'migrate' AND n.operation_id > o.operation_id)
         ORDER BY s.tenant_id LIMIT {SHOWN}"
    ))
    .bind(tenant_schema())
    .fetch_all(connection)
    .await?;
    let failed = failed.into_iter().map(|row| Failure {
        tenant_id: row.tenant_id,
        schema_version: row.schema_version,
        operation_id: row.operation_id,
        error: row.error,
        finished_at: row.finished_at.and_utc(),
    });
    Ok(Report { schema_version: tenant_schema(), tenants, behind, migrating, failed: failed.collect() })
}
