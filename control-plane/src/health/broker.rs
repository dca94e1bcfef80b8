//! The broker: whether it answers, and what waits in its queues. A task of its own polls it, so that no request waits
//! for a broker that hangs.

use super::Part;
use chrono::{DateTime, Utc};
use kernel::broker::{Depth, Depths, Topology};
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use secrecy::SecretString;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the task polls it.
const EVERY: Duration = Duration::from_secs(3);
/// More messages than this wait only when no consumer takes them.
const MANY: u32 = 1000;

/// What the newest poll found. Clones share it.
#[derive(Clone, Default)]
pub struct Broker(Arc<Mutex<Option<Polled>>>);

#[derive(Clone)]
struct Polled {
    at: DateTime<Utc>,
    queues: Option<Vec<Depth>>,
}

impl Broker {
    /// Polls until the process is asked to stop.
    pub async fn watch(self, url: SecretString, topology: Topology, shutdown: Shutdown) {
        let mut connected: Option<Depths> = None;
        loop {
            let poll = async {
                let depths = match connected.take() {
                    Some(depths) => depths,
                    None => Depths::connect(&url, &topology).await?,
                };
                let queues = depths.read().await?;
                connected = Some(depths);
                Ok::<_, kernel::broker::BrokerError>(queues)
            };
            let queues = poll.await.ok();
            metrics::gauge!(names::BROKER_UP).set(u8::from(queues.is_some()));
            for Depth { queue, messages, consumers } in queues.iter().flatten() {
                metrics::gauge!(names::QUEUE_MESSAGES, "queue" => *queue).set(*messages);
                metrics::gauge!(names::QUEUE_CONSUMERS, "queue" => *queue).set(*consumers);
            }
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Polled { at: Utc::now(), queues });
            tokio::select! { () = tokio::time::sleep(EVERY) => {}, () = shutdown.requested() => return }
        }
    }

    pub(super) fn report(&self) -> Part {
        let polled = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (at, queues) = polled.map_or((None, None), |polled| (Some(polled.at), polled.queues));
        let mut reasons = Vec::new();
        match &queues {
            None => reasons.push("the broker does not answer".to_owned()),
            Some(queues) => {
                for Depth { queue, messages, consumers } in queues {
                    if *queue == "provisioner.jobs" && *consumers == 0 {
                        reasons.push("no provisioner listens to the broker".to_owned());
                    }
                    if *messages > MANY {
                        reasons.push(format!("{messages} messages wait in the queue {queue}"));
                    }
                }
            }
        }
        Part::new(json!({"queues": queues.unwrap_or_default(), "checked_at": at}), reasons)
    }
}
