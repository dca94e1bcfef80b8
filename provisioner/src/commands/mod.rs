//! The commands `provisioner backup` and `provisioner restore`, which an operator runs.
//!
//! They stand above jobs and backups: a restore is a job, and the command works on it itself, so that it needs no
//! running provisioner.

mod backup;
mod restore;
mod setup;

pub use backup::{BackupOptions, run as run_backup};
pub use restore::{RestoreOptions, run as run_restore};
