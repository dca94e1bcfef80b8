//! The backup store: a directory, or a bucket of an S3-compatible server.
//!
//! | file | what it is |
//! |---|---|
//! | `tenants/TENANT/BACKUP.data`, `system/BACKUP.data` | the dump: SQL, compressed, sealed in chunks |
//! | `.../BACKUP.manifest` | what is in it, and its sealed key; written last, so data without a manifest is no backup |
//! | `installation` | the id of the installation that the store belongs to |
//!
//! A file appears whole or not at all: in a directory by a rename after it is on the disk, in S3 by the completion of
//! an upload.

use super::error::{BackupError, InStore};
use futures::TryStreamExt;
use kernel::domain::TenantId;
use kernel::process::config::{ConfigError, Settings, wrong};
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OnceCell;
use url::Url;

/// Bytes of a part. S3 accepts 10,000 parts, which is 80 GB of compressed data.
const PART: usize = 8 << 20;
/// Parts that are sent at once.
const PARTS: usize = 2;

/// Whose data a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    System,
    Tenant(TenantId),
}

impl Subject {
    /// Its value of the column `saas_backups.tenant_id`.
    pub fn column(&self) -> &str {
        match self {
            Self::System => "",
            Self::Tenant(tenant_id) => tenant_id.as_str(),
        }
    }

    /// The subject of a value of that column.
    pub fn from_column(text: &str) -> Option<Self> {
        if text.is_empty() { Some(Self::System) } else { text.parse().ok().map(Self::Tenant) }
    }

    /// The tenant's id, if it is a tenant.
    pub fn tenant_id(&self) -> Option<String> {
        match self {
            Self::System => None,
            Self::Tenant(tenant_id) => Some(tenant_id.to_string()),
        }
    }

    fn folder(&self) -> String {
        match self {
            Self::System => "system".into(),
            Self::Tenant(tenant_id) => format!("tenants/{tenant_id}"),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System => f.write_str("the system database"),
            Self::Tenant(tenant_id) => write!(f, "tenant {tenant_id}"),
        }
    }
}

/// The files of a backup.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files {
    /// Whether it has a manifest, and so is whole.
    pub manifest: bool,
    /// Bytes of its data.
    pub data: Option<u64>,
    /// When its newest file was written, by the clock of the store.
    pub written: Option<chrono::DateTime<chrono::Utc>>,
}

/// The backup store of an installation. Cheap to clone.
#[derive(Clone)]
pub struct BackupStore {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) prefix: Path,
    directory: Option<PathBuf>,
    /// The installation that it belongs to, once that is known ([`super::owner`]).
    pub(super) owner: Arc<OnceCell<String>>,
}

