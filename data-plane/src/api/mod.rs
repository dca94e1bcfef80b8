//! What the tenants' users can ask. Every handler takes a [`crate::admission::Caller`], the only way to a database.

pub mod config;
mod cursor;
pub mod new_order;
mod order_stats;
pub mod orders;
mod page;
pub mod price;
pub mod users;
