//! Takes a backup.
//!
//! **Guarantees.** A backup with a manifest is whole, because the manifest is written when all data is in the store.
//! Its data is of one moment of the database, which stays in service. A kill leaves at most data without a manifest:
//! that is no backup, and the next prune removes it. The next attempt is another backup, under another id and key. The
//! caller records the backup in the catalogue.

use super::dump;
use super::error::BackupError;
use super::manifest::Manifest;
use super::sink::Sink;
use super::store::{BackupStore, Subject};
use crate::server::{Dialect, Found, Marker, Server, find};
use crate::tables::schema::Table;
use crate::tables::{Doing, fitness, stored_objects};
use chrono::Utc;
use kernel::crypto::{DataKey, KeyRing};
use kernel::database::{self, migrate};
use kernel::domain::{Position, Tenant};
use kernel::store::Store;
use sqlx::Connection;
use sqlx::mysql::MySqlConnectOptions;

/// Takes backups.
#[derive(Clone, Copy)]
pub struct Taker<'a> {
    /// Where it stores them.
    pub backups: &'a BackupStore,
    /// Seals their keys.
    pub keys: &'a KeyRing,
    pub store: &'a Store,
    /// The id of this installation.
    pub installation: &'a str,
}

/// A database that is backed up.
struct Original {
    subject: Subject,
    options: MySqlConnectOptions,
    database: String,
    server: String,
    schema_version: u32,
}

impl Taker<'_> {
    /// Takes a backup of a tenant's database on `server`.
    pub async fn tenant(&self, server: &Server, tenant: &Tenant) -> Result<Manifest, BackupError> {
        let mut connection = server.connect().await?;
        let dialect = server.learn_dialect(&mut connection).await?;
        let database = tenant.database.name.clone();
        let owner = Marker::new(self.installation, &tenant.tenant_id);
        let marker = match find(&mut connection, dialect, &database).await? {
            Found::Marked(marker) if marker.is_of(&owner) => marker,
            _ => {
                return Err(BackupError::Refused(format!(
                    "tenant {} has no database of its own on server {}",
                    tenant.tenant_id, server.id
                )));
            }
        };
        let _ = tokio::time::timeout(database::ACQUIRE_TIMEOUT, connection.close()).await;
        self.take(Original {
            subject: Subject::Tenant(tenant.tenant_id.clone()),
            options: server.administrator(&database),
            database,
            server: server.id.clone(),
            schema_version: marker.schema,
        })
        .await
    }

    /// Takes a backup of the system database.
    pub async fn system(&self, options: &MySqlConnectOptions) -> Result<Manifest, BackupError> {
        let database = options.get_database().unwrap_or_default().to_owned();
        let schema_version = migrate::SYSTEM.iter().map(|migration| migration.version).max().unwrap_or(0);
        self.take(Original {
            subject: Subject::System,
            options: options.clone(),
            database,
            server: "system".into(),
            schema_version: u32::try_from(schema_version).unwrap_or(0),
        })
        .await
    }

    async fn take(&self, original: Original) -> Result<Manifest, BackupError> {
        let Original { subject, options, database, server, schema_version } = original;
        let mut connection = database::connect(&options).await.doing(|| format!("connecting to {database}"))?;
        let (dialect, server_version) =
            Dialect::of(&mut connection).await.doing(|| "asking the server's version".into())?.map_err(|version| {
                BackupError::Refused(format!(
                    "the database server is too old ({version}): MariaDB 10.6 or MySQL 8.0 is needed"
                ))
            })?;
        dump::begin_reading(&mut connection, &database).await?;
        let before = dump::tables(&mut connection, &database, &subject, dialect.as_str()).await?;
        let locked = dump::lock(&options, &database, &before).await?;
        // Read before the snapshot, so that the snapshot contains the effect of these events.
        let (position,): (u64,) = sqlx::query_as("SELECT position FROM saas_heads WHERE name = 'events'")
            .fetch_one(self.store.pool())
            .await?;
        let taken_at = dump::begin_snapshot(&mut connection).await?;
        let backup_id = format!("{}-{:08x}", taken_at.format("%Y%m%dT%H%M%SZ"), rand::random::<u32>());
        let key = DataKey::generate();
        let present = dump::tables(&mut connection, &database, &subject, dialect.as_str()).await?;
        let unlocked = |(name, table): (&String, &Table)| {
            !table.has_snapshots() && before.get(name).is_none_or(Table::has_snapshots)
        };
        if present.iter().any(unlocked) {
            return Err(BackupError::Changed(database));
        }
        let objects = stored_objects::read(&mut connection, &database).await?;
        fitness::check(&mut connection, dialect, &database, &present, &objects).await?;
        let mut sink = Sink::new(self.backups.write_data(&subject, &backup_id), &key, &backup_id)?;
        let mut tables = Vec::new();
        let dumped = async {
            for object in &objects.all {
                dump::write_object(object, &mut sink).await?;
            }
            let last = present.get_key_value(dump::MIGRATIONS);
            let others = present.iter().filter(|(name, _)| *name != dump::MIGRATIONS);
            for (name, table) in others.chain(last) {
                dump::write(&mut connection, name, table, &mut sink).await?;
                tables.push(dump::content(&mut connection, name, table).await?);
                kernel::process::failpoint::hit("backup.table").await;
            }
            // A snapshot notices changes of tables, but not of stored objects.
            if stored_objects::read(&mut connection, &database).await? != objects {
                return Err(BackupError::Changed(database.clone()));
            }
            Ok(())
        };
        if let Err(error) = dumped.await {
            sink.abort().await;
            return Err(error);
        }
        for connection in locked.into_iter().chain([connection]) {
            let _ = tokio::time::timeout(database::ACQUIRE_TIMEOUT, connection.close()).await;
        }
        kernel::process::failpoint::hit("backup.before_finish").await;
        let stored = sink.finish().await?;
        kernel::process::failpoint::hit("backup.before_manifest").await;
        let manifest = Manifest {
            backup_id,
            installation: self.installation.to_owned(),
            tenant_id: subject.tenant_id(),
            taken_at,
            finished_at: Utc::now(),
            position: Position(position),
            server,
            dialect: dialect.to_string(),
            server_version,
            schema_version,
            tables,
            objects: objects.all.iter().map(stored_objects::StoredObject::content).collect(),
            left_out: objects.broken,
            dump_bytes: stored.dump_bytes,
            stored_bytes: stored.stored_bytes,
            stored_sha256: stored.sha256,
        };
        manifest.write(self.backups, self.keys, &key).await?;
        kernel::process::failpoint::hit("backup.after_manifest").await;
        Ok(manifest)
    }
}
