//! How many messages wait in the shared queues, and how many listen to them.

use super::{BrokerError, Topology, bounded, connect};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use secrecy::SecretString;
use serde::Serialize;

/// A queue as the broker sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Depth {
    /// Its name, without the installation's prefix.
    pub queue: &'static str,
    /// Messages that wait.
    pub messages: u32,
    /// Who listens.
    pub consumers: u32,
}

/// A connection for looking.
pub struct Depths {
    channel: Channel,
    topology: Topology,
    // The channel dies with its connection.
    _connection: Connection,
}

impl Depths {
    /// Connects and declares the topology: a broker that has lost it gets it back.
    pub async fn connect(url: &SecretString, topology: &Topology) -> Result<Self, BrokerError> {
        let connection = connect(url, "depths").await?;
        let channel = bounded(connection.create_channel()).await?;
        topology.declare(&channel).await?;
        Ok(Self { channel, topology: topology.clone(), _connection: connection })
    }

    /// Looks at the queue of the workers and at the dead letters.
    pub async fn look(&self) -> Result<Vec<Depth>, BrokerError> {
        let mut depths = Vec::new();
        for queue in ["provisioner.jobs", "tenant.dead-letters"] {
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let name = self.topology.name(queue);
            let found = bounded(self.channel.queue_declare(name, options, FieldTable::default())).await?;
            depths.push(Depth { queue, messages: found.message_count(), consumers: found.consumer_count() });
        }
        Ok(depths)
    }
}
