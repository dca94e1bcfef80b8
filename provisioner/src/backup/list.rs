//! `provisioner backup list`: what the store has.

use super::catalogue;
use super::command::Setting;
use super::error::{BackupError, FOUND};
use super::manifest::{Kept, Manifest};
use super::store::Subject;
use kernel::error::chain;
use serde::Serialize;
use std::process::ExitCode;

#[derive(Serialize)]
struct Entry {
    backup_id: String,
    tenant_id: Option<String>,
    /// `whole`, `unfinished` or `unreadable`.
    state: &'static str,
    /// The key of the ring that opens it.
    key_id: Option<String>,
    /// Bytes in the store.
    stored_bytes: Option<u64>,
    /// What it says of itself, if it is whole.
    manifest: Option<Manifest>,
}

/// Lists, and makes the catalogue what the store says.
pub async fn run(setting: &Setting, of: Option<&Subject>, json: bool) -> Result<ExitCode, BackupError> {
    if let Err(error) = catalogue::sync(setting.store.pool(), &setting.backups).await {
        // The list is what somebody wants who has lost the system database.
        eprintln!("warning: the catalogue in the system database was not brought up to date: {}", chain(&error));
    }
    let mut entries = Vec::new();
    let mut well = true;
    for ((subject, backup_id), files) in setting.backups.list(of).await? {
        let tenant_id = Some(subject.column().to_owned()).filter(|id| !id.is_empty());
        let (state, kept) = match files.manifest {
            false => ("unfinished", None),
            true => match Kept::read(&setting.backups, &subject, &backup_id).await {
                Ok(kept) => ("whole", Some(kept)),
                Err(error @ BackupError::Damaged(_)) => {
                    eprintln!("warning: {}", chain(&error));
                    well = false;
                    ("unreadable", None)
                }
                Err(error) => return Err(error),
            },
        };
        if !json {
            match &kept {
                Some(kept) => println!("{}  key {}", line(&kept.manifest), kept.key_id()),
                None => println!("{backup_id}  {subject}  {state}"),
            }
        }
        let key_id = kept.as_ref().map(|kept| kept.key_id().to_owned());
        let manifest = kept.map(|kept| kept.manifest);
        entries.push(Entry { backup_id, tenant_id, state, key_id, stored_bytes: files.data, manifest });
    }
    if json {
        println!("{}", serde_json::to_string(&entries).unwrap_or_default());
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// A backup in a line.
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
