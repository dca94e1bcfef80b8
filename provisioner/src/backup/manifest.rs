//! What a backup says about itself.
//!
//! A manifest can be read without a key, so that an operator can see which backups there are. The key ring seals the
//! data key for exactly this manifest ([`Purpose::Backup`] with its SHA-256), so a changed or exchanged manifest makes
//! the key unusable. Sealing the data key again under another key of the ring changes nothing else.

use super::error::BackupError;
use super::store::{BackupStore, Subject};
use crate::tables::stored_objects::ObjectContent;
use chrono::{DateTime, Utc};
use kernel::crypto::{CryptoError, DataKey, KeyRing, Purpose};
use kernel::domain::Position;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// The only format so far.
const FORMAT: u32 = 1;

/// What is in a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Its id. The ids of a subject are in the order of time.
    pub backup_id: String,
    /// The installation that took it.
    pub installation: String,
    /// Whose data it holds. `None` for the system database.
    pub tenant_id: Option<String>,
    /// The moment of its data, by the clock of the database server.
    pub taken_at: DateTime<Utc>,
    /// When all its data was in the store.
    pub finished_at: DateTime<Utc>,
    /// Head of the event log before that moment: the data contains the effect of every event up to it.
    pub position: Position,
    /// The database server that it was taken from.
    pub server: String,
    /// The kind of that server. The other kind cannot load its rows.
    pub dialect: String,
    /// The version of that server.
    pub server_version: String,
    /// The newest migration of the data.
    pub schema_version: u32,
    pub tables: Vec<TableContent>,
    /// Views, routines, triggers and scheduled events.
    #[serde(default)]
    pub objects: Vec<ObjectContent>,
    /// Objects that are not in the backup because they could not be created again. Older backups left out others too.
    pub left_out: Vec<String>,
    /// Bytes of the dump before compression.
    pub dump_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// SHA-256 of the data in the store.
    pub stored_sha256: String,
}

/// Rows and checksum of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableContent {
    pub name: String,
    pub rows: u64,
    /// The checksum of its rows that [`crate::tables::transfer`] defines.
    pub checksum: String,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    /// The sealed data key.
    key: String,
    manifest: Box<RawValue>,
}

/// A backup in the store: its manifest and its sealed data key.
pub struct StoredBackup {
    pub manifest: Manifest,
    envelope: Envelope,
    name: String,
}

impl Manifest {
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Whose data it holds.
    pub fn subject(&self) -> Option<Subject> {
        Subject::from_column(self.tenant_id.as_deref().unwrap_or_default())
    }

    /// Writes the manifest, which makes the backup whole.
    pub async fn write(&self, store: &BackupStore, keys: &KeyRing, data_key: &DataKey) -> Result<(), BackupError> {
        let manifest = RawValue::from_string(serde_json::to_string(self).map_err(std::io::Error::from)?)
            .map_err(std::io::Error::from)?;
        let digest = digest(&manifest);
        let purpose = Purpose::Backup { backup_id: &self.backup_id, digest: &digest };
        let envelope = Envelope { format: FORMAT, key: keys.seal(purpose, data_key.bytes())?, manifest };
        let subject = self.subject().ok_or_else(|| BackupError::Refused("a tenant's id is no id".into()))?;
        let text = serde_json::to_string(&envelope).map_err(std::io::Error::from)?;
        store.put_manifest(&subject, &self.backup_id, text).await
    }
}

impl StoredBackup {
    /// Reads the manifest of a backup.
    pub async fn read(store: &BackupStore, subject: &Subject, backup_id: &str) -> Result<Self, BackupError> {
        let name = store.manifest_name(subject, backup_id);
        let bytes = store.manifest(subject, backup_id).await?;
        let damaged = |why: &str| BackupError::Damaged(format!("the manifest {name} {why}"));
        let envelope: Envelope = serde_json::from_slice(&bytes).map_err(|_| damaged("cannot be read"))?;
        if envelope.format != FORMAT {
            return Err(damaged("is of another version of this program"));
        }
        let manifest: Manifest =
            serde_json::from_str(envelope.manifest.get()).map_err(|_| damaged("cannot be read"))?;
        if manifest.backup_id != backup_id || manifest.subject().as_ref() != Some(subject) {
            return Err(damaged("belongs to another backup"));
        }
        Ok(Self { manifest, envelope, name })
    }

    /// The id of the key of the ring that sealed its data key.
    pub fn key_id(&self) -> &str {
        KeyRing::id_in(&self.envelope.key).unwrap_or_default()
    }

    /// Opens the data key. This proves that the manifest was not changed.
    pub fn open(&self, keys: &KeyRing) -> Result<DataKey, BackupError> {
        let digest = digest(&self.envelope.manifest);
        let purpose = Purpose::Backup { backup_id: &self.manifest.backup_id, digest: &digest };
        let key = keys.open(purpose, &self.envelope.key).map_err(|error| {
            let (name, key) = (&self.name, self.key_id());
            BackupError::Damaged(match error {
                CryptoError::UnknownKey => {
                    format!("{name} needs the encryption key {key}, which is not in ENCRYPTION_KEYS")
                }
                _ => format!(
                    "{name} does not open with the encryption key {key}: the manifest was changed, \
                     or {key} in ENCRYPTION_KEYS is another key"
                ),
            })
        })?;
        Ok(DataKey::from_bytes(key)?)
    }

    /// Seals the data key with the primary key of the ring. Returns `false` if it is sealed with that key already.
    pub async fn reseal(&mut self, store: &BackupStore, keys: &KeyRing) -> Result<bool, BackupError> {
        if self.key_id() == keys.primary_id() {
            return Ok(false);
        }
        let data_key = self.open(keys)?;
        self.seal(store, keys, &data_key).await?;
        Ok(true)
    }

    async fn seal(&mut self, store: &BackupStore, keys: &KeyRing, data_key: &DataKey) -> Result<(), BackupError> {
        let digest = digest(&self.envelope.manifest);
        let purpose = Purpose::Backup { backup_id: &self.manifest.backup_id, digest: &digest };
        self.envelope.key = keys.seal(purpose, data_key.bytes())?;
        let text = serde_json::to_string(&self.envelope).map_err(std::io::Error::from)?;
        let subject = self.manifest.subject().ok_or_else(|| {
            BackupError::Damaged(format!("{} names no tenant and not the system database", self.name))
        })?;
        store.put_manifest(&subject, &self.manifest.backup_id, text).await
    }
}

fn digest(manifest: &RawValue) -> String {
    hex::encode(Sha256::digest(manifest.get().as_bytes()))
}
