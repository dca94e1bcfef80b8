//! Reads a backup from the store: opens it chunk by chunk, decompresses it and returns statement by statement.
//!
//! The reader returns only data that it has opened. A changed, cut or exchanged file ends with an error that names the
//! file and the chunk. The reader requests the data in ranges, so a slow database does not keep a connection to the
//! store waiting.

use super::error::BackupError;
use super::manifest::StoredBackup;
use super::store::{BackupStore, Subject};
use kernel::crypto::{CHUNK, Chunks, KeyRing, TAG};
use sha2::{Digest, Sha256};
use std::io::Write;
use zstd::stream::write::Decoder;

/// Chunks of one request.
const AT_ONCE: u64 = 16;
/// Bytes of a sealed chunk.
const SEALED: u64 = (CHUNK + TAG) as u64;
/// Compressed bytes that are decompressed at once, so that the result is bounded too.
const PIECE: usize = 4096;

/// Reads one backup.
pub struct Reader<'a> {
    store: &'a BackupStore,
    subject: Subject,
    backup_id: String,
    chunks: Chunks,
    size: u64,
    read: u64,
    /// Chunks that were read and not opened yet.
    sealed: Vec<u8>,
    /// The opened chunk, of which `used` bytes are decompressed.
    opened: Vec<u8>,
    used: usize,
    decoder: Decoder<'static, Vec<u8>>,
    digest: Sha256,
    expected: String,
}

impl<'a> Reader<'a> {
    /// Opens the data key and begins to read.
    pub async fn open(
        store: &'a BackupStore,
        keys: &KeyRing,
        subject: &Subject,
        stored: &StoredBackup,
    ) -> Result<Self, BackupError> {
        let key = stored.open(keys)?;
        let backup_id = stored.manifest.backup_id.clone();
        let size = store.data_size(subject, &backup_id).await?;
        if size != stored.manifest.stored_bytes {
            return Err(BackupError::Damaged(format!(
                "{} has {size} bytes and not the {} that were written",
                store.data_name(subject, &backup_id),
                stored.manifest.stored_bytes
            )));
        }
        Ok(Self {
            chunks: Chunks::new(&key, &backup_id),
            store,
            subject: subject.clone(),
            backup_id,
            size,
            read: 0,
            sealed: Vec::new(),
            opened: Vec::new(),
            used: 0,
            decoder: Decoder::new(Vec::new())?,
            digest: Sha256::new(),
            expected: stored.manifest.stored_sha256.clone(),
        })
    }

    /// Bytes that were read from the store.
    pub fn bytes(&self) -> u64 {
        self.read
    }

    /// The next statement, without its semicolon. `None` after the last one.
    pub async fn statement(&mut self) -> Result<Option<String>, BackupError> {
        let mut searched = 0;
        loop {
            let found = self.decoder.get_ref()[searched..].iter().position(|byte| *byte == b'\n');
            if let Some(at) = found.map(|at| searched + at) {
                let rest = self.decoder.get_mut().split_off(at + 1);
                let mut line = std::mem::replace(self.decoder.get_mut(), rest);
                line.truncate(at.saturating_sub(1));
                return String::from_utf8(line).map(Some).map_err(|_| self.damaged("holds what is no text"));
            }
            searched = self.decoder.get_ref().len();
            if self.used == self.opened.len() && !self.next_chunk().await? {
                return match searched {
                    0 => Ok(None),
                    _ => Err(self.damaged("ends in the middle of a statement")),
                };
            }
            let piece = PIECE.min(self.opened.len() - self.used);
            self.decoder.write_all(&self.opened[self.used..self.used + piece])?;
            self.decoder.flush()?;
            self.used += piece;
        }
    }

    /// Opens the next chunk. Returns `false` after the last one, when the checksum of all data has been compared.
    async fn next_chunk(&mut self) -> Result<bool, BackupError> {
        if self.sealed.is_empty() {
            if self.read == self.size {
                return if self.chunks.next() == 0 { Err(self.damaged("is empty")) } else { Ok(false) };
            }
            let to = (self.read + AT_ONCE * SEALED).min(self.size);
            self.sealed = self.store.read_data(&self.subject, &self.backup_id, self.read..to).await?;
            if self.sealed.len() as u64 != to - self.read {
                return Err(self.damaged("was not read completely"));
            }
            self.digest.update(&self.sealed);
            self.read = to;
        }
        let rest = self.sealed.split_off(self.sealed.len().min(SEALED as usize));
        let sealed = std::mem::replace(&mut self.sealed, rest);
        let last = self.sealed.is_empty() && self.read == self.size;
        let number = self.chunks.next();
        self.opened =
            self.chunks.open(&sealed, last).map_err(|_| self.damaged(&format!("was changed in its chunk {number}")))?;
        self.used = 0;
        if last && hex::encode(std::mem::take(&mut self.digest).finalize()) != self.expected {
            return Err(self.damaged("has another checksum"));
        }
        Ok(true)
    }

    fn damaged(&self, how: &str) -> BackupError {
        BackupError::Damaged(format!("{} {how}", self.store.data_name(&self.subject, &self.backup_id)))
    }
}
