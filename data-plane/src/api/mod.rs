//! What the tenants' users can ask. Every handler takes a [`crate::sessions::Caller`], the only way to a database.

pub mod config;
mod cursor;
mod order_stats;
pub mod orders;
mod page;
pub mod profiles;
pub mod users;
mod values;
