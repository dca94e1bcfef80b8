//! What the three services share. They import this crate and never each other.
//!
//! The modules stand in the order in which an event lives:
//!
//! | module | guarantees |
//! |---|---|
//! | [`domain`] | pure rules: parsed names, the tenant aggregate, its events; no I/O |
//! | [`store`] | one append is one transaction, positions are 1..N without a hole |
//! | [`jobs`] | slow work is leased; only the holder of the epoch records an outcome |
//! | [`statistics`] | one row for a tenant and day, counted under a lease |
//! | [`broker`] | one topology table; a message is a doorbell, never the truth |
//! | [`crypto`] | secrets are sealed for one tenant and purpose, or not written at all |
//! | [`audit`] | what differs from what the events say, as rows |
//! | [`migrate`] | schema changes run once, whoever starts first |
//! | [`sql`] | the only place that puts an identifier into SQL |
//! | [`http`] | one error contract, in English and Chinese |
//! | [`engine`], [`start`] | a server that will not do is named at the start, with what it lacks |
//! | [`tls`], [`database`], [`mod@redis`] | no server is spoken to in a way that others could read or answer |
//! | [`config`], [`telemetry`], [`health`], [`shutdown`], [`retry`] | how a process starts, tells and ends |
//! | [`failpoint`] | where tests kill the process; absent from release builds |

pub mod audit;
pub mod broker;
pub mod config;
pub mod crypto;
pub mod database;
pub mod domain;
pub mod engine;
pub mod failpoint;
pub mod health;
pub mod http;
pub mod jobs;
pub mod migrate;
pub mod redis;
pub mod retry;
pub mod shutdown;
pub mod sql;
pub mod start;
pub mod statistics;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod tokens;
