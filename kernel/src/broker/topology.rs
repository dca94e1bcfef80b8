//! Every exchange, queue and binding, in one table.
//!
//! | name | kind | why |
//! |---|---|---|
//! | `tenant.events` | topic exchange | every event, routing key = its type |
//! | `tenant.doorbells` | direct exchange | "look now", for what is no event |
//! | `tenant.dead-letters` | fanout exchange and queue | messages no worker could take |
//! | `provisioner.jobs` | quorum queue | rings the workers; all of them share it |
//! | `tenant.events.recent` | quorum queue | the newest 10,000 events to look at; its binding `#` also makes sure that a publish is never unroutable unless the topology is broken |
//!
//! Nodes and relays listen on exclusive queues of their own, which die with them: what they miss they read from the store.
//!
//! Every queue is bounded and drops its oldest message: an old doorbell is worth nothing. The delivery limit is explicit,
//! because its default differs between RabbitMQ 3.10 (none), 4.0 (20) and 4.3.

use super::{BrokerError, bounded};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// Routing key in `tenant.doorbells` that wakes the workers.
pub const DOORBELL_JOBS: &str = "jobs";

/// Routing key in `tenant.doorbells` that wakes the relay.
pub const DOORBELL_RELAY: &str = "relay";

/// Most messages a shared queue keeps.
const MAX_LENGTH: i64 = 10_000;

/// Deliveries of one message before it is dead-lettered.
const DELIVERY_LIMIT: i64 = 5;

/// Event types that start a job.
const JOB_EVENTS: [&str; 1] = ["tenant.created"];

/// The names of one installation: all begin with its prefix.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
}

impl Topology {
    /// The topology under `prefix` (may be empty).
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    fn name(&self, name: &str) -> lapin::types::ShortString {
        format!("{}{name}", self.prefix).into()
    }

    /// Exchange of all events.
    pub fn events(&self) -> lapin::types::ShortString {
        self.name("tenant.events")
    }

    /// Exchange of doorbells.
    pub fn doorbells(&self) -> lapin::types::ShortString {
        self.name("tenant.doorbells")
    }

    /// Queue that wakes the workers.
    pub fn jobs(&self) -> lapin::types::ShortString {
        self.name("provisioner.jobs")
    }

    /// Declares everything; an existing queue or exchange with other settings is [`BrokerError::WrongTopology`].
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
            bounded(channel.queue_declare(queue, options, arguments(dead_letters))).await?;
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
}

fn arguments(dead_letters: Option<&lapin::types::ShortString>) -> FieldTable {
    let mut table = FieldTable::default();
    let mut set = |key: &str, value: AMQPValue| {
        table.insert(key.into(), value);
    };
    set("x-queue-type", AMQPValue::LongString("quorum".into()));
    set("x-max-length", AMQPValue::LongLongInt(MAX_LENGTH));
    set("x-overflow", AMQPValue::LongString("drop-head".into()));
    set("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT));
    if let Some(exchange) = dead_letters {
        set("x-dead-letter-exchange", AMQPValue::LongString(exchange.as_str().into()));
    }
    table
}
