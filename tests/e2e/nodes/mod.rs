//! Data nodes: what they serve, to whom, and how soon they follow a change.

mod access_log;
mod answers;
mod fairness;
mod far_behind;
mod invalidation;
mod matrix;
mod neighbours;
mod positions;
mod slow_system_database;
mod staleness;
mod strangers;
mod switches;
mod two_hundred;
