//! Clients that send bytes, each on a connection of its own.

use anyhow::Result;

use super::{Answered, Asker};
use crate::clients::wire::{Answer, Wire};

type Check = Box<dyn FnOnce(&Answer) -> Result<Answered> + Send>;

/// A request, and what its answer must be.
pub struct Question {
    request: Vec<u8>,
    check: Check,
}

impl Question {
    pub fn new(request: Vec<u8>, check: impl FnOnce(&Answer) -> Result<Answered> + Send + 'static) -> Self {
        Self { request, check: Box::new(check) }
    }
}

pub struct Wired<Q> {
    wire: Wire,
    questions: Q,
}

impl<Q> Wired<Q> {
    /// The client connects to the service with this URL at its first question.
    pub fn new(url: &str, questions: Q) -> Self {
        Self { wire: Wire::new(url), questions }
    }
}

impl<Q: FnMut(u64) -> Question + Send + 'static> Asker for Wired<Q> {
    async fn ask(&mut self, turn: u64) -> Result<Answered> {
        let Question { request, check } = (self.questions)(turn);
        check(&self.wire.send(&request).await?)
    }
}