impl BackupStore {
    /// The store that the settings `BACKUP_...` name. `None` if `BACKUP_STORE` is empty.
    pub fn from_settings(settings: &Settings) -> Result<Option<Self>, ConfigError> {
        let text: String = settings.get("BACKUP_STORE")?;
        if text.is_empty() {
            return Ok(None);
        }
        let unfit = |reason: &dyn std::fmt::Display| wrong("BACKUP_STORE", reason);
        let url = Url::parse(&text).map_err(|_| unfit(&"file:///directory or s3://bucket/prefix"))?;
        match url.scheme() {
            "file" => {
                let directory = url.to_file_path().map_err(|()| unfit(&"file:///directory with three slashes"))?;
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&directory)
                    .map_err(|error| unfit(&format!("the directory cannot be made: {error}")))?;
                let files = LocalFileSystem::new_with_prefix(&directory)
                    .map_err(|error| unfit(&format!("the directory cannot be used: {error}")))?;
                let objects = Arc::new(files.with_fsync(true));
                Ok(Some(Self { objects, prefix: Path::default(), directory: Some(directory), owner: Arc::default() }))
            }
            "s3" => {
                let bucket = url.host_str().ok_or_else(|| unfit(&"s3://bucket/prefix names a bucket"))?;
                let region: String = settings.get("BACKUP_S3_REGION")?;
                let endpoint: String = settings.get("BACKUP_S3_ENDPOINT")?;
                let mut s3 = AmazonS3Builder::new()
                    .with_bucket_name(bucket)
                    // Not every compatible server has bulk deletes, and few objects are removed.
                    .with_disable_bulk_delete(true)
                    // A bucket with Object Lock refuses what has no checksum.
                    .with_checksum_algorithm(Checksum::SHA256)
                    .with_region(region)
                    .with_access_key_id(settings.secret("BACKUP_S3_ACCESS_KEY_ID")?.expose_secret())
                    .with_secret_access_key(settings.secret("BACKUP_S3_SECRET_ACCESS_KEY")?.expose_secret());
                if !endpoint.is_empty() {
                    // TLS is left out only if the setting says so.
                    let plain = endpoint.starts_with("http://");
                    s3 = s3.with_endpoint(endpoint).with_allow_http(plain);
                }
                let objects = s3.build().map_err(|error| unfit(&error))?;
                let prefix = Path::parse(url.path().trim_matches('/')).map_err(|error| unfit(&error))?;
                Ok(Some(Self { objects: Arc::new(objects), prefix, directory: None, owner: Arc::default() }))
            }
            _ => Err(unfit(&"file:///directory or s3://bucket/prefix")),
        }
    }

    /// The store, for a command that needs one.
    pub fn needed(settings: &Settings) -> Result<Self, ConfigError> {
        Self::from_settings(settings)?.ok_or_else(|| ConfigError::Missing("BACKUP_STORE".into()))
    }

    fn path(&self, subject: &Subject, backup_id: &str, ending: &str) -> Path {
        let folder = subject.folder();
        let parts = self.prefix.parts().map(|part| part.as_ref().to_owned());
        let all = parts.chain(folder.split('/').map(str::to_owned)).chain([format!("{backup_id}.{ending}")]);
        all.collect()
    }

    /// The name of a backup's data file, for messages.
    pub fn data_name(&self, subject: &Subject, backup_id: &str) -> String {
        self.path(subject, backup_id, "data").to_string()
    }

    /// The name of a backup's manifest, for messages.
    pub fn manifest_name(&self, subject: &Subject, backup_id: &str) -> String {
        self.path(subject, backup_id, "manifest").to_string()
    }

    /// A new data file. It appears when the writer is shut down.
    pub fn write_data(&self, subject: &Subject, backup_id: &str) -> BufWriter {
        let path = self.path(subject, backup_id, "data");
        BufWriter::with_capacity(Arc::clone(&self.objects), path, PART).with_max_concurrency(PARTS)
    }

    /// Reads a range of the data.
    pub async fn read_data(
        &self,
        subject: &Subject,
        backup_id: &str,
        range: Range<u64>,
    ) -> Result<Vec<u8>, BackupError> {
        let path = self.path(subject, backup_id, "data");
        let read = self.objects.get_range(&path, range).await.in_store(|| format!("reading {path}"))?;
        Ok(read.to_vec())
    }

    /// The size of the data in bytes.
    pub async fn data_size(&self, subject: &Subject, backup_id: &str) -> Result<u64, BackupError> {
        let path = self.path(subject, backup_id, "data");
        Ok(self.objects.head(&path).await.in_store(|| format!("reading {path}"))?.size)
    }

    /// Writes the manifest, or replaces it.
    pub async fn put_manifest(&self, subject: &Subject, backup_id: &str, text: String) -> Result<(), BackupError> {
        let path = self.path(subject, backup_id, "manifest");
        self.objects.put(&path, text.into_bytes().into()).await.in_store(|| format!("writing {path}")).map(drop)
    }

    pub async fn manifest(&self, subject: &Subject, backup_id: &str) -> Result<Vec<u8>, BackupError> {
        let path = self.path(subject, backup_id, "manifest");
        let read = async { self.objects.get(&path).await?.bytes().await };
        Ok(read.await.in_store(|| format!("reading {path}"))?.to_vec())
    }

    /// Removes a backup. It removes the manifest first, so that a kill leaves no backup without data.
    pub async fn remove(&self, subject: &Subject, backup_id: &str) -> Result<(), BackupError> {
        if kernel::process::failpoint::fails(&format!("prune.remove.{backup_id}")) {
            return Err(BackupError::Stream(std::io::Error::other("the file was made to stay")));
        }
        for ending in ["manifest", "data"] {
            let path = self.path(subject, backup_id, ending);
            match self.objects.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(BackupError::Store { doing: format!("removing {path}"), source }),
            }
        }
        Ok(())
    }

    /// All backups of one subject or of every subject, whole or not, by subject and in the order of time.
    pub async fn list(&self, of: Option<&Subject>) -> Result<BTreeMap<(Subject, String), Files>, BackupError> {
        let folder: Path = match of {
            Some(subject) => self.path(subject, "x", "x").parts().take(self.depth(subject)).collect(),
            None => self.prefix.clone(),
        };
        let whole = (folder != Path::default()).then_some(&folder);
        let mut listed = self.objects.list(whole);
        let mut found: BTreeMap<_, Files> = BTreeMap::new();
        while let Some(object) = listed.try_next().await.in_store(|| "listing the backup store".into())? {
            let Some((subject, backup_id, ending)) = self.parse(&object.location) else { continue };
            let files = found.entry((subject, backup_id)).or_default();
            match ending {
                Ending::Manifest => files.manifest = true,
                Ending::Data => files.data = Some(object.size),
            }
            files.written = files.written.max(Some(object.last_modified));
        }
        Ok(found)
    }

    /// The backups that are whole, of one subject or of every subject, in the order of [`BackupStore::list`].
    pub async fn whole(&self, of: Option<&Subject>) -> Result<Vec<(Subject, String)>, BackupError> {
        let whole = self.list(of).await?.into_iter().filter(|(_, files)| files.manifest);
        Ok(whole.map(|(key, _)| key).collect())
    }

    fn depth(&self, subject: &Subject) -> usize {
        self.prefix.parts().count() + subject.folder().split('/').count()
    }

    fn parse(&self, path: &Path) -> Option<(Subject, String, Ending)> {
        let parts: Vec<String> = path.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        let (subject, file) = match parts.as_slice() {
            [system, file] if system == "system" => (Subject::System, file),
            [tenants, tenant, file] if tenants == "tenants" => (Subject::Tenant(tenant.parse().ok()?), file),
            _ => return None,
        };
        let (backup_id, ending) = file.rsplit_once('.')?;
        let ending = match ending {
            "manifest" => Ending::Manifest,
            "data" => Ending::Data,
            _ => return None,
        };
        Some((subject, backup_id.to_owned(), ending))
    }

    /// The directory of the store, if it is not S3.
    pub fn directory(&self) -> Option<&std::path::Path> {
        self.directory.as_deref()
    }
}

#[derive(Clone, Copy)]
enum Ending {
    Manifest,
    Data,
}
