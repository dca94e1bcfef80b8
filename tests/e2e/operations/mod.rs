//! What an operator relies on: starts, upgrades, outages, keys, metrics, repairs, and the files of `deploy/`.

mod accounts;
mod alerts;
pub mod audit;
mod deployment;
mod documents;
mod health;
mod health_share;
mod idle;
mod keys;
mod many_tenants;
mod metrics;
mod migrations;
mod newer_version;
mod outages;
mod rebuild;
mod rolling;
mod runbooks;
mod schema;
mod secrets;
mod settings;
mod start;
mod tls;
mod traces;
mod verify_log;
