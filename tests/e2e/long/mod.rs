//! Tests that are too slow for every change.

mod announced_changes;
mod many_writers;
mod rotation_load;
mod schemathesis;
mod suspension_speed;
