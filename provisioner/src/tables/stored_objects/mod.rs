//! What a database holds besides tables: views, routines, triggers and scheduled events. The tenant schema has none,
//! but an operator may have created some in a tenant's database.
//!
//! **Guarantees.** An object is created again with the same text, `sql_mode`, collations and time zone, and then read
//! once more. If it differs, that is an error. The restoring account becomes the definer, because the former definer
//! may not exist on the server, and a view without its definer does not work. Through a view, a tenant's account can
//! therefore read again what it could read before. An object that names another tenant's database is refused: the new
//! definer could reach that database, and the former one perhaps could not.

mod comments;
mod create;
mod definer;
mod read;

pub use create::{compare, complete, create, drop_all};
pub use read::read;

use comments::without_comments;
use kernel::database::sql::{self, Unquotable};
use kernel::domain::DATABASE_PREFIX;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// A view, routine, trigger or scheduled event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// The word of `DROP`: `VIEW`, `PROCEDURE`, `FUNCTION`, `PACKAGE`, `PACKAGE BODY`, `TRIGGER`, `EVENT`.
    pub kind: String,
    pub name: String,
    /// The statement that creates it, without a definer.
    pub statement: String,
    /// The SQL mode in which its text is to be read. `None` for a view, whose text is the server's own.
    pub sql_mode: Option<String>,
    /// Collation of the session that created it, and of its literals.
    pub collation: String,
    /// Collation that its database had then, and of its parameters.
    pub database_collation: Option<String>,
    /// Time zone of a scheduled event's times.
    pub time_zone: Option<String>,
    /// The account that created it. It is not restored.
    pub definer: Option<String>,
}

/// What the manifest of a backup says about a stored object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectContent {
    pub kind: String,
    pub name: String,
    /// SHA-256 of its statement and of the settings in which it is read.
    pub checksum: String,
}

/// The stored objects of a database.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// In an order in which they can be created.
    pub all: Vec<StoredObject>,
    /// Views that do not work any more and could not be created again.
    pub broken: Vec<String>,
}

impl StoredObject {
    /// What a manifest says about it.
    pub fn content(&self) -> ObjectContent {
        let mut hash = Sha256::new();
        let options = [&self.sql_mode, &self.database_collation, &self.time_zone];
        let texts = [&self.statement, &self.collation].into_iter().chain(options.into_iter().flatten());
        for text in texts {
            hash.update(text.len().to_le_bytes());
            hash.update(text.as_bytes());
        }
        ObjectContent { kind: self.kind.clone(), name: self.name.clone(), checksum: hex::encode(hash.finalize()) }
    }

    /// Statements for the command-line client of the server, with the delimiters that it needs.
    pub fn for_a_client(&self) -> Result<String, Unquotable> {
        Ok(format!("{};\nDELIMITER ;;\n{};;\nDELIMITER ;", self.session()?, self.statement))
    }

    /// The statement that prepares a session for creating it.
    fn session(&self) -> Result<String, Unquotable> {
        let mut session = format!("SET SESSION collation_connection = {}", sql::literal(&self.collation)?);
        for (variable, value) in [("sql_mode", &self.sql_mode), ("time_zone", &self.time_zone)] {
            if let Some(value) = value {
                let _ = write!(session, ", SESSION {variable} = {}", sql::literal(value)?);
            }
        }
        Ok(session)
    }

    /// Another tenant's database that its text names outside comments. `database` is the tenant's own.
    pub fn other_tenants_database(&self, database: &str) -> Option<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let text = without_comments(&self.statement, self.sql_mode.as_deref()).to_ascii_lowercase();
        let found = text.match_indices(DATABASE_PREFIX).map(|(at, _)| {
            let rest = &text[at..];
            &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())]
        });
        found.filter(|name| *name != database).map(str::to_owned).next()
    }

    /// Whether it may be gone after its creation, as an event is whose time is over.
    fn may_be_gone(&self) -> bool {
        if self.kind != "EVENT" {
            return false;
        }
        // The schedule stands between the name and what becomes of the event at its end.
        let name = format!("`{}`", self.name.replace('`', "``"));
        let rest = self.statement.split_once(&name).map_or(self.statement.as_str(), |(_, rest)| rest);
        let (schedule, end) = rest.split_once(" ON COMPLETION ").unwrap_or((rest, ""));
        !end.starts_with("PRESERVE") && (schedule.contains(" ON SCHEDULE AT ") || schedule.contains(" ENDS "))
    }
}

impl std::fmt::Display for StoredObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.to_ascii_lowercase(), self.name)
    }
}

#[cfg(test)]
mod tests;
