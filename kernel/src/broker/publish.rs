//! [`Publisher`]: publishes messages that are persistent, mandatory and confirmed.

use super::{BROKER_TIMEOUT, BrokerError, DOORBELL_RELAY, Topology, bounded, connect};
use crate::process::shutdown::Shutdown;
use crate::process::telemetry::traces;
use crate::store::{EventRow, Store};
use futures::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The delivery mode "persistent" of AMQP.
const PERSISTENT: u8 = 2;

/// Why not all messages of a batch were published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The broker failed. The caller connects again.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The broker did not accept a message.
    #[error("the broker refused a message")]
    Refused,
    /// No queue is bound for a message, so the topology is broken.
    #[error("the broker had no queue for a message")]
    Unroutable,
}

/// A channel in confirm mode on a declared topology.
pub struct Publisher {
    channel: Channel,
    topology: Topology,
    // The channel dies with its connection.
    _connection: Connection,
}

impl Publisher {
    /// Connects, declares the topology, and switches to confirm mode.
    pub async fn connect(url: &SecretString, topology: &Topology, name: &str) -> Result<Self, BrokerError> {
        let connection = connect(url, name).await?;
        let channel = bounded(connection.create_channel()).await?;
        topology.declare(&channel).await?;
        bounded(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Self { channel, topology: topology.clone(), _connection: connection })
    }

    /// Publishes events in order. Returns how many of them, from the first on, the broker has confirmed as persistent
    /// in a queue, and the error of the next one, if any. `traced` holds the traces of events by position; the
    /// message's header continues them.
    pub async fn publish(&self, events: &[EventRow], traced: &HashMap<u64, String>) -> (usize, Option<PublishError>) {
        let mut confirms = Vec::with_capacity(events.len());
        let mut failure = None;
        // The spans end when the messages are confirmed.
        let mut spans = Vec::new();
        for event in events {
            let payload = serde_json::to_vec(event).expect("an event row is plain data");
            let mut properties = BasicProperties::default()
                .with_delivery_mode(PERSISTENT)
                .with_content_type("application/json".into())
                .with_message_id(event.event_id.as_str().into())
                .with_type(event.kind.as_str().into());
            if let Some(traceparent) = traced.get(&event.position) {
                let (tenant_id, position) = (event.tenant_id.as_str(), event.position);
                let span = tracing::info_span!("publish", tenant_id, position, kind = event.kind);
                traces::follow(&span, Some(traceparent));
                properties = properties.with_headers(header(&traces::of(&span).unwrap_or_else(|| traceparent.clone())));
                spans.push(span);
            }
            match self.send(self.topology.events(), event.kind.as_str().into(), &payload, properties).await {
                Ok(confirm) => confirms.push(confirm),
                Err(error) => {
                    failure = Some(error.into());
                    break;
                }
            }
        }
        let answers = tokio::time::timeout(BROKER_TIMEOUT, join_all(confirms)).await;
        let Ok(answers) = answers else {
            return (0, Some(BrokerError::Timeout.into()));
        };
        let sent = answers.len();
        for (confirmed, answer) in answers.into_iter().enumerate() {
            let error = match answer {
                Ok(Confirmation::Ack(None)) => continue,
                Ok(Confirmation::Ack(Some(_))) => PublishError::Unroutable,
                Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => PublishError::Refused,
                Err(error) => BrokerError::from(error).into(),
            };
            return (confirmed, Some(error));
        }
        (sent, failure)
    }

    /// Rings a doorbell. It is not confirmed, because its listeners also poll.
    pub async fn ring(&self, key: &str) -> Result<(), BrokerError> {
        self.send(self.topology.doorbells(), key.into(), b"", BasicProperties::default()).await.map(drop)
    }

    async fn send(
        &self,
        exchange: ShortString,
        key: ShortString,
        payload: &[u8],
        properties: BasicProperties,
    ) -> Result<lapin::PublisherConfirm, BrokerError> {
        let mandatory = exchange == self.topology.events();
        let options = BasicPublishOptions { mandatory, immediate: false };
        bounded(self.channel.basic_publish(exchange, key, options, payload, properties)).await
    }
}

/// The W3C trace context, in the header that other AMQP clients use.
fn header(traceparent: &str) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(traceparent.into()));
    headers
}

/// Rings the doorbell of the relay, in whatever process it runs, after every append of this process.
pub async fn ring_relay(store: Store, url: SecretString, topology: Topology, shutdown: Shutdown) {
    ring_on(store.appended(), DOORBELL_RELAY, url, topology, shutdown).await;
}

/// Rings the doorbell `key` whenever `bell` is notified in this process, until the process is asked to stop. A failing
/// broker costs only time, because the listeners also poll.
pub async fn ring_on(bell: Arc<Notify>, key: &'static str, url: SecretString, topology: Topology, shutdown: Shutdown) {
    let mut publisher: Option<Publisher> = None;
    loop {
        tokio::select! { () = bell.notified() => {}, () = shutdown.requested() => return }
        if publisher.is_none() {
            publisher = Publisher::connect(&url, &topology, "doorbell").await.ok();
        }
        let rung = match &publisher {
            Some(publisher) => publisher.ring(key).await,
            None => Err(BrokerError::Timeout),
        };
        if rung.is_err() {
            publisher = None;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
