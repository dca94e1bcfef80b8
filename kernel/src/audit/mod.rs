//! Audits: what the database servers and the system database have, compared with what the events say.
//!
//! The control plane requests an audit and shows its findings. The provisioner, which alone reaches the servers, does
//! the audit in jobs: one for each server, and one for each tenant that the server's job finds suspicious.
//!
//! **Guarantees.** What is reported of a tenant was seen while no other job of the tenant ran. A repair touches no data
//! and nothing that does not carry this installation's ownership marker, and every repair for a tenant is an event of
//! the tenant.

mod drift;
mod rows;

pub use drift::Drift;
pub use rows::{
    Audit, Finding, PATIENCE, Row, SURVEYED, add, drop_vanished, enqueue, of_job, record_compared, repaired, store,
    stored,
};
