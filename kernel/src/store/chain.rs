//! The hash chain over the event log: each row's hash covers the row and every row before it.
//!
//! The chain shows that rows were changed, removed or exchanged, unless the attacker recomputes it from there on. To
//! detect that too, an operator compares the head's hash with one that was recorded outside the database.

use crate::domain::RecordedEvent;
use sha2::{Digest, Sha256};

/// A link of the chain.
pub(super) type Hash = [u8; 32];

/// The first link of the chain.
pub(super) const FIRST: Hash = [0; 32];

/// All columns of a row, as they are stored.
pub(super) struct Columns<'a> {
    pub position: u64,
    pub version: u32,
    pub occurred_at_micros: i64,
    pub tenant_id: &'a str,
    pub event_id: &'a str,
    pub kind: &'a str,
    pub actor: &'a str,
    pub data: &'a str,
}

/// The link of an event that is about to be appended.
pub(super) fn of_event(before: &Hash, event: &RecordedEvent, data: &str) -> Hash {
    let columns = Columns {
        position: event.position.0,
        version: event.version.0,
        occurred_at_micros: event.occurred_at.timestamp_micros(),
        tenant_id: event.tenant_id.as_str(),
        event_id: &event.event_id.to_string(),
        kind: event.event.kind(),
        actor: &event.actor,
        data,
    };
    link(before, &columns)
}

/// The next link: SHA-256 over the previous link and every column of this row, each with its length, so that no two
/// different rows give the same bytes.
pub(super) fn link(before: &Hash, row: &Columns<'_>) -> Hash {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(row.position.to_be_bytes());
    hash.update(row.version.to_be_bytes());
    hash.update(row.occurred_at_micros.to_be_bytes());
    for text in [row.tenant_id, row.event_id, row.kind, row.actor, row.data] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn row() -> Columns<'static> {
        Columns {
            position: 1,
            version: 1,
            occurred_at_micros: 1,
            tenant_id: "acme",
            event_id: "id",
            kind: "tenant.renamed",
            actor: "a",
            data: "{}",
        }
    }

    #[test]
    fn every_column_and_the_previous_link_change_the_hash() {
        let links = [
            link(&FIRST, &row()),
            link(&[1; 32], &row()),
            link(&FIRST, &Columns { position: 2, ..row() }),
            link(&FIRST, &Columns { version: 2, ..row() }),
            link(&FIRST, &Columns { occurred_at_micros: 2, ..row() }),
            link(&FIRST, &Columns { tenant_id: "acm", event_id: "eid", ..row() }),
            link(&FIRST, &Columns { kind: "tenant.rename", actor: "da", ..row() }),
            link(&FIRST, &Columns { actor: "A", ..row() }),
            link(&FIRST, &Columns { data: "{} ", ..row() }),
        ];
        assert_eq!(links.iter().collect::<HashSet<_>>().len(), links.len());
    }

    #[test]
    fn the_hash_function_never_changes() {
        // Logs live longer than programs. A change of the function would break every existing log.
        let expected = "e4f54747e6e0ced495f4c5c84f8c9f322cb43e4cae1dffeeb7ee772cede50a1f";
        assert_eq!(hex::encode(link(&FIRST, &row())), expected);
    }
}
