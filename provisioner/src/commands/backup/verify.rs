//! `provisioner backup verify`: reads whole backups and opens every chunk.

use crate::backup::{BackupError, StoredBackup, Subject, load};
use crate::commands::setup::Setup;
use crate::exit;
use kernel::error::chain;
use serde::Serialize;
use std::process::ExitCode;

#[derive(Serialize)]
struct Verified {
    backup_id: String,
    tenant_id: Option<String>,
    /// What is wrong; null if nothing is.
    error: Option<String>,
}

pub async fn run(setup: &Setup, of: Option<&Subject>, json: bool) -> Result<ExitCode, BackupError> {
    let mut results = Vec::new();
    for (subject, backup_id) in setup.backups.whole(of).await? {
        let checked = async {
            let stored = StoredBackup::read(&setup.backups, &subject, &backup_id).await?;
            load::verify(&setup.backups, &setup.keys, &subject, &stored).await
        };
        let error = match checked.await {
            Ok(_) => None,
            Err(error @ (BackupError::Damaged(_) | BackupError::Stream(_))) => Some(chain(&error)),
            Err(error) => return Err(error),
        };
        if !json {
            println!("{backup_id}  {subject}: {}", error.as_deref().unwrap_or("whole"));
        }
        results.push(Verified { backup_id, tenant_id: subject.tenant_id(), error });
    }
    if json {
        println!("{}", serde_json::to_string(&results).unwrap_or_default());
    }
    Ok(exit::checked(results.iter().all(|result| result.error.is_none())))
}
