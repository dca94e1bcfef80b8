//! `provisioner backup reseal`: seals the keys of all backups with the primary key of the ring.

use crate::backup::{BackupError, StoredBackup, catalogue};
use crate::commands::setup::Setup;
use crate::exit;
use kernel::error::chain;
use std::process::ExitCode;

pub async fn run(setup: &Setup) -> Result<ExitCode, BackupError> {
    let (mut resealed, mut all_open) = (0, true);
    for (subject, backup_id) in setup.backups.whole(None).await? {
        let mut stored = StoredBackup::read(&setup.backups, &subject, &backup_id).await?;
        match stored.reseal(&setup.backups, &setup.keys).await {
            Ok(changed) => resealed += u32::from(changed),
            Err(error @ BackupError::Damaged(_)) => {
                eprintln!("does not open: {}", chain(&error));
                all_open = false;
                continue;
            }
            Err(error) => return Err(error),
        }
        catalogue::add(&mut *setup.store.pool().acquire().await?, &stored.manifest, stored.key_id()).await?;
    }
    setup.keys.report_count(setup.store.pool()).await?;
    eprintln!("sealed the keys of {resealed} backups with {}", setup.keys.primary_id());
    Ok(exit::checked(all_open))
}
