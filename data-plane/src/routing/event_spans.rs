//! [`EventSpans`]: for each traced event, a span from its message to the refresh that brings it into the routing table.
//!
//! The spans are for observation only. The follower decides what the table includes, and not a message.

use kernel::domain::Position;
use kernel::process::telemetry::traces;
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tracing::Span;

/// The most events that are traced at once.
const MOST: usize = 1024;

/// The open spans, by the positions of their events.
#[derive(Default)]
pub struct EventSpans(Mutex<VecDeque<(Position, Span)>>);

#[derive(Deserialize)]
struct Event {
    position: Position,
    tenant_id: String,
}

impl EventSpans {
    /// Opens a span for the event in a message, as a child of `traceparent`.
    pub fn open(&self, body: &[u8], traceparent: &str) {
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

    /// Ends the spans of all events up to `position`, which the table now includes.
    pub fn end(&self, position: Position) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of_event, _)| *of_event > position);
    }
}
