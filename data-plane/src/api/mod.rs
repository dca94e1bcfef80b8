//! What the tenants' users can ask. Every handler takes a [`crate::sessions::Caller`], the only way to a database.

mod cursor;
pub mod orders;
mod values;
