#![doc = include_str!("README.md")]

mod checks;
mod command;
mod cutover;
mod design;
mod destination;
mod direction;
mod error;
mod generation;
mod import;
mod mapping;
mod members;
mod next_keys;
mod parallel;
mod plan;
mod prepare;
mod rollback;
mod shut;
mod source;
mod source_dump;
mod state;
mod status;
mod switch;
mod sync;
mod system_database;
mod table_plan;
mod verify;
mod written;

pub use command::{Options, run};
pub use error::LegacyError;
