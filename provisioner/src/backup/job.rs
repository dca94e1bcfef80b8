//! The rows of `saas_backup_jobs`: which backup a job takes, tests or restores.

use super::store::Subject;
use kernel::domain::RestoredFrom;
use kernel::jobs::{JobUnit, Lease};
use sqlx::{MySqlConnection, MySqlPool};
use uuid::Uuid;

/// The row of one job.
#[derive(Clone, Debug)]
pub struct BackupJob {
    /// Whose data the job backs up or restores.
    pub subject: Subject,
    /// The backup to restore. `None` for a new backup, or for the newest one.
    pub backup_id: Option<String>,
    /// The tenant was put into maintenance for this job, which ends it.
    pub ends_maintenance: bool,
    /// The new tenant gets the members of the original one.
    pub members: bool,
    /// The backup whose data is in place. It is set at the point of no return.
    pub restored: Option<RestoredFrom>,
}

type Row = (String, Option<String>, bool, bool, Option<String>);

impl BackupJob {
    /// Stores the row of the job `operation_id`, in the transaction that enqueues the job.
    pub async fn insert(&self, connection: &mut MySqlConnection, operation_id: Uuid) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO saas_backup_jobs (operation_id, source_tenant_id, backup_id, ends_maintenance, with_members)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(operation_id.to_string())
        .bind(self.subject.column())
        .bind(&self.backup_id)
        .bind(self.ends_maintenance)
        .bind(self.members)
        .execute(connection)
        .await
        .map(drop)
    }

    /// Reads the row of the job under `lease`.
    pub async fn read(pool: &MySqlPool, lease: &Lease) -> Result<Option<Self>, sqlx::Error> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT source_tenant_id, backup_id, ends_maintenance <> 0, with_members <> 0, restored
             FROM saas_backup_jobs WHERE operation_id = ?",
        )
        .bind(lease.operation_id.to_string())
        .fetch_optional(pool)
        .await?;
        let Some((subject, backup_id, ends_maintenance, members, restored)) = row else { return Ok(None) };
        let unreadable = |what| sqlx::Error::Decode(format!("the {what} of a job cannot be read").into());
        let restored = restored.map(|json| serde_json::from_str(&json)).transpose();
        Ok(Some(Self {
            subject: Subject::from_column(&subject).ok_or_else(|| unreadable("subject"))?,
            backup_id,
            ends_maintenance,
            members,
            restored: restored.map_err(|_| unreadable("outcome"))?,
        }))
    }

    /// Records the point of no return: the data of `restored` is in place.
    pub async fn settle(unit: &mut JobUnit<'_>, restored: &RestoredFrom) -> Result<(), sqlx::Error> {
        let operation_id = unit.lease().operation_id;
        let json = serde_json::to_string(restored).map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query("UPDATE saas_backup_jobs SET restored = ? WHERE operation_id = ?")
            .bind(json)
            .bind(operation_id.to_string())
            .execute(unit.connection())
            .await
            .map(drop)
    }
}
