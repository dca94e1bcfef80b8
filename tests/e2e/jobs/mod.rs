//! The work of the provisioner: sagas, and the schedules that request them.

mod account_host;
mod backups;
mod claims;
mod kill_points;
mod lanes;
mod lives;
mod lost_leases;
mod lost_servers;
mod moves;
mod rotation;
pub mod sagas;
mod schedules;
mod schema_migrations;
mod statistics;
