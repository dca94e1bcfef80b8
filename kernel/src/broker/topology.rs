//! [`Topology`]: every exchange, queue and binding.
//!
//! | name | kind | why |
//! |---|---|---|
//! | `tenant.events` | topic exchange | every event, routing key = its type |
//! | `tenant.doorbells` | direct exchange | wakes workers and the relay for what is not an event |
//! | `tenant.dead-letters` | fanout exchange and queue | messages that no worker could take |
//! | `provisioner.jobs` | durable queue | wakes the workers, which all share it |
//! | `tenant.events.recent` | durable queue | the newest 10,000 events, for operators; see below |
//!
//! The queue `tenant.events.recent` is bound to all events (`#`), so a published event is unroutable only if the
//! topology is broken.
//!
//! Nodes and relays listen on exclusive queues of their own, which end with their connection. They read from the store
//! what they missed.
//!
//! Every queue is bounded and drops its oldest message, because an old doorbell is worth nothing.
//!
//! **Classic or quorum queues.** `AMQP_QUEUE_TYPE` decides. In a cluster the shared queues must be quorum queues, or
//! they are lost with the member that holds them. On a single broker classic queues are better: if RabbitMQ 3.10 is
//! killed (-9) within a second of the declaration of a quorum queue, the queue stays without a leader for ever ("leader
//! not known"), and a queue that confirms nothing stops the relay. The delivery limit of a quorum queue is explicit,
//! because its default differs between RabbitMQ 3.10 (none), 4.0 (20) and 4.3.

use super::{BrokerError, bounded};
use crate::process::config::{ConfigError, Settings};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// Routing key in `tenant.doorbells` that wakes the workers.
pub const DOORBELL_JOBS: &str = "jobs";

/// Routing key in `tenant.doorbells` that wakes the relay.
pub const DOORBELL_RELAY: &str = "relay";

/// The most messages in a shared queue.
const MAX_LENGTH: i64 = 10_000;

/// The most deliveries of one message before it becomes a dead letter.
const DELIVERY_LIMIT: i64 = 5;

/// Event types whose jobs should begin at once. The jobs of other events wait for the next poll, a second at most.
const JOB_EVENTS: [&str; 6] = [
    "tenant.created",
    "tenant.suspended",
    "tenant.resumed",
    "tenant.database_rotation_requested",
    "tenant.deleted",
    "tenant.restored",
];

/// The type of the shared queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueType {
    /// The queue is on one broker.
    Classic,
    /// The queue is replicated to a majority of a cluster.
    Quorum,
}

impl std::str::FromStr for QueueType {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "classic" => Ok(Self::Classic),
            "quorum" => Ok(Self::Quorum),
            _ => Err("it is classic or quorum"),
        }
    }
}

/// The topology of one installation. All names begin with its prefix.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
    queue_type: QueueType,
}

impl Topology {
    /// The topology with the prefix, which may be empty.
    pub fn new(prefix: &str, queue_type: QueueType) -> Self {
        Self { prefix: prefix.to_owned(), queue_type }
    }

    /// The topology of `AMQP_PREFIX` and `AMQP_QUEUE_TYPE`.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Self::new(&settings.get::<String>("AMQP_PREFIX")?, settings.get("AMQP_QUEUE_TYPE")?))
    }

    pub(super) fn name(&self, name: &str) -> lapin::types::ShortString {
        format!("{}{name}", self.prefix).into()
    }

    /// The exchange of all events.
    pub fn events(&self) -> lapin::types::ShortString {
        self.name("tenant.events")
    }

    /// The exchange of doorbells.
    pub fn doorbells(&self) -> lapin::types::ShortString {
        self.name("tenant.doorbells")
    }

    /// The queue that wakes the workers.
    pub fn jobs(&self) -> lapin::types::ShortString {
        self.name("provisioner.jobs")
    }

    /// Declares all exchanges, queues and bindings.
    ///
    /// # Errors
    /// [`BrokerError::WrongTopology`] if a queue or exchange exists with other settings.
    pub async fn declare(&self, channel: &Channel) -> Result<(), BrokerError> {
        let dead = self.name("tenant.dead-letters");
        for (name, kind) in [
            (self.events(), ExchangeKind::Topic),
            (self.doorbells(), ExchangeKind::Direct),
            (dead.clone(), ExchangeKind::Fanout),
        ] {
            let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
            bounded(channel.exchange_declare(name, kind, options, FieldTable::default())).await?;
        }
        let recent = self.name("tenant.events.recent");
        for (queue, dead_letters) in [(recent.clone(), None), (dead.clone(), None), (self.jobs(), Some(&dead))] {
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            bounded(channel.queue_declare(queue, options, self.arguments(dead_letters))).await?;
        }
        let mut bindings = vec![(recent, self.events(), "#"), (dead.clone(), dead, "")];
        bindings.push((self.jobs(), self.doorbells(), DOORBELL_JOBS));
        bindings.extend(JOB_EVENTS.iter().map(|kind| (self.jobs(), self.events(), *kind)));
        for (queue, exchange, key) in bindings {
            let options = QueueBindOptions::default();
            bounded(channel.queue_bind(queue, exchange, key.into(), options, FieldTable::default())).await?;
        }
        Ok(())
    }

    fn arguments(&self, dead_letters: Option<&lapin::types::ShortString>) -> FieldTable {
        let mut table = FieldTable::default();
        let mut set = |key: &str, value: AMQPValue| {
            table.insert(key.into(), value);
        };
        set("x-max-length", AMQPValue::LongLongInt(MAX_LENGTH));
        set("x-overflow", AMQPValue::LongString("drop-head".into()));
        if let Some(exchange) = dead_letters {
            set("x-dead-letter-exchange", AMQPValue::LongString(exchange.as_str().into()));
        }
        match self.queue_type {
            QueueType::Classic => set("x-queue-type", AMQPValue::LongString("classic".into())),
            QueueType::Quorum => {
                set("x-queue-type", AMQPValue::LongString("quorum".into()));
                set("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT));
            }
        }
        table
    }
}
