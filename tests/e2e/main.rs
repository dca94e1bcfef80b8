//! End-to-end tests: real servers, real processes, real signals. Each can be run alone by its name.
//!
//! A folder a subject; what they have in common is in `world`, and what must hold after every test in `invariants`.

mod api;
mod invariants;
mod jobs;
mod legacy;
mod long;
mod nodes;
mod operations;
mod tenants;
mod world;
