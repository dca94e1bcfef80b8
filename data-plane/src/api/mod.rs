//! The tenants' API: one file for each group of routes.
//!
//! Every handler takes a [`Caller`](crate::admission::Caller), which has passed admission and is the only way to a
//! tenant's database. To add a route, write its handler here and list it in `router.rs`.

pub mod config;
mod cursor;
pub mod new_order;
mod order_stats;
pub mod orders;
mod page;
pub mod price;
pub mod users;
