//! The old database, and the one moment of it that several connections read.
//!
//! **Guarantees.** Only `rollback` writes to the source. All connections of a [`Snapshot`] see the same committed rows:
//! they begin their transactions while every table is locked against writing, for some milliseconds. If the account may
//! not lock, the snapshot has one connection and says so. Sessions read in UTC and show dates as they are.
//!
//! **Design note.** `LOCK TABLES ... READ` is tried first. It waits for open transactions on these tables and holds up
//! no other client. `FLUSH TABLES WITH READ LOCK` stops a whole server, which may hold the destination too.

use super::LegacyError;
use super::error::is_denied;
use crate::tables::Doing;
use crate::tables::schema;
use crate::tables::schema::Tables;
use crate::tables::session::{begin_reading, begin_snapshot};
use kernel::database::{self, sql};
use kernel::process::config::Settings;
use secrecy::SecretString;
use serde::Serialize;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Connection, Executor, MySqlConnection};
use std::time::Duration;

/// Attempts to lock. Each waits 5 s for open transactions, and writers queue up behind it meanwhile.
const ATTEMPTS: u32 = 3;

/// Where the old database is.
pub struct Source {
    url: SecretString,
    options: MySqlConnectOptions,
    pub database: String,
    /// `host:port/database`: reported to the operator, and compared by later commands.
    pub name: String,
}

impl Source {
    /// Reads the setting `LEGACY_DB_URL`.
    pub fn from_settings(settings: &Settings) -> Result<Self, LegacyError> {
        let url = settings.secret("LEGACY_DB_URL")?;
        let options =
            database::options(&url).map_err(|error| kernel::process::config::wrong("LEGACY_DB_URL", error))?;
        let Some(database) = options.get_database().map(str::to_owned) else {
            return Err(kernel::process::config::wrong(
                "LEGACY_DB_URL",
                "it names no database: mysql://user:password@host:port/database",
            )
            .into());
        };
        let name = format!("{}:{}/{database}", options.get_host(), options.get_port());
        Ok(Self { url, options, database, name })
    }

    /// Connects a session that reads values without loss.
    pub async fn connect(&self) -> Result<MySqlConnection, LegacyError> {
        let mut connection = database::connect(&self.options).await.map_err(|error| {
            let why = match database::number(&error) {
                Some(1044 | 1045 | 1049) => "the server refuses this account, or has no such database".to_owned(),
                _ => error.to_string(),
            };
            LegacyError::Refused(format!("the source (LEGACY_DB_URL, {}) cannot be reached: {why}", self.name))
        })?;
        begin_reading(&mut connection).await?;
        Ok(connection)
    }

    /// Connects several such sessions.
    pub async fn connect_all(&self, number: usize) -> Result<Vec<MySqlConnection>, LegacyError> {
        let mut connections = Vec::with_capacity(number);
        for _ in 0..number {
            connections.push(self.connect().await?);
        }
        Ok(connections)
    }

    /// The URL with its password, for the program that takes the dump.
    pub fn url(&self) -> &SecretString {
        &self.url
    }

    /// Host and port, for the same program.
    pub fn options(&self) -> &MySqlConnectOptions {
        &self.options
    }

    pub async fn tables(&self, connection: &mut MySqlConnection) -> Result<Tables, LegacyError> {
        Ok(schema::read(connection, &self.database).await?)
    }
}

/// How the connections of a snapshot came to see the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Under a short lock of its tables.
    TablesLocked,
    /// Under a short lock of its server.
    ServerLocked,
    /// Without a lock, because there is one connection.
    OneConnection,
}

/// One moment of the source.
pub struct Snapshot {
    pub readers: Vec<MySqlConnection>,
    pub how: How,
    /// The connection that holds the locks of the tables, until the snapshot is released.
    held: Option<MySqlConnection>,
}

impl Snapshot {
    /// Takes a snapshot with up to `readers` connections. Waits for transactions that are open in the source.
    pub async fn take(source: &Source, tables: &[String], readers: usize) -> Result<Self, LegacyError> {
        let mut lock = source.connect().await?;
        let how = match lock_tables(&mut lock, tables).await {
            Err(error) if may_do_without(&error) => match lock.execute("FLUSH TABLES WITH READ LOCK").await {
                Err(error) if may_do_without(&error) => How::OneConnection,
                locked => {
                    locked.doing(|| "locking the source for a moment".into())?;
                    How::ServerLocked
                }
            },
            locked => {
                locked.doing(|| "locking the source's tables for a moment".into())?;
                How::TablesLocked
            }
        };
        let readers = begin(source, if how == How::OneConnection { 1 } else { readers }).await?;
        let _ = lock.execute("UNLOCK TABLES").await;
        let _ = lock.close().await;
        Ok(Self { readers, how, held: None })
    }

    /// Takes a snapshot and locks the tables against writing until the snapshot is released or the process ends.
    pub async fn take_and_hold(source: &Source, tables: &[String], readers: usize) -> Result<Self, LegacyError> {
        let mut lock = source.connect().await?;
        lock_tables(&mut lock, tables).await.map_err(|error| {
            LegacyError::Stopped(if is_denied(&error) {
                "the source's tables cannot be locked for the final pass: \
                 the account of LEGACY_DB_URL needs LOCK TABLES"
                    .into()
            } else {
                format!("the source's tables cannot be locked for the final pass: {error}")
            })
        })?;
        Ok(Self { readers: begin(source, readers).await?, how: How::TablesLocked, held: Some(lock) })
    }

    /// Fails if the lock of the tables was lost with its connection, for then the source may have changed.
    pub async fn verify_held(&mut self) -> Result<(), LegacyError> {
        let lost = || {
            LegacyError::Stopped(
                "the lock of the source's tables was lost meanwhile: the connection that held it has ended".into(),
            )
        };
        let lock = self.held.as_mut().ok_or_else(lost)?;
        lock.ping().await.map_err(|_| lost())
    }

    /// Unlocks the tables and closes all connections.
    pub async fn release(mut self) {
        if let Some(mut lock) = self.held.take() {
            let _ = lock.execute("UNLOCK TABLES").await;
            let _ = lock.close().await;
        }
        for reader in self.readers {
            let _ = reader.close().await;
        }
    }
}

fn may_do_without(error: &sqlx::Error) -> bool {
    // The account may not lock, or a transaction stays open for longer than other clients should be held up.
    is_denied(error) || database::is_contention(error)
}

async fn lock_tables(lock: &mut MySqlConnection, tables: &[String]) -> Result<(), sqlx::Error> {
    let mut list = Vec::with_capacity(tables.len());
    for table in tables {
        let name = sql::identifier(table).map_err(|error| sqlx::Error::Configuration(error.into()))?;
        list.push(format!("{name} READ"));
    }
    let statement = format!("LOCK TABLES {}", list.join(", "));
    for attempt in 1.. {
        match lock.execute(statement.as_str()).await {
            Ok(_) => return Ok(()),
            Err(error) if database::is_contention(&error) && attempt < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error),
        }
    }
    unreachable!("the loop ends by returning")
}

async fn begin(source: &Source, readers: usize) -> Result<Vec<MySqlConnection>, LegacyError> {
    let mut connections = Vec::with_capacity(readers);
    for _ in 0..readers.max(1) {
        let mut connection = source.connect().await?;
        begin_snapshot(&mut connection).await?;
        connections.push(connection);
    }
    Ok(connections)
}
