//! Data nodes: what they serve, to whom, and how soon they follow a change.

mod access_log;
mod answers;
mod fairness;
mod far_behind;
mod matrix;
mod neighbours;
mod positions;
mod staleness;
mod switches;
mod two_hundred;
