//! Database servers and Redis: how a process connects, what it asks of a server, and how it puts names into SQL.

pub mod engine;
pub mod migrate;
mod options;
pub mod redis;
pub mod sql;
pub mod tls;

pub use options::{ACQUIRE_TIMEOUT, connect, is_contention, is_duplicate, is_unreachable, number, options, pool, text};
