//! Traces of events on their way into the routing table: a span from the message to the turn that includes its event.
//!
//! For looking on only: what the table includes is decided by the follower, not by a message.

use kernel::domain::Position;
use kernel::process::telemetry::traces;
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tracing::Span;

/// Events on their way, at most; more are not traced.
const MOST: usize = 1024;

/// See the module.
#[derive(Default)]
pub struct Traced(Mutex<VecDeque<(Position, Span)>>);

#[derive(Deserialize)]
struct Event {
    position: Position,
    tenant_id: String,
}

impl Traced {
    /// A message of a traced event was heard.
    pub fn heard(&self, body: &[u8], traceparent: &str) {
        if !traces::are_on() {
            return;
        }
        let Ok(event) = serde_json::from_slice::<Event>(body) else { return };
        let span = tracing::info_span!("invalidate", tenant_id = event.tenant_id, position = event.position.0);
        traces::follow(&span, Some(traceparent));
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST {
            waiting.push_back((event.position, span));
        }
    }

    /// The table includes every event up to `position`. Their spans end here.
    pub fn included(&self, position: Position) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of_event, _)| *of_event > position);
    }
}
