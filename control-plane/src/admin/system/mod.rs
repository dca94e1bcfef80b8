//! Handlers of what concerns the whole installation.

pub mod audit;
pub mod config;
pub mod events;
pub mod health;
pub mod operations;
pub mod plans;
pub mod schedules;
pub mod schema;
pub mod statistics;
