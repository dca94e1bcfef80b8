//! A role that one process holds at a time, with one epoch: a row of `saas_leases`.
//!
//! **Guarantees.** A role has one holder: the process that took the lease last, for as long as it renews the lease in
//! time. Each taking raises the epoch. A holder that was paused and wakes up again finds another epoch in the row, so a
//! write that holds the lease in its transaction ([`RoleLease::hold`], [`RoleLease::renew`]) fails with
//! [`LeaseError::Lost`] and changes nothing. The database's clock decides when a lease ends; beside it, the holder
//! counts on its own monotonic clock from the moment it asked, so it stops no later than the database lets another
//! process begin.

use sqlx::{MySqlConnection, MySqlExecutor, MySqlPool};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Longest wait for the database when a process gives its role up.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);
/// Longest name of a role, as the column has it.
const NAME_CHARS: usize = 64;

/// Why a lease could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The lease ran out, and another process may have the role. The former holder must stop.
    #[error("another process has taken over the role {0}")]
    Lost(String),
    /// The system database failed.
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
}

/// A role, and the process that would like to hold it.
#[derive(Clone, Debug)]
pub struct Role {
    name: String,
    owner: String,
    duration: Duration,
}

/// The right to a role, until the lease ends.
#[derive(Clone, Debug)]
pub struct RoleLease {
    role: Role,
    epoch: u32,
    position: u64,
    renewed: Instant,
}

impl Role {
    /// A role of the whole installation. A holder that does not renew its lease for `duration` loses it.
    pub fn new(name: &str, duration: Duration) -> Self {
        debug_assert!(name.len() <= NAME_CHARS && name.is_ascii(), "{name}");
        let owner = format!("{}:{}", std::process::id(), Uuid::new_v4());
        Self { name: name.to_owned(), owner, duration }
    }

    /// A role that there is once for each database server.
    pub fn of_server(what: &str, server: &str, duration: Duration) -> Self {
        Self::new(&format!("{what}:{server}"), duration)
    }

    /// Takes the lease if no other process has it. The row of a new role is made here.
    pub async fn take(&self, pool: &MySqlPool) -> Result<Option<RoleLease>, sqlx::Error> {
        let renewed = Instant::now();
        // Read without a lock first: a holder may have the row locked for the length of a transaction.
        let held: Option<(bool,)> = sqlx::query_as(
            "SELECT (lease_until > UTC_TIMESTAMP(6) AND owner <> ?) <> 0 FROM saas_leases WHERE name = ?",
        )
        .bind(&self.owner)
        .bind(&self.name)
        .fetch_optional(pool)
        .await?;
        match held {
            Some((true,)) => return Ok(None),
            Some((false,)) => {}
            None => self.create(pool).await?,
        }
        let mut tx = pool.begin().await?;
        let row: Option<(u32, u64)> = sqlx::query_as(
            "SELECT epoch, position FROM saas_leases
             WHERE name = ? AND (lease_until <= UTC_TIMESTAMP(6) OR owner = ?) FOR UPDATE",
        )
        .bind(&self.name)
        .bind(&self.owner)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((epoch, position)) = row else { return Ok(None) };
        let lease = RoleLease { role: self.clone(), epoch: epoch + 1, position, renewed };
        sqlx::query(
            "UPDATE saas_leases SET owner = ?, epoch = ?, lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND
             WHERE name = ?",
        )
        .bind(&self.owner)
        .bind(lease.epoch)
        .bind(micros(self.duration))
        .bind(&self.name)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(lease))
    }

    async fn create(&self, pool: &MySqlPool) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO saas_leases (name, owner, epoch, lease_until, position) VALUES (?, '', 0, '2000-01-01', 0)
             ON DUPLICATE KEY UPDATE name = saas_leases.name",
        )
        .bind(&self.name)
        .execute(pool)
        .await
        .map(drop)
    }

    /// Whether another process holds the role now. Of a database that does not answer, no.
    pub async fn is_held_by_another(&self, pool: &MySqlPool) -> bool {
        let holder: Result<(String,), _> =
            sqlx::query_as("SELECT owner FROM saas_leases WHERE name = ? AND lease_until > UTC_TIMESTAMP(6)")
                .bind(&self.name)
                .fetch_one(pool)
                .await;
        holder.is_ok_and(|(holder,)| holder != self.owner)
    }

    /// Gives the role up, if this process has it: another process can take it at once instead of when the lease ends.
    pub async fn release(&self, pool: &MySqlPool) {
        let release = sqlx::query("UPDATE saas_leases SET lease_until = UTC_TIMESTAMP(6) WHERE name = ? AND owner = ?")
            .bind(&self.name)
            .bind(&self.owner)
            .execute(pool);
        let _ = tokio::time::timeout(RELEASE_DEADLINE, release).await;
    }
}

impl RoleLease {
    /// The name of the holder in rows.
    pub fn owner(&self) -> &str {
        &self.role.owner
    }

