//! Jobs: slow work that is requested in the transaction of its reason and done by the worker that holds its lease.
//!
//! **Guarantees.** A job exists if and only if the unit of work that enqueued it committed. It belongs to one worker at
//! a time, for as long as that worker renews the lease; a worker that takes over raises the epoch, and every write of a
//! worker holds its epoch in the same transaction ([`JobUnit`]), so a worker that was stopped and wakes up again cannot
//! record anything ([`JobError::Lost`]).
//! Times are the database's. A job ends `succeeded` or `failed` with a reason; while its steps are being undone it is
//! still `running`, because it has left something behind.

mod claim;
mod enqueue;
mod idle;
mod kind;
mod lease;
mod operation;
mod unit;

pub use claim::{CLAIM, Claimant, Due, claim, claim_one, due};
pub use enqueue::{NewJob, enqueue};
pub use idle::{IdleLane, idle_lanes};
pub use kind::{JobKind, Lane, kinds_that_block_nothing, kinds_that_wait_for_a_server, lanes_that_queue};
pub use lease::{JobError, Lease, StepRecord, is_transient};
pub use operation::{Operation, Step, active_operation, find, give_up};
pub use unit::JobUnit;
