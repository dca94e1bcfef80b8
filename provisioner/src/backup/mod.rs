//! Backups of tenants and of the system database: taken, stored, checked, loaded and removed.
//!
//! Read it in the order of the data: [`take`] -> [`dump`] (one moment of a database as SQL) -> [`sink`] (compressed,
//! sealed in chunks) -> [`store`] (a directory or S3) -> [`manifest`] (what is in the backup; written last) ->
//! [`reader`] -> [`load`] (into an empty database, and compared). [`catalogue`] is the list of backups in the system
//! database, [`choice`] finds a backup, and [`job`] says which backup a job is about. The steps that replace a tenant's
//! data belong to [`crate::sagas`], and the command line to [`crate::commands`].
//!
//! **Guarantees.** A backup holds one moment of a database in service. It is whole, or it is no backup. It cannot be
//! read without the key ring, and a changed, cut or exchanged file is noticed. Restored data is compared table by table
//! with the backup before a tenant is served from it.

pub mod catalogue;
mod choice;
pub mod dump;
mod error;
mod job;
pub mod load;
mod manifest;
mod owner;
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
pub use owner::Access;
pub use prune::{Retention, UNFINISHED_HOURS, prune};
pub use reader::Reader;
pub use restore_system::{next_steps, restore as restore_system};
pub use store::{BackupStore, Subject};
pub use take::Taker;
