//! What a backup says of itself.
//!
//! The manifest is readable without a key, so that an operator can see what there is. Its data key is sealed by the key ring for
//! this very manifest ([`Purpose::Backup`] with its SHA-256): who changes a word of it, or puts one manifest in the place of
//! another, makes the key unusable. Sealing the key anew under another key of the ring leaves the rest as it is.

use super::error::BackupError;
use super::store::{BackupStore, Subject};
use crate::tables::stored_objects::ObjectContent;
use chrono::{DateTime, Utc};
use kernel::crypto::{CryptoError, DataKey, KeyRing, Purpose};
use kernel::domain::Position;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// The one form there is.
const FORMAT: u32 = 1;

/// What is in a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Its id; ids of a subject are in the order of time.
    pub backup_id: String,
    /// Which installation took it.
    pub installation: String,
    /// Whose data; `None`: the system database.
    pub tenant_id: Option<String>,
    /// The moment its data is of, by the clock of its database server.
    pub taken_at: DateTime<Utc>,
    /// When it was whole.
    pub finished_at: DateTime<Utc>,
    /// Head of the log before that moment: every event up to it is in what the data says.
    pub position: Position,
    /// The database server it is of.
    pub server: String,
    /// Its kind: rows of one kind cannot be loaded into the other.
    pub dialect: String,
    /// Its version.
    pub server_version: String,
    /// Newest migration applied.
    pub schema_version: u32,
    /// Every table.
    pub tables: Vec<TableContent>,
    /// Views, routines, triggers and events.
    #[serde(default)]
    pub objects: Vec<ObjectContent>,
    /// What was there, could not be made again, and is not in the backup; of older backups, also objects that could.
    pub left_out: Vec<String>,
    /// Bytes of the dump before it was compressed.
    pub dump_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// SHA-256 of the data in the store.
    pub stored_sha256: String,
}

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableContent {
    /// Its name.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Sum over its rows, in any order; see [`crate::tables::transfer`].
    pub checksum: String,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    /// The data key, sealed.
    key: String,
    manifest: Box<RawValue>,
}

/// A manifest as it was read, with its sealed key.
pub struct StoredBackup {
    /// What it says.
    pub manifest: Manifest,
    envelope: Envelope,
    name: String,
}

impl Manifest {
    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Whose it is.
    pub fn subject(&self) -> Option<Subject> {
        Subject::from_column(self.tenant_id.as_deref().unwrap_or_default())
    }

    /// Writes it: from here on there is a backup.
    pub async fn keep(&self, store: &BackupStore, keys: &KeyRing, data_key: &DataKey) -> Result<(), BackupError> {
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
            return Err(damaged("is that of another backup"));
        }
        Ok(Self { manifest, envelope, name })
    }

    /// The key of the ring that its data key is sealed with.
    pub fn key_id(&self) -> &str {
        KeyRing::id_in(&self.envelope.key).unwrap_or_default()
    }

    /// Opens the data key, which proves that the manifest is as it was written.
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
                    "{name} does not open with the encryption key {key}: the manifest was changed, or {key} in ENCRYPTION_KEYS \
                     is another key"
                ),
            })
        })?;
        Ok(DataKey::from_bytes(key)?)
    }

    /// Seals the data key with the primary key of the ring. `false`: it is already.
    pub async fn reseal(&mut self, store: &BackupStore, keys: &KeyRing) -> Result<bool, BackupError> {
        if self.key_id() == keys.primary_id() {
            return Ok(false);
        }
        let data_key = self.open(keys)?;
        self.manifest_is(store, keys, &data_key).await?;
        Ok(true)
    }

    async fn manifest_is(
        &mut self,
        store: &BackupStore,
        keys: &KeyRing,
        data_key: &DataKey,
    ) -> Result<(), BackupError> {
        let digest = digest(&self.envelope.manifest);
        let purpose = Purpose::Backup { backup_id: &self.manifest.backup_id, digest: &digest };
        self.envelope.key = keys.seal(purpose, data_key.bytes())?;
        let text = serde_json::to_string(&self.envelope).map_err(std::io::Error::from)?;
        let subject =
            self.manifest.subject().ok_or_else(|| BackupError::Damaged(format!("{} is of nobody", self.name)))?;
        store.put_manifest(&subject, &self.manifest.backup_id, text).await
    }
}

fn digest(manifest: &RawValue) -> String {
    hex::encode(Sha256::digest(manifest.get().as_bytes()))
}
