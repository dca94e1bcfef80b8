//! RabbitMQ, used as a doorbell: a message says that there may be something new, and the store says what.
//!
//! No process decides anything on a payload, so a lost, doubled, reordered or forged message changes nothing but the
//! time until the process reads the store. Every listener also polls.

mod depth;
mod listen;
mod publish;
mod topology;

pub use depth::{Depth, Depths};
pub use listen::{Heard, Source, listen};
pub use publish::{PublishError, Publisher, ring_on, ring_relay};
pub use topology::{DOORBELL_JOBS, DOORBELL_RELAY, QueueType, Topology};

use crate::database::tls;
use crate::process::config::{ConfigError, Settings, wrong};
use lapin::tcp::OwnedTLSConfig;
use lapin::{Connection, ConnectionProperties};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use url::Url;

/// Longest wait for any single answer of the broker. A stopped broker, or one under a disk alarm, never answers.
pub const BROKER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the broker cannot be used, for a while or at all.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It did not answer in time.
    #[error("the broker did not answer within {} s", BROKER_TIMEOUT.as_secs())]
    Timeout,
    /// A queue or exchange of ours exists with other settings. An operator must act, because messages would be lost.
    #[error("the broker has a queue or exchange of our name with other settings; delete it or set another AMQP_PREFIX")]
    WrongTopology,
    /// The broker has no room for another queue, exchange or connection of ours.
    #[error(
        "a limit of the broker is reached (queues or connections of the vhost or user, as in \
         `rabbitmqctl list_vhost_limits`); raise it or remove what is not needed"
    )]
    Full,
    /// The broker refuses the login.
    #[error("the broker refuses the user, password or vhost of AMQP_URL")]
    Denied,
    /// The URL may not be used.
    #[error("the process does not connect to the broker")]
    Refused(#[source] ConfigError),
    /// No encrypted connection could be opened.
    #[error("the broker cannot be trusted: {0}")]
    Untrusted(&'static str),
    /// Any other failure, which may pass.
    #[error("the broker failed")]
    Failed(#[source] lapin::Error),
    /// The broker ended the subscription (its queue was deleted).
    #[error("the broker ended the subscription")]
    Cancelled,
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            // RabbitMQ has one code for both. Its text says which arguments differ.
            lapin::ErrorKind::ProtocolError(amqp) if is_full(amqp.get_id(), amqp.get_message().as_str()) => Self::Full,
            lapin::ErrorKind::ProtocolError(amqp) if amqp.get_id() == 406 => Self::WrongTopology,
            // Access refused, or not allowed, which is also the answer for a vhost that does not exist.
            lapin::ErrorKind::ProtocolError(amqp) if matches!(amqp.get_id(), 403 | 530) => Self::Denied,
            lapin::ErrorKind::IOError(io) => match tls::reason(io) {
                Some(reason) => Self::Untrusted(reason),
                None => Self::Failed(error),
            },
            _ => Self::Failed(error),
        }
    }
}

/// Whether a refusal names a limit. `queue limit in vhost '/' (3) is reached`, `access to vhost '/' refused for user
/// 'u': connection limit (5) is reached`.
fn is_full(code: u16, text: &str) -> bool {
    matches!(code, 405 | 406 | 530) && text.contains(" limit ")
}

/// Waits for `future`, at most for [`BROKER_TIMEOUT`].
async fn bounded<T>(future: impl Future<Output = Result<T, lapin::Error>>) -> Result<T, BrokerError> {
    tokio::time::timeout(BROKER_TIMEOUT, future).await.map_err(|_| BrokerError::Timeout)?.map_err(BrokerError::from)
}

/// Reads the setting `AMQP_URL`, under the rule of [`crate::database::tls`].
pub fn url(settings: &Settings) -> Result<SecretString, ConfigError> {
    let url = settings.secret("AMQP_URL")?;
    parse(&url)?;
    Ok(url)
}

/// Connects, declares the topology, and disconnects.
pub(crate) async fn check(url: &SecretString, topology: &Topology) -> Result<(), BrokerError> {
    let connection = connect(url, "start").await?;
    let channel = bounded(connection.create_channel()).await?;
    topology.declare(&channel).await?;
    let _ = bounded(connection.close(200, "checked".into())).await;
    Ok(())
}

fn parse(url: &SecretString) -> Result<Url, ConfigError> {
    let not_a_url = || wrong("AMQP_URL", "not an amqp:// or amqps:// URL");
    let parsed = Url::parse(url.expose_secret()).map_err(|_| not_a_url())?;
    let encrypted = match parsed.scheme() {
        "amqp" => false,
        "amqps" => true,
        _ => return Err(not_a_url()),
    };
    let host = parsed.host_str().ok_or_else(not_a_url)?;
    let password = parsed.password().is_some_and(|password| !password.is_empty());
    tls::policy().check(host, encrypted, password, "amqps://").map_err(|refused| wrong("AMQP_URL", refused))?;
    Ok(parsed)
}

/// Connects, with a heartbeat that notices a dead peer within half a minute. RabbitMQ's default takes three minutes.
async fn connect(url: &SecretString, name: &str) -> Result<Connection, BrokerError> {
    let mut url = parse(url).map_err(BrokerError::Refused)?;
    url.query_pairs_mut().append_pair("heartbeat", "10").append_pair("connection_timeout", "5000");
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let trusted = OwnedTLSConfig { identity: None, cert_chain: tls::policy().authorities().map(str::to_owned) };
    let runtime = lapin::runtime::default_runtime()?;
    bounded(Connection::connect_with_config(url.as_str(), properties, trusted, runtime)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_no_wrong_topology_and_no_wrong_password() {
        for text in [
            "PRECONDITION_FAILED - cannot declare queue 'provisioner.jobs': queue limit in vhost '/' (3) is reached",
            "NOT_ALLOWED - access to vhost '/' refused for user 'u': connection limit (5) is reached",
        ] {
            assert!(is_full(if text.starts_with("PRE") { 406 } else { 530 }, text), "{text}");
        }
        for (code, text) in [
            (406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'provisioner.jobs' in vhost '/'"),
            (530, "NOT_ALLOWED - vhost nowhere not found"),
        ] {
            assert!(!is_full(code, text), "{text}");
        }
    }
}
