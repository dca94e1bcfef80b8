//! [`Depths`]: how many messages wait in the shared queues of the broker, and how many consumers listen.

use super::{BrokerError, Topology, bounded, connect};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use secrecy::SecretString;
use serde::Serialize;

/// The depth of a queue.
#[derive(Clone, Debug, Serialize)]
pub struct Depth {
    /// The name of the queue, without the prefix of the installation.
    pub queue: &'static str,
    /// Messages that wait.
    pub messages: u32,
    /// Consumers that listen.
    pub consumers: u32,
}

/// A connection that reads the depths of queues.
pub struct Depths {
    channel: Channel,
    topology: Topology,
    // The channel dies with its connection.
    _connection: Connection,
}

impl Depths {
    /// Connects and declares the topology, which restores it on a broker that has lost it.
    pub async fn connect(url: &SecretString, topology: &Topology) -> Result<Self, BrokerError> {
        let connection = connect(url, "depths").await?;
        let channel = bounded(connection.create_channel()).await?;
        topology.declare(&channel).await?;
        Ok(Self { channel, topology: topology.clone(), _connection: connection })
    }

    /// Reads the depths of the workers' queue and of the dead letters.
    pub async fn read(&self) -> Result<Vec<Depth>, BrokerError> {
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
