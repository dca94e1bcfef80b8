//! End-to-end tests: real servers, real processes, real signals. Each can be run alone by its name.

mod bad_input;
mod creation;
mod deletion;
mod history;
mod invariants;
mod isolation;
mod keys;
mod kill_points;
mod migrations;
mod outages;
mod past;
mod positions;
mod readme;
mod rebuild;
mod rotation;
mod schedules;
mod schema;
mod secrets;
mod session_tokens;
mod staleness;
mod suspension;
mod tokens;
mod two_hundred;
mod user_routes;
mod verify_log;
mod world;
