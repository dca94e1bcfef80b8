//! Tests that are too slow for every change, in files of their own.

mod rotation_load;
mod schemathesis;
mod suspension_speed;