    /// Which taking of the role this is.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The position that was stored with the role when it was taken, or by this holder since.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How long ago, by this process's own clock, the newest renewal was asked for.
    pub fn age(&self) -> Duration {
        self.renewed.elapsed()
    }

    /// Renews the lease. In a transaction, the lease is also held until the transaction ends, as by
    /// [`RoleLease::hold`]; after a transaction that was rolled back, this value knows of a renewal that did not happen
    /// and must be dropped.
    pub async fn renew(&mut self, executor: impl MySqlExecutor<'_>) -> Result<(), LeaseError> {
        self.write(executor, None).await
    }

    /// Renews the lease and stores `position` with it, in one write.
    pub async fn store_position(&mut self, executor: impl MySqlExecutor<'_>, position: u64) -> Result<(), LeaseError> {
        self.write(executor, Some(position)).await
    }

    async fn write(&mut self, executor: impl MySqlExecutor<'_>, position: Option<u64>) -> Result<(), LeaseError> {
        let asked = Instant::now();
        let renewed = sqlx::query(
            "UPDATE saas_leases SET position = COALESCE(?, position),
                    lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND WHERE name = ? AND epoch = ?",
        )
        .bind(position)
        .bind(micros(self.role.duration))
        .bind(&self.role.name)
        .bind(self.epoch)
        .execute(executor)
        .await?;
        if renewed.rows_affected() == 0 {
            return Err(self.lost());
        }
        (self.position, self.renewed) = (position.unwrap_or(self.position), asked);
        Ok(())
    }

    /// Renews the lease again and again until it is lost; returns why. A renewal that fails is tried again for as long
    /// as the lease lasts by this process's own clock.
    pub async fn keep(&self, pool: &MySqlPool) -> LeaseError {
        let mut lease = self.clone();
        let (every, retry) = (self.role.duration / 5, self.role.duration / 20);
        let mut wait = every;
        loop {
            let rest = lease.role.duration.saturating_sub(lease.age());
            tokio::time::sleep(wait.min(rest)).await;
            let rest = lease.role.duration.saturating_sub(lease.age());
            if rest.is_zero() {
                return lease.lost();
            }
            wait = match tokio::time::timeout(rest, lease.renew(pool)).await {
                Ok(Ok(())) => every,
                Ok(Err(lost @ LeaseError::Lost(_))) => return lost,
                Ok(Err(LeaseError::Database(_))) | Err(_) => retry,
            };
        }
    }

    /// Makes sure that this process has the role until the transaction of `connection` ends: no other can take it
    /// meanwhile.
    pub async fn hold(&self, connection: &mut MySqlConnection) -> Result<(), LeaseError> {
        let held: Option<(u32,)> =
            sqlx::query_as("SELECT epoch FROM saas_leases WHERE name = ? AND epoch = ? FOR UPDATE")
                .bind(&self.role.name)
                .bind(self.epoch)
                .fetch_optional(connection)
                .await?;
        held.map(drop).ok_or_else(|| self.lost())
    }

    /// Ends the lease, in the transaction of the holder's last write if `executor` is one.
    pub async fn end(self, executor: impl MySqlExecutor<'_>) -> Result<(), LeaseError> {
        let ended = sqlx::query("UPDATE saas_leases SET lease_until = UTC_TIMESTAMP(6) WHERE name = ? AND epoch = ?")
            .bind(&self.role.name)
            .bind(self.epoch)
            .execute(executor)
            .await?;
        if ended.rows_affected() == 0 { Err(self.lost()) } else { Ok(()) }
    }

    fn lost(&self) -> LeaseError {
        LeaseError::Lost(self.role.name.clone())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::mysql::MySqlPoolOptions;

    /// A pool of a server that does not exist.
    fn unreachable() -> MySqlPool {
        let pool = MySqlPoolOptions::new().acquire_timeout(Duration::from_millis(20));
        pool.connect_lazy("mysql://nobody@127.0.0.1:9/none").expect("the address is well formed")
    }

    #[test]
    fn the_longest_server_id_fits_a_role() {
        let role = Role::of_server("storage", &"s".repeat(32), Duration::from_secs(1));
        assert!(role.name.len() <= NAME_CHARS);
    }

    #[test]
    fn two_roles_of_a_process_have_different_owners() {
        let roles = [(); 2].map(|()| Role::new("relay", Duration::from_secs(1)));
        assert_ne!(roles[0].owner, roles[1].owner);
    }

    #[tokio::test]
    async fn a_holder_stops_when_its_own_clock_says_so() {
        let duration = Duration::from_millis(300);
        let role = Role::new("relay", duration);
        let lease = RoleLease { role, epoch: 1, position: 0, renewed: Instant::now() };
        let began = Instant::now();
        assert!(matches!(lease.keep(&unreachable()).await, LeaseError::Lost(role) if role == "relay"));
        assert!(began.elapsed() >= duration, "{:?}", began.elapsed());
    }
}
