//! [`Dialect`]: MariaDB or MySQL. For this program they differ only in how accounts and ownership markers are written.

use sqlx::{Executor, MySqlConnection, Row};
use std::fmt;

/// A kind of database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// MariaDB 10.6 or newer, which has an atomic `CREATE TABLE`.
    MariaDb,
    /// MySQL 8.0 or newer, which has atomic DDL.
    MySql,
}

impl Dialect {
    /// Asks the server for its version. The inner `Err` holds the version if it is too old.
    pub async fn of(connection: &mut MySqlConnection) -> Result<Result<(Self, String), String>, sqlx::Error> {
        let version: String = connection.fetch_one("SELECT VERSION()").await?.try_get(0)?;
        Ok(Self::parse(&version).map(|dialect| (dialect, version.clone())).ok_or(version))
    }

    fn parse(version: &str) -> Option<Self> {
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
        let (major, minor) = (numbers.next()?, numbers.next()?);
        let (dialect, least) =
            if version.contains("MariaDB") { (Self::MariaDb, (10, 6)) } else { (Self::MySql, (8, 0)) };
        ((major, minor) >= least).then_some(dialect)
    }

    /// The text in `saas_database_servers.dialect`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::MySql => "mysql",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_supported_from_the_first_with_atomic_ddl() {
        for (version, dialect) in [
            ("10.11.19-MariaDB-0+deb12u1", Some(Dialect::MariaDb)),
            ("11.8.2-MariaDB", Some(Dialect::MariaDb)),
            ("10.5.29-MariaDB", None),
            ("8.0.43", Some(Dialect::MySql)),
            ("9.7.0-1", Some(Dialect::MySql)),
            ("5.7.44-log", None),
            ("x", None),
        ] {
            assert_eq!(Dialect::parse(version), dialect, "{version}");
        }
    }
}
