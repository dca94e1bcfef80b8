//! Why work on a database server failed, and whether another attempt may succeed.

use kernel::database;
use kernel::database::sql::Unquotable;
use kernel::jobs;

/// Why work on a database server failed.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The server's own error, or none at all came back. [`ServerError::reason`] says it in our words.
    #[error("the database server failed")]
    Database(#[from] sqlx::Error),
    /// A name or literal cannot be written into a statement.
    #[error(transparent)]
    Name(#[from] Unquotable),
    /// The server is older than what the product needs.
    #[error("database server {server} is too old ({version}): MariaDB 10.6 or MySQL 8.0 is needed")]
    TooOld {
        /// Its id.
        server: String,
        /// What it says of itself.
        version: String,
    },
    /// Another session still holds the lock although its connection was killed.
    #[error("the lock {lock} is held by a session that cannot be ended")]
    LockHeld {
        /// Name of the lock.
        lock: String,
    },
    /// Killed sessions are still in the process list.
    #[error("sessions of the database user {username} do not end")]
    SessionsRemain {
        /// The user.
        username: String,
    },
    /// `DROP DATABASE` succeeded and the database is still listed.
    #[error("database {database} is still there after it was dropped")]
    NotDropped { database: String },
    /// There is no such database.
    #[error("database {database} is missing")]
    Missing { database: String },
    /// The database is there, without the ownership marker of the tenant it should belong to.
    #[error("database {database} does not carry the ownership marker of tenant {tenant_id}")]
    NotOwned { database: String, tenant_id: String },
    /// A newer program has migrated the database.
    #[error(
        "the database of tenant {tenant_id} has schema {found}, newer than schema {known}, which this program knows"
    )]
    NewerSchema {
        tenant_id: String,
        /// Schema of the database.
        found: u32,
        /// Newest schema of this program.
        known: u32,
    },
    /// The text of an applied migration is not what it was.
    #[error("a tenant migration up to schema {schema} was changed after the database of tenant {tenant_id} had it")]
    MigrationChanged {
        tenant_id: String,
        /// Schema of the database.
        schema: u32,
    },
}

impl ServerError {
    /// Whether another attempt may succeed.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Database(error) if mentions(error, "--strict-password-validation") => false,
            Self::Database(error) => jobs::is_transient(error) || !is_known_to_last(error),
            Self::LockHeld { .. } | Self::SessionsRemain { .. } | Self::NotDropped { .. } => true,
            // A restore or a move may be bringing it back.
            Self::Missing { .. } | Self::NotOwned { .. } => true,
            Self::Name(_) | Self::TooOld { .. } | Self::NewerSchema { .. } | Self::MigrationChanged { .. } => false,
        }
    }

    /// The reason for the operator: our own words, without host names or statements. The server's words are in the log.
    pub fn reason(&self, server: &str) -> String {
        let Self::Database(error) = self else { return self.to_string() };
        if database::is_unreachable(error) {
            return format!("database server {server} cannot be reached");
        }
        match database::number(error) {
            Some(1021 | 1041 | 1114 | 1005 | 1030 | 3) => format!("database server {server} has no space left"),
            Some(1044 | 1045 | 1142 | 1227 | 1410) => {
                format!(
                    "the administrator's account of database server {server} lacks a right or its password is wrong"
                )
            }
            Some(1418 | 1419) => format!(
                "database server {server} lets only SUPER make triggers and functions: \
                 set log_bin_trust_function_creators = 1 there"
            ),
            Some(1290) if mentions(error, "--strict-password-validation") => format!(
                "database server {server} takes no hashes of passwords, because a plugin checks their strength: \
                 set strict_password_validation = OFF there"
            ),
            Some(1290) if mentions(error, "--read-only") || mentions(error, "--super-read-only") => {
                format!("database server {server} is read only (read_only = ON)")
            }
            Some(1819) => format!(
                "database server {server} checks the strength of passwords, and refuses the hash of a generated one: \
                 exempt accounts with hashes from the check, or remove it"
            ),
            Some(1205 | 1213 | 1020) => format!("database server {server} is busy with the same rows or tables"),
            Some(number) => format!("database server {server} refused a statement (error {number})"),
            None => format!("database server {server} gave an answer that was not understood"),
        }
    }
}

/// Whether the server's message names an option.
fn mentions(error: &sqlx::Error, option: &str) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.message().contains(option))
}

/// Every other error is tried again: the number of attempts is bounded, while a wrong verdict would be final.
fn is_known_to_last(error: &sqlx::Error) -> bool {
    matches!(
        database::number(error),
        Some(
            1021 | 1041
                | 1114
                | 1005
                | 1030
                | 3
                | 1044
                | 1045
                | 1142
                | 1227
                | 1410
                | 1418
                | 1419
                | 1064
                | 1102
                | 1049
                | 1819
        )
    )
}
