//! Database servers and Redis: how a process connects under the policy of [`tls`], which features it needs of a server
//! ([`engine`]), how it changes schemas ([`migrate`]) and checks its rights on them ([`rights`]), and how it puts names
//! into SQL ([`sql`]).

pub mod engine;
pub mod migrate;
mod options;
pub mod redis;
pub mod rights;
pub mod sql;
pub mod tls;

pub use options::{
    ACQUIRE_TIMEOUT, connect, connect_within, is_contention, is_deadlock, is_duplicate, is_unreachable,
    limit_statements, number, options, pool, reason, text,
};
