//! The installation that a backup store belongs to. It is named in the file `installation` of the store.
//!
//! **Guarantees.** Two installations that were given the same store by mistake do not list, remove or restore each
//! other's backups: the second one is refused, and the error names both. The first installation that uses a store
//! writes the file. A store that was in use before there was such a file belongs to the installation of its backups.

use super::error::{BackupError, InStore};
use super::manifest::StoredBackup;
use super::store::BackupStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

/// The name of the file.
const FILE: &str = "installation";

/// What a process does with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl BackupStore {
    /// Makes sure that the store belongs to `installation`. It is asked once in the life of the process. A process that
    /// only reads needs no right to write the file.
    pub async fn belongs_to(&self, installation: &str, access: Access) -> Result<(), BackupError> {
        let owner = self.owner.get_or_try_init(|| self.find_owner(installation, access)).await?;
        if owner == installation {
            return Ok(());
        }
        Err(BackupError::Refused(format!(
            "the backup store of BACKUP_STORE belongs to the installation {owner} and not to this one, {installation}: \
             give each installation a directory, bucket or prefix of its own"
        )))
    }

    async fn find_owner(&self, installation: &str, access: Access) -> Result<String, BackupError> {
        let path: Path = self.prefix.parts().chain([FILE.into()]).collect();
        if let Some(owner) = self.read_owner(&path).await? {
            return Ok(owner);
        }
        let owner = match self.owner_of_backups().await? {
            Some(owner) if owner != installation => return Ok(owner),
            _ => installation.to_owned(),
        };
        let text = || owner.clone().into_bytes().into();
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&path, text(), create).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {}
            // Not every compatible server knows conditional writes.
            Err(_) => match self.objects.put(&path, text()).await {
                Err(_) if access == Access::Read => return Ok(owner),
                written => drop(written.in_store(|| format!("writing {path}"))?),
            },
        }
        Ok(self.read_owner(&path).await?.unwrap_or(owner))
    }

    async fn read_owner(&self, path: &Path) -> Result<Option<String>, BackupError> {
        match self.objects.get(path).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            read => {
                let read = async { read?.bytes().await };
                let bytes = read.await.in_store(|| format!("reading {path}"))?;
                Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
            }
        }
    }

    /// The installation of a backup in the store that can be read.
    async fn owner_of_backups(&self) -> Result<Option<String>, BackupError> {
        let whole = self.whole(None).await?;
        for (subject, backup_id) in whole.iter().rev() {
            match StoredBackup::read(self, subject, backup_id).await {
                Ok(stored) => return Ok(Some(stored.manifest.installation)),
                Err(BackupError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::process::config::Settings;

    /// Not even the superuser can make a file in this directory.
    const READ_ONLY: &str = "file:///proc/self/ns";

    #[tokio::test]
    async fn a_store_that_cannot_be_written_can_still_be_read() {
        let store = || {
            let settings = Settings::from_pairs([("BACKUP_STORE".to_owned(), READ_ONLY.to_owned())]);
            BackupStore::needed(&settings).unwrap()
        };
        store().belongs_to("i1", Access::Read).await.unwrap();
        let refused = store().belongs_to("i1", Access::Write).await.unwrap_err();
        assert!(matches!(&refused, BackupError::Store { doing, .. } if doing.contains("installation")), "{refused:?}");
    }
}
