//! [`listen`]: receives messages for as long as the process runs. After any failure it connects and subscribes again.

use super::{BrokerError, Topology, bounded, connect};
use crate::process::health::{Health, Part};
use crate::process::retry::Waits;
use crate::process::shutdown::Shutdown;
use futures::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use secrecy::SecretString;
use std::time::Duration;

/// The most unacknowledged messages. Messages are acknowledged as soon as they are received.
const PREFETCH: u16 = 256;

/// The queue to listen to.
#[derive(Clone, Debug)]
pub enum Source {
    /// The shared queue of the workers.
    Jobs,
    /// Every event, on a queue of this process only.
    Events,
    /// The relay's doorbell, on a queue of this process only.
    RelayDoorbell,
}

/// What the listener has received.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// The subscription is active, for the first time or again. Messages may have been missed before.
    Subscribed,
    Message {
        /// The payload.
        body: &'a [u8],
        /// The trace that the message belongs to.
        traceparent: Option<&'a str>,
    },
}

/// Listens until the process is asked to stop, and reports the health of the part `broker`. A broker that refuses us,
/// for whatever reason, ends no process: everything that listens also polls, and subscribes again once the broker lets
/// it.
pub async fn listen(
    url: SecretString,
    topology: Topology,
    source: Source,
    name: String,
    health: Health,
    shutdown: Shutdown,
    mut hear: impl FnMut(Heard<'_>),
) {
    let mut waits = Waits::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let session = async {
            let connection = connect(&url, &name).await?;
            let channel = bounded(connection.create_channel()).await?;
            topology.declare(&channel).await?;
            let mut consumer = subscribe(&channel, &topology, &source).await?;
            health.report("broker", Part::Healthy);
            waits.reset();
            hear(Heard::Subscribed);
            while let Some(delivery) = consumer.next().await {
                let delivery = delivery?;
                let headers = delivery.properties.headers().as_ref();
                let traceparent = headers.and_then(|headers| match headers.inner().get("traceparent") {
                    Some(AMQPValue::LongString(text)) => std::str::from_utf8(text.as_bytes()).ok(),
                    _ => None,
                });
                hear(Heard::Message { body: &delivery.data, traceparent });
                if matches!(source, Source::Jobs) {
                    bounded(delivery.ack(BasicAckOptions::default())).await?;
                }
            }
            Err::<(), _>(BrokerError::Cancelled)
        };
        let ended = tokio::select! { ended = session => ended, () = shutdown.requested() => return };
        let error = ended.err().unwrap_or(BrokerError::Cancelled);
        health.report_error("broker", Part::Degraded(error.to_string()), &error);
        tokio::select! { () = tokio::time::sleep(waits.next_wait()) => {}, () = shutdown.requested() => return }
    }
}

async fn subscribe(channel: &Channel, topology: &Topology, source: &Source) -> Result<Consumer, BrokerError> {
    bounded(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
    let (queue, no_ack) = match source {
        Source::Jobs => (topology.jobs(), false),
        Source::Events => (own_queue(channel, topology.events(), "#").await?, true),
        Source::RelayDoorbell => (own_queue(channel, topology.doorbells(), super::DOORBELL_RELAY).await?, true),
    };
    let options = BasicConsumeOptions { no_ack, ..Default::default() };
    bounded(channel.basic_consume(queue, "".into(), options, FieldTable::default())).await
}

/// Declares a queue that lives as long as this connection. RabbitMQ chooses its name.
async fn own_queue(channel: &Channel, exchange: ShortString, key: &str) -> Result<ShortString, BrokerError> {
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = bounded(channel.queue_declare("".into(), options, FieldTable::default())).await?.name().clone();
    let bind = QueueBindOptions::default();
    bounded(channel.queue_bind(queue.clone(), exchange, key.into(), bind, FieldTable::default())).await?;
    Ok(queue)
}
