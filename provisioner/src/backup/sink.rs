//! Writes a dump to the store: compresses it (zstd), seals it in chunks and sends it in parts. Memory is bounded by two
//! parts.

use super::error::{BackupError, InStore};
use kernel::crypto::{CHUNK, Chunks, DataKey};
use object_store::buffered::BufWriter;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use zstd::stream::write::Encoder;

/// The default of zstd: a third of the size, and faster than a disk.
const LEVEL: i32 = 3;

/// Writes the data of one backup.
pub struct Sink {
    encoder: Encoder<'static, Vec<u8>>,
    chunks: Chunks,
    upload: BufWriter,
    digest: Sha256,
    dump_bytes: u64,
    stored_bytes: u64,
}

/// What a sink has written.
pub struct Stored {
    pub dump_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// SHA-256 of the bytes in the store, in hexadecimal digits.
    pub sha256: String,
}

impl Sink {
    /// Begins to write into `upload`, sealed with `key`.
    pub fn new(upload: BufWriter, key: &DataKey, backup_id: &str) -> Result<Self, BackupError> {
        let encoder = Encoder::new(Vec::with_capacity(2 * CHUNK), LEVEL)?;
        let chunks = Chunks::new(key, backup_id);
        Ok(Self { encoder, chunks, upload, digest: Sha256::new(), dump_bytes: 0, stored_bytes: 0 })
    }

    /// Writes a statement as one line.
    pub async fn statement(&mut self, statement: &str) -> Result<(), BackupError> {
        use std::io::Write;
        self.encoder.write_all(statement.as_bytes())?;
        self.encoder.write_all(b";\n")?;
        self.dump_bytes += statement.len() as u64 + 2;
        // One byte stays, so that the last chunk is never empty.
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

    /// Writes the rest. Then all data is in the store.
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

    /// Gives up and leaves nothing in the store.
    pub async fn abort(mut self) {
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(cause = %error, "the data of a failed backup was not removed; the next prune removes it");
        }
    }
}
