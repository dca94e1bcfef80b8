//! Tables and stored objects of a database: read, checksummed, copied and compared.
//!
//! Backups, restores, moves to another server and the import of the old database all use this one implementation.
//! It knows databases and nothing of tenants, jobs or events.
//!
//! | file | what it does |
//! |---|---|
//! | [`schema`], [`mod@column`], [`definition`] | read what tables a database has; create a table on another server |
//! | [`fitness`] | what a copy cannot bring back |
//! | [`session`] | sessions that neither cut nor convert a value, and snapshots |
//! | [`transfer`] | the statements that read, write, delete and checksum the rows of one table |
//! | [`insert`], [`copy`], [`compare`] | rows as statements; copy them; compare both ends and make them equal |
//! | [`guarded`] | make the far end equal, and leave what others wrote there |
//! | [`database`] | copy and compare a whole database |
//! | [`stored_objects`] | views, routines, triggers and scheduled events |
//! | [`progress`] | report how far long work is |
//!
//! **Guarantees.** A value stays what it was: rows travel as the text that the server gave, in sessions that neither
//! cut nor convert. Two tables with equal checksums have equal rows, whatever their order. Memory is bounded whatever
//! the size of a table.

pub mod column;
pub mod compare;
pub mod copy;
pub mod database;
pub mod definition;
mod error;
pub mod fitness;
pub mod guarded;
pub mod insert;
pub mod progress;
pub mod schema;
pub mod session;
pub mod stored_objects;
pub mod transfer;

pub use error::{Doing, TableError};
