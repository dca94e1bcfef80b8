//! `provisioner backup list`: shows the backups in the store.

use crate::backup::catalogue::{self, Writer};
use crate::backup::{BackupError, Manifest, StoredBackup, Subject};
use crate::commands::setup::Setup;
use crate::exit;
use kernel::error::chain;
use serde::Serialize;
use std::process::ExitCode;

#[derive(Serialize)]
struct Entry {
    backup_id: String,
    tenant_id: Option<String>,
    /// `whole`, `unfinished` or `unreadable`.
    state: &'static str,
    /// The id of the key that opens it.
    key_id: Option<String>,
    /// Bytes in the store.
    stored_bytes: Option<u64>,
    /// Its manifest, if it is whole.
    manifest: Option<Manifest>,
}

/// Lists the backups, and makes the catalogue agree with the store.
pub async fn run(setup: &Setup, of: Option<&Subject>, json: bool) -> Result<ExitCode, BackupError> {
    if let Err(error) = catalogue::agree(&setup.store, &setup.backups, Writer::Command, false).await {
        // An operator who has lost the system database needs the list all the same.
        eprintln!("warning: the catalogue in the system database was not brought up to date: {}", chain(&error));
    }
    let mut entries = Vec::new();
    let mut well = true;
    for ((subject, backup_id), files) in setup.backups.list(of).await? {
        let tenant_id = subject.tenant_id();
        let (state, stored) = match files.manifest {
            false => ("unfinished", None),
            true => match StoredBackup::read(&setup.backups, &subject, &backup_id).await {
                Ok(stored) => ("whole", Some(stored)),
                Err(error @ BackupError::Damaged(_)) => {
                    eprintln!("warning: {}", chain(&error));
                    well = false;
                    ("unreadable", None)
                }
                Err(error) => return Err(error),
            },
        };
        if !json {
            match &stored {
                Some(stored) => println!("{}  key {}", line(&stored.manifest), stored.key_id()),
                None => println!("{backup_id}  {subject}  {state}"),
            }
        }
        let key_id = stored.as_ref().map(|stored| stored.key_id().to_owned());
        let manifest = stored.map(|stored| stored.manifest);
        entries.push(Entry { backup_id, tenant_id, state, key_id, stored_bytes: files.data, manifest });
    }
    if json {
        println!("{}", serde_json::to_string(&entries).unwrap_or_default());
    }
    Ok(exit::checked(well))
}

/// A backup as one line.
pub fn line(manifest: &Manifest) -> String {
    let subject = manifest.subject().map_or_else(String::new, |subject| subject.to_string());
    format!(
        "{}  {subject}  {} tables, {} rows, {} bytes (of {}), up to event {}",
        manifest.backup_id,
        manifest.tables.len(),
        manifest.rows(),
        manifest.stored_bytes,
        manifest.dump_bytes,
        manifest.position
    )
}
