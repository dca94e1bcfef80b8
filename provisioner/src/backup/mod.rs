//! Backups of tenants and of the system database, and the way back.
//!
//! Read it in the order of the data: [`take`] -> [`dump`] (one moment of a database, as SQL; [`objects`]: what is no table) -> [`sink`] (compressed, sealed in chunks) ->
//! [`store`] (a directory or S3) -> [`manifest`] (what is in it; written last) -> [`reader`] -> [`load`] (into an empty database, and
//! compared). [`catalogue`] is the list in the system database, [`choice`] finds the backup that is meant, [`job`] says what a job is about;
//! the steps that replace a tenant's data are [`crate::sagas`]'s.
//!
//! **Guarantees.** A backup is one moment of a database in service. It is whole or it is none. Nobody reads it without the key ring, and
//! nobody changes, cuts or exchanges it unnoticed. What is restored was compared, table by table, with what was backed up before
//! anybody is served from it.

pub mod catalogue;
mod choice;
pub mod dump;
mod error;
mod job;
pub mod load;
mod manifest;
mod prune;
mod reader;
mod restore_system;
mod sink;
mod store;
mod take;

pub use choice::choose;
pub use error::BackupError;
pub use job::BackupJob;
pub use manifest::{Manifest, StoredBackup};
pub use prune::{Retention, UNFINISHED_HOURS, prune};
pub use reader::Reader;
pub use restore_system::{next_steps, restore as restore_system};
pub use store::{BackupStore, Subject};
pub use take::Taker;
