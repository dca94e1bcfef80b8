//! What the three services share. They import this crate and never each other.
//!
//! The modules stand in the order in which an event lives:
//!
//! | module | guarantees |
//! |---|---|
//! | [`domain`] | pure rules: parsed names, the tenant aggregate, its events; no I/O |
//! | [`store`] | one append is one transaction, positions are 1..N without a hole |
//! | [`jobs`] | slow work is leased; only the holder of the epoch records an outcome |
//! | [`default_tenant`] | of several programs that create the default tenant at once, one does |
//! | [`statistics`] | one row for a tenant and day, counted under a lease |
//! | [`broker`] | one topology table; a message is a doorbell, never the truth |
//! | [`crypto`] | secrets are sealed for one tenant and purpose, or not written at all |
//! | [`audit`] | what differs from what the events say, as rows |
//! | [`database`] | no server is spoken to in a way that others could read or answer; identifiers enter SQL in one place |
//! | [`process`] | how a process reads its settings, reports its health and ends |
//! | [`mod@http`] | one error contract, in English and Chinese |
//! | [`start`] | a server that will not do is named at the start, with what it lacks |
//! | [`mod@error`] | how an error and its causes are printed |

pub mod audit;
pub mod broker;
pub mod crypto;
pub mod database;
pub mod default_tenant;
pub mod domain;
pub mod error;
pub mod http;
pub mod jobs;
pub mod process;
pub mod start;
pub mod statistics;
pub mod store;
