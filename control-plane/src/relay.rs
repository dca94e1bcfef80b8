//! The relay: publishes the event log to RabbitMQ, in position order, at least once.
//!
//! **Guarantees.** The event table is the outbox: an event that was committed is published, however often this process
//! is killed in between. The cursor is the highest position up to which the broker has confirmed everything, so a crash
//! repeats at most one batch and skips nothing. One relay works at a time: it holds a lease with an epoch, and a relay
//! that was paused meanwhile cannot move the cursor. It may publish its last batch once more; subscribers take each
//! event once, by its position. A message the broker has no queue for is an error: it means that the topology is
//! broken, and going on would lose events.

use kernel::broker::{PublishError, Publisher, Topology};
use kernel::domain::Position;
use kernel::lease::{LeaseError, Role, RoleLease};
use kernel::process::health::{Health, Part};
use kernel::process::retry::Waits;
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::{names, traces};
use kernel::store::Store;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A relay that does not renew its lease for so long loses the role.
const LEASE: Duration = Duration::from_secs(15);
/// Before the lease ends, by this process's own clock, so much is left for an answer to arrive.
const MARGIN: Duration = Duration::from_secs(5);
/// Most events in flight.
const WINDOW: u32 = 256;
/// Without a bell, the relay checks for new events this often.
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
    let role = Role::new("relay", LEASE);
    let mut waits = Waits::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let term = async {
            match role.take(store.pool()).await? {
                Some(lease) => {
                    tracing::info!(epoch = lease.epoch(), position = lease.position(), "this process relays events");
                    relay(lease, &store, &amqp, &topology, &doorbell, &health).await
                }
                None => Ok(()),
            }
        };
        let ended = tokio::select! { ended = term => ended, () = shutdown.requested() => break };
        match ended {
            Ok(()) => waits.reset(),
            Err(error) => health.report_error("relay", Part::Degraded(error.to_string()), &error),
        }
        let pause = match role.is_held_by_another(store.pool()).await {
            true => Duration::from_secs(2),
            false => waits.next_wait(),
        };
        tokio::select! { () = tokio::time::sleep(pause) => {}, () = shutdown.requested() => break }
    }
    role.release(store.pool()).await;
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Broker(#[from] kernel::broker::BrokerError),
    #[error(transparent)]
    RoleLease(#[from] LeaseError),
}

/// Publishes events as they are appended, until something fails.
async fn relay(
    mut lease: RoleLease,
    store: &Store,
    amqp: &SecretString,
    topology: &Topology,
    doorbell: &Notify,
    health: &Health,
) -> Result<(), RelayError> {
    let publisher = Publisher::connect(amqp, topology, "relay").await?;
    health.report("relay", Part::Healthy);
    let appended = store.appended();
    loop {
        // Registered before the read: an append in between is not missed.
        let bell = appended.notified();
        let cursor = Position(lease.position());
        let batch = store.events_after(cursor, WINDOW).await?;
        if lease.age() > LEASE - MARGIN {
            lease.renew(store.pool()).await?;
        }
        if batch.is_empty() {
            tokio::select! { () = bell => {}, () = doorbell.notified() => {}, () = tokio::time::sleep(POLL) => {} }
            if lease.age() > LEASE / 3 {
                lease.renew(store.pool()).await?;
            }
            continue;
        }
        kernel::process::failpoint::hit("relay.before_publish").await;
        let traced = match batch.last() {
            Some(last) if traces::are_on() => store.traces(cursor, Position(last.position)).await?,
            _ => HashMap::new(),
        };
        let (confirmed, failure) = publisher.publish(&batch, &traced).await;
        kernel::process::failpoint::hit("relay.after_confirm").await;
        if confirmed > 0 {
            lease.store_position(store.pool(), batch[confirmed - 1].position).await?;
            metrics::counter!(names::RELAY_EVENTS_PUBLISHED).increment(confirmed as u64);
        }
        if let Some(failure) = failure {
            return Err(failure.into());
        }
    }
}
