//! Tests that are too slow for every change.

mod rotation_load;
mod schemathesis;
mod suspension_speed;
