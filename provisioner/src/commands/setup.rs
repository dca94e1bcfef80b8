//! What the commands of backups and restores need of the settings.

use crate::backup::{Access, BackupError, BackupStore};
use crate::tables::Doing;
use kernel::crypto::KeyRing;
use kernel::database;
use kernel::process::config::{Settings, wrong};
use kernel::store::{Store, installation};
use secrecy::SecretString;

/// The backup store, the keys and the system database.
pub struct Setup {
    /// Where backups are stored.
    pub backups: BackupStore,
    /// Seals and opens their keys.
    pub keys: KeyRing,
    /// The system database.
    pub store: Store,
    pub system_url: SecretString,
}

impl Setup {
    /// Reads the settings. Nothing is connected yet.
    pub fn read(settings: &Settings) -> Result<Self, BackupError> {
        let backups = BackupStore::needed(settings)?;
        let keys =
            KeyRing::parse(&settings.secret("ENCRYPTION_KEYS")?).map_err(|error| wrong("ENCRYPTION_KEYS", error))?;
        let system_url = settings.secret("SYSTEM_DB_URL")?;
        let pool = database::pool(&system_url, 4).map_err(|error| wrong("SYSTEM_DB_URL", error))?;
        Ok(Self { backups, keys, store: Store::new(pool), system_url })
    }

    /// Refuses a backup store of another installation. Without a system database nothing is refused: an operator who
    /// has lost it needs the store all the same.
    pub async fn check_owner(&self, access: Access) -> Result<(), BackupError> {
        match self.installation().await {
            Ok(installation) => self.backups.belongs_to(&installation, access).await,
            Err(error) => {
                eprintln!(
                    "warning: whether the backup store is this installation's was not checked: {}",
                    kernel::error::chain(&error)
                );
                Ok(())
            }
        }
    }

    /// This installation's id.
    pub async fn installation(&self) -> Result<String, BackupError> {
        let found = installation::installation_id(self.store.pool()).await;
        Ok(found.doing(|| "reading the system database".into())?)
    }
}
