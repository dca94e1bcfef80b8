//! Handlers of `/admin/tenants`.

pub mod config;
pub mod create;
pub mod database;
pub mod deletion;
pub mod domains;
pub mod lifecycle;
pub mod limits;
pub mod many_members;
pub mod members;
pub mod read;
pub mod statistics;
