//! End-to-end tests: real servers, real processes, real signals. Each can be run alone by its name.
//!
//! Each folder has one subject. `world` has what the tests have in common, and `invariants` what must hold after every
//! test.

mod api;
mod invariants;
mod jobs;
mod legacy;
mod long;
mod nodes;
mod operations;
mod tenants;
mod world;
