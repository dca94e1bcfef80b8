//! The relay: publishes the event log to RabbitMQ, in position order, at least once.
//!
//! **Guarantees.** The event table is the outbox: an event that was committed is published, however often this process is
//! killed in between. The cursor is the highest position up to which the broker has confirmed everything, so a crash
//! repeats at most one batch and skips nothing. One relay works at a time: it holds a lease with an epoch, and a relay
//! that was stopped meanwhile cannot move the cursor. A message the broker has no queue for is an error: it means that the
//! topology is broken, and going on would lose events.

use kernel::broker::{PublishError, Publisher, Topology};
use kernel::domain::Position;
use kernel::process::health::{Health, Part};
use kernel::process::retry::Waits;
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::{names, traces};
use kernel::store::Store;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a relay that gives no sign of life keeps its role.
const LEASE: Duration = Duration::from_secs(15);
/// Before the lease ends, by this process's own clock, so much is left for an answer to arrive.
const MARGIN: Duration = Duration::from_secs(5);
/// Most events in flight.
const WINDOW: u32 = 256;
/// Without a bell, look this often.
const POLL: Duration = Duration::from_millis(500);

/// Relays until the process stops. `doorbell` is rung by other processes that append.
pub async fn run(
    store: Store,
    amqp: SecretString,
    topology: Topology,
    doorbell: Arc<Notify>,
    health: Health,
    shutdown: Shutdown,
) {
    let owner = format!("{}:{}", std::process::id(), uuid::Uuid::new_v4());
    let mut waits = Waits::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let term = async {
            match Term::begin(&store, &owner).await? {
                Some(term) => {
                    tracing::info!(epoch = term.epoch, position = term.cursor.0, "this process relays events");
                    term.relay(&store, &amqp, &topology, &doorbell, &health).await
                }
                None => Ok(()),
            }
        };
        let ended = tokio::select! { ended = term => ended, () = shutdown.requested() => break };
        match ended {
            Ok(()) => waits.reset(),
            Err(error) => {
                let told = Part::Degraded(kernel::error::chain(&error));
                health.tell("relay", told);
            }
        }
        let pause = if waits_for_another(&store, &owner).await { Duration::from_secs(2) } else { waits.next_wait() };
        tokio::select! { () = tokio::time::sleep(pause) => {}, () = shutdown.requested() => break }
    }
    // Lets another process go on at once instead of after the lease.
    let release =
        sqlx::query("UPDATE saas_leases SET lease_until = UTC_TIMESTAMP(6) WHERE name = 'relay' AND owner = ?")
            .bind(&owner)
            .execute(store.pool());
    let _ = tokio::time::timeout(Duration::from_secs(2), release).await;
}

async fn waits_for_another(store: &Store, owner: &str) -> bool {
    let holder: Result<(String,), _> =
        sqlx::query_as("SELECT owner FROM saas_leases WHERE name = 'relay' AND lease_until > UTC_TIMESTAMP(6)")
            .fetch_one(store.pool())
            .await;
    holder.is_ok_and(|(holder,)| holder != owner)
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Broker(#[from] kernel::broker::BrokerError),
    #[error("another process has taken over the relay")]
    Lost,
}

/// The right to relay, for a while.
struct Term {
    epoch: u32,
    cursor: Position,
    renewed: Instant,
}

impl Term {
    /// Takes the lease if it is free.
    async fn begin(store: &Store, owner: &str) -> Result<Option<Self>, RelayError> {
        let renewed = Instant::now();
        let mut tx = store.pool().begin().await?;
        let row: Option<(u32, u64)> = sqlx::query_as(
            "SELECT epoch, position FROM saas_leases
             WHERE name = 'relay' AND (lease_until <= UTC_TIMESTAMP(6) OR owner = ?) FOR UPDATE",
        )
        .bind(owner)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((epoch, position)) = row else { return Ok(None) };
        sqlx::query(
            "UPDATE saas_leases SET owner = ?, epoch = ?, lease_until = UTC_TIMESTAMP(6) + INTERVAL ? SECOND
             WHERE name = 'relay'",
        )
        .bind(owner)
        .bind(epoch + 1)
        .bind(LEASE.as_secs())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(Self { epoch: epoch + 1, cursor: Position(position), renewed }))
    }

    /// Publishes whatever comes, until something fails.
    async fn relay(
        mut self,
        store: &Store,
        amqp: &SecretString,
        topology: &Topology,
        doorbell: &Notify,
        health: &Health,
    ) -> Result<(), RelayError> {
        let publisher = Publisher::connect(amqp, topology, "relay").await?;
        health.tell("relay", Part::Healthy);
        let appended = store.appended();
        loop {
            // Registered before the read: an append in between is not missed.
            let bell = appended.notified();
            let batch = store.events_after(self.cursor, WINDOW).await?;
            if self.renewed.elapsed() > LEASE - MARGIN {
                self.keep(store).await?;
            }
            if batch.is_empty() {
                tokio::select! { () = bell => {}, () = doorbell.notified() => {}, () = tokio::time::sleep(POLL) => {} }
                if self.renewed.elapsed() > LEASE / 3 {
                    self.keep(store).await?;
                }
                continue;
            }
            kernel::process::failpoint::hit("relay.before_publish").await;
            let traced = match batch.last() {
                Some(last) if traces::are_on() => store.traces(self.cursor, Position(last.position)).await?,
                _ => HashMap::new(),
            };
            let (confirmed, failure) = publisher.publish(&batch, &traced).await;
            kernel::process::failpoint::hit("relay.after_confirm").await;
            if confirmed > 0 {
                self.cursor = Position(batch[confirmed - 1].position);
                self.keep(store).await?;
                metrics::counter!(names::RELAY_EVENTS_PUBLISHED).increment(confirmed as u64);
            }
            if let Some(failure) = failure {
                return Err(failure.into());
            }
        }
    }

    /// Renews the lease and keeps the cursor, in one write that only the holder of the epoch can make.
    async fn keep(&mut self, store: &Store) -> Result<(), RelayError> {
        let asked = Instant::now();
        let result = sqlx::query(
            "UPDATE saas_leases SET position = ?, lease_until = UTC_TIMESTAMP(6) + INTERVAL ? SECOND
             WHERE name = 'relay' AND epoch = ?",
        )
        .bind(self.cursor.0)
        .bind(LEASE.as_secs())
        .bind(self.epoch)
        .execute(store.pool())
        .await?;
        if result.rows_affected() == 0 {
            return Err(RelayError::Lost);
        }
        self.renewed = asked;
        Ok(())
    }
}
