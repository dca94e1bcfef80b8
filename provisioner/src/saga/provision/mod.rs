//! The steps that make a tenant's database, one file each, in the order they run.

pub mod apply_schema;
pub mod create_database;
pub mod create_user;
pub mod seed_config;
pub mod verify_login;
