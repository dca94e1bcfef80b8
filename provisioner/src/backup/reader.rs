//! The way back: out of the store, opened chunk by chunk, decompressed, statement by statement.
//!
//! Nothing is given on that was not opened: a changed, cut or exchanged file ends with an error that names it and the chunk. The data
//! is asked for in ranges, so a slow database on the other end makes no connection of the store wait.

use super::error::BackupError;
use super::manifest::StoredBackup;
use super::store::{BackupStore, Subject};
use kernel::crypto::{CHUNK, Chunks, KeyRing, TAG};
use sha2::{Digest, Sha256};
use std::io::Write;
use zstd::stream::write::Decoder;

/// Chunks asked for at once.
const AT_ONCE: u64 = 16;
/// Sealed bytes of a whole chunk.
const SEALED: u64 = (CHUNK + TAG) as u64;
/// Compressed bytes decompressed at once: what comes out is bounded too.
const PIECE: usize = 4096;

/// See the module.
pub struct Reader<'a> {
    store: &'a BackupStore,
    subject: Subject,
    backup_id: String,
    chunks: Chunks,
    size: u64,
    read: u64,
    /// Read and not opened yet.
    sealed: Vec<u8>,
    /// Opened, and not decompressed yet.
    opened: Vec<u8>,
    used: usize,
    decoder: Decoder<'static, Vec<u8>>,
    digest: Sha256,
    expected: String,
}

impl<'a> Reader<'a> {
    /// Begins to read a backup.
    pub async fn open(
        store: &'a BackupStore,
        keys: &KeyRing,
        subject: &Subject,
        kept: &StoredBackup,
    ) -> Result<Self, BackupError> {
        let key = kept.open(keys)?;
        let backup_id = kept.manifest.backup_id.clone();
        let size = store.data_size(subject, &backup_id).await?;
        if size != kept.manifest.stored_bytes {
            return Err(BackupError::Damaged(format!(
                "{} has {size} bytes and not the {} that were written",
                store.data_name(subject, &backup_id),
                kept.manifest.stored_bytes
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
            expected: kept.manifest.stored_sha256.clone(),
        })
    }

    /// Bytes of the stored data that were read.
    pub fn bytes(&self) -> u64 {
        self.read
    }

    /// The next statement, without its end; `None`: all of them were read.
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

    /// Opens the next chunk; `false` at the end, which has been checked then.
    async fn next_chunk(&mut self) -> Result<bool, BackupError> {
        if self.sealed.is_empty() {
            if self.read == self.size {
                return if self.chunks.next() == 0 { Err(self.damaged("is empty")) } else { Ok(false) };
            }
            let to = (self.read + AT_ONCE * SEALED).min(self.size);
            self.sealed = self.store.read_data(&self.subject, &self.backup_id, self.read..to).await?;
            if self.sealed.len() as u64 != to - self.read {
                return Err(self.damaged("was not given whole"));
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
