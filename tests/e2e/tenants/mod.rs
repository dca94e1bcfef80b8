//! Tenants: how one is created, configured, suspended, deleted, and kept apart from the others.

mod configuration;
mod creation;
mod deletion;
mod dns;
mod domain_proof;
mod domains;
mod isolation;
mod names;
mod plans;
mod signup;
mod suspension;
mod users;
pub mod writers;
