//! The right to lead the schedules, for a while: the row `scheduler` of `saas_leases`, as the relay has one.

use super::RunError;
use kernel::store::Store;
use sqlx::{MySqlConnection, MySqlPool};
use std::time::Duration;

/// How long a leader that gives no sign of life keeps its role.
const LEASE: Duration = Duration::from_secs(15);
/// How often it gives one.
const SIGN: Duration = Duration::from_secs(3);

/// A term of leadership.
#[derive(Clone)]
pub struct Lead {
    /// Who leads.
    pub owner: String,
    /// Which term this is.
    pub epoch: u32,
}

impl Lead {
    /// Takes the lease if it is free.
    pub async fn begin(store: &Store, owner: &str) -> Result<Option<Self>, sqlx::Error> {
        let mut tx = store.pool().begin().await?;
        let row: Option<(u32,)> = sqlx::query_as(
            "SELECT epoch FROM saas_leases
             WHERE name = 'scheduler' AND (lease_until <= UTC_TIMESTAMP(6) OR owner = ?) FOR UPDATE",
        )
        .bind(owner)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((epoch,)) = row else { return Ok(None) };
        let lead = Self { owner: owner.to_owned(), epoch: epoch + 1 };
        sqlx::query(
            "UPDATE saas_leases SET owner = ?, epoch = ?, lease_until = UTC_TIMESTAMP(6) + INTERVAL ? SECOND
             WHERE name = 'scheduler'",
        )
        .bind(owner)
        .bind(lead.epoch)
        .bind(LEASE.as_secs())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(lead))
    }

    /// Renews the lease until another process has it.
    pub async fn keep(&self, store: &Store) -> RunError {
        loop {
            tokio::time::sleep(SIGN).await;
            let renewed = sqlx::query(
                "UPDATE saas_leases SET lease_until = UTC_TIMESTAMP(6) + INTERVAL ? SECOND
                 WHERE name = 'scheduler' AND epoch = ?",
            )
            .bind(LEASE.as_secs())
            .bind(self.epoch)
            .execute(store.pool())
            .await;
            match renewed {
                Ok(result) if result.rows_affected() > 0 => {}
                Ok(_) => return RunError::Lost,
                Err(error) => return error.into(),
            }
        }
    }

    /// Makes sure that this process leads until the transaction of `connection` ends: nobody can take over meanwhile.
    pub async fn hold(&self, connection: &mut MySqlConnection) -> Result<(), RunError> {
        let held: Option<(u32,)> =
            sqlx::query_as("SELECT epoch FROM saas_leases WHERE name = 'scheduler' AND epoch = ? FOR UPDATE")
                .bind(self.epoch)
                .fetch_optional(connection)
                .await?;
        held.map(drop).ok_or(RunError::Lost)
    }

    /// Lets another process lead at once instead of after the lease.
    pub async fn release(owner: &str, pool: &MySqlPool) {
        let release =
            sqlx::query("UPDATE saas_leases SET lease_until = UTC_TIMESTAMP(6) WHERE name = 'scheduler' AND owner = ?")
                .bind(owner)
                .execute(pool);
        let _ = tokio::time::timeout(Duration::from_secs(2), release).await;
    }
}
