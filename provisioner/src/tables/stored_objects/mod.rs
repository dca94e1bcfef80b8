//! What a database holds besides tables: views, routines, triggers and scheduled events. Our schema has none; whoever works on
//! a tenant's database may have made some.
//!
//! **Guarantees.** What is read is made again with the same text, `sql_mode`, collations and time zone, and read once more: it is the
//! same, or it is an error. The definer is whoever restores, because the former one may not exist on the server, and a view whose definer is
//! missing answers nobody: so what a tenant's own account could read through a view it can read again. Nothing is made that names
//! another tenant's database, which the new definer could reach and the former one perhaps could not.

mod create;
mod definer;
mod read;

pub use create::{compare, complete, create, drop_all};
pub use read::read;

use kernel::database::sql::{self, Unquotable};
use kernel::domain::DATABASE_PREFIX;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// What it is, as in `DROP`: `VIEW`, `PROCEDURE`, `FUNCTION`, `PACKAGE`, `PACKAGE BODY`, `TRIGGER`, `EVENT`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The statement that makes it, without a definer.
    pub statement: String,
    /// The mode its text is to be read in; a view's text is the server's own.
    pub sql_mode: Option<String>,
    /// Collation of the session that made it: its literals are of this.
    pub collation: String,
    /// Collation that its database had then: its parameters are of this.
    pub database_collation: Option<String>,
    /// Time zone of a scheduled event's times.
    pub time_zone: Option<String>,
    /// Who made it. Not brought back.
    pub definer: Option<String>,
}

/// What a manifest says of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectContent {
    /// See [`StoredObject::kind`].
    pub kind: String,
    /// Its name.
    pub name: String,
    /// SHA-256 of what makes it what it is.
    pub checksum: String,
}

/// What there is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// In an order in which they can be made.
    pub all: Vec<StoredObject>,
    /// Views that answer nobody any more: they could not be made again.
    pub broken: Vec<String>,
}

impl StoredObject {
    /// What a manifest says of it.
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

    /// As a statement for a client of the server, which must be told where it ends.
    pub fn for_a_client(&self) -> Result<String, Unquotable> {
        Ok(format!("{};\nDELIMITER ;;\n{};;\nDELIMITER ;", self.session()?, self.statement))
    }

    /// The session to make it in.
    fn session(&self) -> Result<String, Unquotable> {
        let mut session = format!("SET SESSION collation_connection = {}", sql::literal(&self.collation)?);
        for (variable, value) in [("sql_mode", &self.sql_mode), ("time_zone", &self.time_zone)] {
            if let Some(value) = value {
                let _ = write!(session, ", SESSION {variable} = {}", sql::literal(value)?);
            }
        }
        Ok(session)
    }

    /// A name of another tenant's database in its text, if there is one. `database` is the tenant's own.
    fn stranger(&self, database: &str) -> Option<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let text = self.statement.to_ascii_lowercase();
        let found = text.match_indices(DATABASE_PREFIX).map(|(at, _)| {
            let rest = &text[at..];
            &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())]
        });
        found.filter(|name| *name != database).map(str::to_owned).next()
    }

    /// A one-time event whose time is over is not there after it was made.
    fn may_pass(&self) -> bool {
        self.kind == "EVENT" && self.statement.contains(" ON SCHEDULE AT ")
    }
}

impl std::fmt::Display for StoredObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.to_ascii_lowercase(), self.name)
    }
}

#[cfg(test)]
mod tests;
