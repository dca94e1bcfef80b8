//! Audits: what the database servers and the system database have, compared with what the events say.
//!
//! The control plane asks for an audit and shows what came of it; the provisioner, which alone reaches the servers, does it, in
//! jobs: one for each server, and one for each tenant of which that one is not sure. **Guarantees.** What is told of a tenant was
//! seen while no other job of the tenant ran. What is repaired is safe to repair: no data is touched, nothing is that does not
//! bear this installation's mark, and the repair of a tenant's things is an event of the tenant.

mod drift;
mod rows;

pub use drift::Drift;
pub use rows::{Audit, Finding, PATIENCE, Row, drop_vanished, enqueue, keep, kept, of_job, repaired, tell_compared};
