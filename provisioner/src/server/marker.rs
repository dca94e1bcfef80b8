//! The ownership marker. It says in the database itself which tenant of which installation owns the database, and which
//! schema the database has.
//!
//! Without it a leftover, an import or another installation's database of the same name would be taken for the tenant's
//! own, and dropped. On MariaDB the marker is the database's comment, set by the statement that creates the database.
//! MySQL has no such comment. There the marker is the comment of a table that is made right after the database, and a
//! database without the table is the tenant's only if it is empty and an earlier attempt of the same job may have
//! created it.

use super::{Dialect, ServerError, Session};
use kernel::database::{self, migrate, sql};
use kernel::domain::TenantId;
use sha2::{Digest, Sha256};
use sqlx::{Executor, MySqlConnection};

/// The table that carries the marker on MySQL.
pub const MARKER_TABLE: &str = "_ownership";

/// Stands in place of the checksum while the database is a copy in progress.
const COPY: &str = "copy";

/// What an ownership marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Id of the installation.
    pub installation: String,
    /// The tenant that owns the database.
    pub tenant_id: TenantId,
    /// Newest tenant migration that was applied completely; 0 for none.
    pub schema: u32,
    /// Short digest of the migrations up to that one, which shows when a file was changed after it had been applied.
    pub sum: String,
}

impl Marker {
    /// The marker of a database without a schema yet.
    pub fn new(installation: &str, tenant_id: &TenantId) -> Self {
        Self { installation: installation.to_owned(), tenant_id: tenant_id.clone(), schema: 0, sum: sum(0) }
    }

    /// The marker of a database of this owner with the migrations up to `schema`.
    pub fn at(owner: &Self, schema: u32) -> Self {
        Self { schema, sum: sum(schema), ..owner.clone() }
    }

    /// The marker of a copy that is not complete, which nodes must not use.
    pub fn of_copy(&self) -> Self {
        Self { schema: 0, sum: COPY.into(), ..self.clone() }
    }

    /// Whether it is the marker of an incomplete copy.
    pub fn is_copy(&self) -> bool {
        self.sum == COPY
    }

    /// The marker after all migrations of this program.
    pub fn migrated(&self) -> Self {
        Self::at(self, migrate::tenant_schema())
    }

    /// Whether the schema is that of this program. It is an error if a migration was changed after it had been applied,
    /// or if the database is newer than this program.
    pub fn is_current(&self) -> Result<bool, ServerError> {
        if self.schema > migrate::tenant_schema() {
            let (tenant_id, known) = (self.tenant_id.to_string(), migrate::tenant_schema());
            return Err(ServerError::NewerSchema { tenant_id, found: self.schema, known });
        }
        if self.sum != sum(self.schema) {
            let (tenant_id, schema) = (self.tenant_id.to_string(), self.schema);
            return Err(ServerError::MigrationChanged { tenant_id, schema });
        }
        Ok(self.schema == migrate::tenant_schema())
    }

    /// Whether both markers name the same owner.
    pub fn is_of(&self, other: &Self) -> bool {
        self.installation == other.installation && self.tenant_id == other.tenant_id
    }

    fn text(&self) -> String {
        let Self { installation, tenant_id, schema, sum } = self;
        format!("installation={installation};tenant={tenant_id};schema={schema};sum={sum}")
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(';').map(|field| field.split_once('='));
        let mut next = |name: &str| match fields.next() {
            Some(Some((field, value))) if field == name => Some(value.to_owned()),
            _ => None,
        };
        Some(Self {
            installation: next("installation")?,
            tenant_id: next("tenant")?.parse().ok()?,
            schema: next("schema")?.parse().ok()?,
            sum: next("sum")?,
        })
    }
}

fn sum(schema: u32) -> String {
    let mut hash = Sha256::new();
    for migration in migrate::tenant().iter().filter(|migration| migration.version <= i64::from(schema)) {
        hash.update(migration.checksum.as_ref());
    }
    hex::encode(&hash.finalize()[..8])
}

/// What there is under the name of a database.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// There is no such database.
    Absent,
    /// A database with an ownership marker.
    Marked(Marker),
    /// A database without an ownership marker.
    Unmarked {
        /// Whether it has no tables.
        empty: bool,
    },
}

impl Session {
    /// What there is under this name.
    pub async fn find(&mut self, name: &str) -> Result<Found, ServerError> {
        let dialect = self.dialect;
        find(self.connection(), dialect, name).await
    }

    /// The marker of a database that must carry one of this owner.
    pub async fn find_own(&mut self, name: &str, owner: &Marker) -> Result<Marker, ServerError> {
        let (database, tenant_id) = (name.to_owned(), owner.tenant_id.to_string());
        match self.find(name).await? {
            Found::Marked(marker) if marker.is_of(owner) => Ok(marker),
            Found::Absent => Err(ServerError::Missing { database }),
            Found::Marked(_) | Found::Unmarked { .. } => Err(ServerError::NotOwned { database, tenant_id }),
        }
    }

