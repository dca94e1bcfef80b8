//! The way of a dump into the store: compressed (zstd), sealed in chunks, sent in parts. Memory is bounded by two parts.

use super::error::{BackupError, InStore};
use kernel::crypto::{CHUNK, Chunks, DataKey};
use object_store::buffered::BufWriter;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use zstd::stream::write::Encoder;

/// zstd's own default: a third of the size, faster than a disk.
const LEVEL: i32 = 3;

/// See the module.
pub struct Sink {
    encoder: Encoder<'static, Vec<u8>>,
    chunks: Chunks,
    upload: BufWriter,
    digest: Sha256,
    dump_bytes: u64,
    stored_bytes: u64,
}

/// What was stored.
pub struct Stored {
    /// Bytes of the dump.
    pub dump_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// SHA-256 of these, in hexadecimal digits.
    pub sha256: String,
}

impl Sink {
    /// Into `upload`, under a key of its own.
    pub fn new(upload: BufWriter, key: &DataKey, backup_id: &str) -> Result<Self, BackupError> {
        let encoder = Encoder::new(Vec::with_capacity(2 * CHUNK), LEVEL)?;
        let chunks = Chunks::new(key, backup_id);
        Ok(Self { encoder, chunks, upload, digest: Sha256::new(), dump_bytes: 0, stored_bytes: 0 })
    }

    /// A statement. It becomes one line, whatever is in it.
    pub async fn statement(&mut self, statement: &str) -> Result<(), BackupError> {
        use std::io::Write;
        self.encoder.write_all(statement.as_bytes())?;
        self.encoder.write_all(b";\n")?;
        self.dump_bytes += statement.len() as u64 + 2;
        // One byte stays, so that the last chunk is never an empty one after a full one.
        while self.encoder.get_ref().len() > CHUNK {
            let rest = self.encoder.get_mut().split_off(CHUNK);
            let full = std::mem::replace(self.encoder.get_mut(), rest);
            Self::send(&mut self.chunks, &mut self.upload, &mut self.digest, &mut self.stored_bytes, &full, false)
                .await?;
        }
        Ok(())
    }

    async fn send(
        chunks: &mut Chunks,
        upload: &mut BufWriter,
        digest: &mut Sha256,
        stored: &mut u64,
        plain: &[u8],
        last: bool,
    ) -> Result<(), BackupError> {
        let sealed = chunks.seal(plain, last);
        digest.update(&sealed);
        *stored += sealed.len() as u64;
        kernel::process::failpoint::hit("backup.chunk").await;
        upload.put(sealed.into()).await.in_store(|| "writing into the backup store".into())
    }

    /// The end: the data is in the store.
    pub async fn finish(self) -> Result<Stored, BackupError> {
        let Self { encoder, mut chunks, mut upload, mut digest, dump_bytes, mut stored_bytes } = self;
        let rest = encoder.finish()?;
        let mut parts = rest.chunks(CHUNK).peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            Self::send(&mut chunks, &mut upload, &mut digest, &mut stored_bytes, part, last).await?;
        }
        upload.shutdown().await?;
        Ok(Stored { dump_bytes, stored_bytes, sha256: hex::encode(digest.finalize()) })
    }

    /// Gives it up: nothing stays in the store.
    pub async fn abort(mut self) {
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(cause = %error, "what a backup had stored before it failed could not be removed; prune does that");
        }
    }
}
