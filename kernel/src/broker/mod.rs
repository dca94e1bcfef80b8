//! RabbitMQ, as doorbells: a message says that there may be something new, the store says what.
//!
//! Nothing is decided on a payload, so a lost, doubled, reordered or forged message changes nothing but the time until
//! somebody looks. Whoever listens also polls.

mod depth;
mod listen;
mod publish;
mod topology;

pub use depth::{Depth, Depths};
pub use listen::{Heard, Source, listen};
pub use publish::{PublishError, Publisher, ring_on, ring_relay};
pub use topology::{DOORBELL_JOBS, DOORBELL_RELAY, QueueType, Topology};

use lapin::{Connection, ConnectionProperties};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// Longest wait for any single answer of the broker. A broker under a disk alarm or a stopped process never answers.
pub const BROKER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the broker is no use right now, or at all.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It did not answer in time.
    #[error("the broker did not answer within {} s", BROKER_TIMEOUT.as_secs())]
    Timeout,
    /// A queue or exchange of ours exists with other settings. Somebody must look: going on would lose messages.
    #[error("the broker has a queue or exchange of our name with other settings; delete it or set another AMQP_PREFIX")]
    WrongTopology,
    /// Anything else; it may pass.
    #[error("the broker failed")]
    Failed(#[source] lapin::Error),
    /// The broker ended the subscription (its queue was deleted).
    #[error("the broker ended the subscription")]
    Cancelled,
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            lapin::ErrorKind::ProtocolError(amqp) if amqp.get_id() == 406 => Self::WrongTopology,
            _ => Self::Failed(error),
        }
    }
}

/// `future`, but not longer than [`BROKER_TIMEOUT`].
async fn bounded<T>(future: impl Future<Output = Result<T, lapin::Error>>) -> Result<T, BrokerError> {
    tokio::time::timeout(BROKER_TIMEOUT, future).await.map_err(|_| BrokerError::Timeout)?.map_err(BrokerError::from)
}

/// Connects, with a heartbeat that notices a dead peer within half a minute (RabbitMQ's default takes three).
async fn connect(url: &SecretString, name: &str) -> Result<Connection, BrokerError> {
    let url = url.expose_secret();
    let separator = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{separator}heartbeat=10&connection_timeout=5000");
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    bounded(Connection::connect(&url, properties)).await
}