    /// Creates the database with its marker. `false`: a database of this name exists.
    pub async fn create_database(&mut self, database: &str, marker: &Marker) -> Result<bool, ServerError> {
        let (name, comment) = (sql::identifier(database)?, sql::literal(&marker.text())?);
        let charset = "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci";
        let created = match self.dialect {
            Dialect::MariaDb => self.execute(&format!("CREATE DATABASE {name} {charset} COMMENT {comment}")).await,
            Dialect::MySql => self.execute(&format!("CREATE DATABASE {name} {charset}")).await,
        };
        match created {
            Ok(()) => {}
            Err(ServerError::Database(error)) if database::number(&error) == Some(1007) => return Ok(false),
            Err(error) => return Err(error),
        }
        if self.dialect == Dialect::MySql {
            self.set_marker(database, marker).await?;
        }
        Ok(true)
    }

    /// Writes the marker of an existing database.
    pub async fn set_marker(&mut self, database: &str, marker: &Marker) -> Result<(), ServerError> {
        let (name, comment) = (sql::identifier(database)?, sql::literal(&marker.text())?);
        match self.dialect {
            Dialect::MariaDb => self.execute(&format!("ALTER DATABASE {name} COMMENT {comment}")).await,
            Dialect::MySql => {
                let table = sql::identifier(MARKER_TABLE)?;
                self.execute(&format!(
                    "CREATE TABLE IF NOT EXISTS {name}.{table} (id TINYINT PRIMARY KEY) COMMENT {comment};
                     ALTER TABLE {name}.{table} COMMENT {comment}"
                ))
                .await
            }
        }
    }

    /// Drops the database, if its marker names this owner. Any other database of this name is left alone, except an
    /// empty one on MySQL that an earlier attempt of the job may have made (`may_be_ours`).
    pub async fn drop_database(
        &mut self,
        database: &str,
        owner: &Marker,
        may_be_ours: bool,
    ) -> Result<(), ServerError> {
        match self.find(database).await? {
            Found::Marked(marker) if marker.is_of(owner) => {}
            Found::Unmarked { empty: true } if self.dialect == Dialect::MySql && may_be_ours => {}
            Found::Absent | Found::Marked(_) | Found::Unmarked { .. } => return Ok(()),
        }
        self.execute(&format!("DROP DATABASE IF EXISTS {}", sql::identifier(database)?)).await?;
        match self.find(database).await? {
            Found::Absent => Ok(()),
            _ => Err(ServerError::NotDropped { database: database.to_owned() }),
        }
    }

    /// Names of the tables in the database, without that of the marker.
    pub async fn tables(&mut self, name: &str) -> Result<Vec<String>, ServerError> {
        tables(self.connection(), name).await
    }
}

/// What there is under the name of a database, over any connection of an administrator.
pub async fn find(connection: &mut MySqlConnection, dialect: Dialect, name: &str) -> Result<Found, ServerError> {
    let comment = match dialect {
        Dialect::MariaDb => "SELECT SCHEMA_COMMENT FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?",
        Dialect::MySql => {
            "SELECT COALESCE((SELECT TABLE_COMMENT FROM information_schema.TABLES
                              WHERE TABLE_SCHEMA = SCHEMA_NAME AND TABLE_NAME = '_ownership'), '')
             FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?"
        }
    };
    let Some(row) = sqlx::query(comment).bind(name).fetch_optional(&mut *connection).await? else {
        return Ok(Found::Absent);
    };
    if let Some(marker) = Marker::parse(&database::text(&row, 0)?) {
        return Ok(Found::Marked(marker));
    }
    Ok(Found::Unmarked { empty: tables(connection, name).await?.is_empty() })
}

async fn tables(connection: &mut MySqlConnection, name: &str) -> Result<Vec<String>, ServerError> {
    let show = format!("SHOW TABLES FROM {}", sql::identifier(name)?);
    let rows = connection.fetch_all(show.as_str()).await?;
    let names = rows.iter().map(|row| database::text(row, 0)).collect::<Result<Vec<_>, _>>()?;
    Ok(names.into_iter().filter(|name| name != MARKER_TABLE).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_round_trips_and_names_its_owner() {
        let marker = Marker::new("i1", &"acme".parse().unwrap());
        assert_eq!(Marker::parse(&marker.text()), Some(marker.clone()));
        assert!(marker.is_of(&marker.migrated()));
        assert!(!marker.is_of(&Marker::new("i2", &"acme".parse().unwrap())));
        for foreign in ["", "tenant=acme", "installation=i1;tenant=ACME;schema=0;sum=x", "a comment of another program"]
        {
            assert_eq!(Marker::parse(foreign), None);
        }
    }

    #[test]
    fn a_changed_or_newer_schema_is_refused() {
        let marker = Marker::new("i1", &"acme".parse().unwrap());
        assert!(matches!(marker.is_current(), Ok(false)));
        let current = marker.migrated();
        assert!(matches!(current.is_current(), Ok(true)));
        assert!(Marker { sum: "00".into(), ..current.clone() }.is_current().is_err());
        assert!(Marker { schema: 9999, ..current }.is_current().is_err());
    }
}
