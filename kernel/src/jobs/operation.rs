//! A job as the operator sees it: the *operation* of the admin API.

use super::kind::kinds_that_block_nothing;
use crate::domain::TenantId;
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Serialize;
use sqlx::{MySqlConnection, Row};
use utoipa::ToSchema;
use uuid::Uuid;

/// A job as the admin API shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Operation {
    /// Its id.
    #[schema(format = "uuid")]
    pub operation_id: String,
    /// For which tenant; empty: for a server.
    pub tenant_id: String,
    /// What it does.
    pub kind: String,
    /// `pending`, `running`, `succeeded`, `failed`.
    pub status: String,
    /// Attempts begun.
    pub attempts: u32,
    /// The last error while it runs; why it failed when it has.
    pub error: Option<String>,
    /// Its steps, as far as it got.
    pub steps: Vec<Step>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// One step of an operation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// `running`, `succeeded`, `failed`, `undone`.
    pub status: String,
    /// Begin of its newest attempt.
    pub started_at: DateTime<Utc>,
    /// End of it.
    pub finished_at: Option<DateTime<Utc>>,
}

/// The operation of this id.
pub async fn find(connection: &mut MySqlConnection, operation_id: Uuid) -> Result<Option<Operation>, sqlx::Error> {
    let Some(row) = sqlx::query(
        "SELECT tenant_id, kind, status, attempts, error, created_at, finished_at FROM saas_operations
           WHERE operation_id = ?",
    )
    .bind(operation_id.to_string())
    .fetch_optional(&mut *connection)
    .await?
    else {
        return Ok(None);
    };
    let steps = sqlx::query(
        "SELECT name, status, started_at, finished_at FROM saas_operation_steps
           WHERE operation_id = ? ORDER BY ordinal",
    )
    .bind(operation_id.to_string())
    .fetch_all(connection)
    .await?;
    let steps = steps
        .iter()
        .map(|row| {
            Ok(Step {
                name: row.try_get(0)?,
                status: row.try_get(1)?,
                started_at: row.try_get::<NaiveDateTime, _>(2)?.and_utc(),
                finished_at: row.try_get::<Option<NaiveDateTime>, _>(3)?.map(|time| time.and_utc()),
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(Some(Operation {
        operation_id: operation_id.to_string(),
        tenant_id: row.try_get(0)?,
        kind: row.try_get(1)?,
        status: row.try_get(2)?,
        attempts: row.try_get(3)?,
        error: row.try_get(4)?,
        steps,
        created_at: row.try_get::<NaiveDateTime, _>(5)?.and_utc(),
        finished_at: row.try_get::<Option<NaiveDateTime>, _>(6)?.map(|time| time.and_utc()),
    }))
}

/// The operation that keeps others of the tenant from being requested, if there is one. Jobs of kinds that block
/// nothing do not count.
pub async fn active_operation(
    connection: &mut MySqlConnection,
    tenant: &TenantId,
) -> Result<Option<Uuid>, sqlx::Error> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT operation_id FROM saas_operations
         WHERE tenant_id = ? AND status IN ('pending', 'running') AND NOT FIND_IN_SET(kind, ?) LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(kinds_that_block_nothing())
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(|(id,)| id.parse().ok()))
}

/// Ends a job as failed whose server is given up: no worker can finish or undo it there. A worker that has it loses it.
pub async fn give_up(connection: &mut MySqlConnection, operation_id: Uuid, reason: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE saas_operations SET status = 'failed', error = ?, epoch = epoch + 1, owner = NULL, lease_until = NULL,
                finished_at = UTC_TIMESTAMP(6)
         WHERE operation_id = ? AND status IN ('pending', 'running')",
    )
    .bind(reason)
    .bind(operation_id.to_string())
    .execute(connection)
    .await
    .map(drop)
}
