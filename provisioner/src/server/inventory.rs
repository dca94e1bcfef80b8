//! What is on a server: databases with their ownership markers, users with their rights, and sessions. It only reads.
//!
//! Everything comes from the server's own lists, in the same few statements however many tenants there are. Reading the
//! users needs a right on `mysql.*`. Without it [`Inventory::users`] is `None`, and an audit concludes nothing about
//! users.

use super::account::AccountName;
use super::{Dialect, Marker, ServerError, Session};
use kernel::database;
use sqlx::Row;
use sqlx::mysql::MySqlRow;
use std::collections::{BTreeMap, BTreeSet};

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Users whose names begin with this.
    pub users: &'a str,
    /// One database; `None`: all of them.
    pub database: Option<&'a str>,
}

/// A database on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSeen {
    /// Its ownership marker; `None`: it has none that an installation of this product has written.
    pub marker: Option<Marker>,
    /// Its tables, without that of the marker.
    pub tables: BTreeSet<String>,
}

/// A right, as `(on what, which)`, for example `("ai\_shifu\_tenant\_acme.*", "SELECT")`.
pub type Right = (String, String);

/// A user on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSeen {
    /// Name part of the account.
    pub username: String,
    /// Host part of the account.
    pub host: String,
    /// The server refuses logins as this user.
    pub locked: bool,
    /// Most connections at once; 0: the user has no limit of its own.
    pub max_connections: u32,
    /// Its authentication plugin; `several` on MariaDB if there is more than one.
    pub plugin: String,
    /// The hash that the server stores instead of its password.
    pub hash: Vec<u8>,
    /// Its password has expired or will expire.
    pub expires: bool,
    pub rights: BTreeSet<Right>,
}

/// What is on a server.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// All databases that the administrator's account sees, by name.
    pub databases: BTreeMap<String, DatabaseSeen>,
    /// Users; `None`: the administrator's account may not read them.
    pub users: Option<Vec<UserSeen>>,
    /// Number of sessions by user name, including users that were dropped.
    pub sessions: BTreeMap<String, u32>,
}

impl Session {
    /// Reads everything in `scope`.
    pub async fn inventory(&mut self, scope: Scope<'_>) -> Result<Inventory, ServerError> {
        let databases = self.databases(scope.database).await?;
        let users = match self.users(scope.users).await {
            Err(ServerError::Database(error)) if is_refused(&error) => None,
            users => Some(users?),
        };
        let sessions = self.count_sessions(scope.users).await?;
        Ok(Inventory { databases, users, sessions })
    }

    async fn databases(&mut self, only: Option<&str>) -> Result<BTreeMap<String, DatabaseSeen>, ServerError> {
        let markers = match self.dialect {
            Dialect::MariaDb => "SELECT SCHEMA_NAME, SCHEMA_COMMENT FROM information_schema.SCHEMATA WHERE TRUE",
            Dialect::MySql => {
                "SELECT SCHEMA_NAME, COALESCE(TABLE_COMMENT, '') FROM information_schema.SCHEMATA
                 LEFT JOIN information_schema.TABLES ON TABLE_SCHEMA = SCHEMA_NAME AND TABLE_NAME = '_ownership'
                 WHERE TRUE"
            }
        };
        let tables = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TRUE";
        let (markers, tables) = match only {
            Some(_) => (format!("{markers} AND SCHEMA_NAME = ?"), format!("{tables} AND TABLE_SCHEMA = ?")),
            None => (markers.to_owned(), tables.to_owned()),
        };
        let mut databases = BTreeMap::new();
        for row in self.rows(&markers, only).await? {
            let marker = Marker::parse(&text(&row, 1)?);
            databases.insert(text(&row, 0)?, DatabaseSeen { marker, tables: BTreeSet::new() });
        }
        for row in self.rows(&tables, only).await? {
            let (schema, table) = (text(&row, 0)?, text(&row, 1)?);
            if let Some(database) = databases.get_mut(&schema).filter(|_| table != super::marker::MARKER_TABLE) {
                database.tables.insert(table);
            }
        }
        Ok(databases)
    }

    async fn rows(&mut self, query: &str, bound: Option<&str>) -> Result<Vec<MySqlRow>, ServerError> {
        let query = bound.into_iter().fold(sqlx::query(query), |query, value| query.bind(value.to_owned()));
        Ok(query.persistent(false).fetch_all(self.connection()).await?)
    }

    async fn users(&mut self, prefix: &str) -> Result<Vec<UserSeen>, ServerError> {
        let list = match self.dialect {
            // The provisioner gives a user one way to log in, so a user with several was changed by other hands.
            Dialect::MariaDb => {
                "SELECT User, Host, COALESCE(JSON_VALUE(Priv, '$.account_locked'), '0') IN ('1', 'true'),
                        CAST(COALESCE(JSON_VALUE(Priv, '$.max_user_connections'), '0') AS SIGNED),
                        IF(JSON_EXISTS(Priv, '$.auth_or'), 'several', COALESCE(JSON_VALUE(Priv, '$.plugin'), '')),
                        COALESCE(JSON_VALUE(Priv, '$.authentication_string'), ''),
                        COALESCE(JSON_VALUE(Priv, '$.password_last_changed'), '1') = '0'
                          OR CASE COALESCE(JSON_VALUE(Priv, '$.password_lifetime'), '-1') WHEN '0' THEN FALSE
                             WHEN '-1' THEN @@GLOBAL.default_password_lifetime > 0 ELSE TRUE END
                 FROM mysql.global_priv WHERE LOCATE(?, User) = 1"
            }
            Dialect::MySql => {
                "SELECT User, Host, account_locked = 'Y', CAST(max_user_connections AS SIGNED), plugin,
                        COALESCE(authentication_string, ''), password_expired = 'Y'
                          OR COALESCE(password_lifetime, @@GLOBAL.default_password_lifetime) > 0
                 FROM mysql.user WHERE LOCATE(?, User) = 1"
            }
        };
        let mut users = Vec::new();
        for row in self.rows(list, Some(prefix)).await? {
            users.push(UserSeen {
                username: text(&row, 0)?,
                host: text(&row, 1)?,
                locked: row.try_get_unchecked::<i64, _>(2)? != 0,
                max_connections: u32::try_from(row.try_get_unchecked::<i64, _>(3)?).unwrap_or(0),
                plugin: text(&row, 4)?,
                hash: row.try_get_unchecked(5)?,
                expires: row.try_get_unchecked::<i64, _>(6)? != 0,
                rights: BTreeSet::new(),
            });
        }
        let mut rights = self.rights(prefix).await?;
        for user in &mut users {
            user.rights = rights.remove(&grantee(&user.username, &user.host)).unwrap_or_default();
        }
        Ok(users)
    }

    /// The accounts of these users; `None`: the administrator's account may not read them.
    pub async fn accounts_of(&mut self, usernames: &[String; 2]) -> Result<Option<Vec<AccountName>>, ServerError> {
        let [first, second] = usernames;
        let list = sqlx::query("SELECT User, Host FROM mysql.user WHERE User IN (?, ?)").bind(first).bind(second);
        let rows = match list.persistent(false).fetch_all(self.connection()).await {
            Err(error) if is_refused(&error) => return Ok(None),
            rows => rows?,
        };
        let named = rows.iter().map(|row| Ok(AccountName { username: text(row, 0)?, host: text(row, 1)? }));
        named.collect::<Result<_, ServerError>>().map(Some)
    }

    async fn rights(&mut self, prefix: &str) -> Result<BTreeMap<String, BTreeSet<Right>>, ServerError> {
        let roles = match self.dialect {
            Dialect::MariaDb => "SELECT User AS u, Host AS h, CONCAT('role ', Role) AS o FROM mysql.roles_mapping",
            Dialect::MySql => {
                "SELECT TO_USER AS u, TO_HOST AS h, CONCAT('role ', FROM_USER) AS o FROM mysql.role_edges"
            }
        };
        let named = format!(
            "SELECT u, h, o FROM ({roles}
             UNION ALL SELECT User, Host, CONCAT('routine ', Db, '.', Routine_name) FROM mysql.procs_priv
             UNION ALL SELECT User, Host, CONCAT('proxy of ', Proxied_user) FROM mysql.proxies_priv) named
             WHERE LOCATE(?, u) = 1"
        );
        let mut found: BTreeMap<String, BTreeSet<Right>> = BTreeMap::new();
        for row in self.rows(&named, Some(prefix)).await? {
            let right = (text(&row, 2)?, "USE".to_owned());
            found.entry(grantee(&text(&row, 0)?, &text(&row, 1)?)).or_default().insert(right);
        }
        for (list, on) in [
            ("USER_PRIVILEGES", "'*.*'"),
            ("SCHEMA_PRIVILEGES", "CONCAT(TABLE_SCHEMA, '.*')"),
            ("TABLE_PRIVILEGES", "CONCAT(TABLE_SCHEMA, '.', TABLE_NAME)"),
            ("COLUMN_PRIVILEGES", "CONCAT(TABLE_SCHEMA, '.', TABLE_NAME, '.', COLUMN_NAME)"),
        ] {
            let list = format!(
                "SELECT GRANTEE, {on}, PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.{list}
                 WHERE LOCATE(?, GRANTEE) = 2"
            );
            for row in self.rows(&list, Some(prefix)).await? {
                let rights = found.entry(text(&row, 0)?).or_default();
                let (on, right) = (text(&row, 1)?, text(&row, 2)?);
                if text(&row, 3)? == "YES" {
                    rights.insert((on.clone(), "GRANT OPTION".into()));
                }
                if right != "USAGE" {
                    rights.insert((on, right));
                }
            }
        }
        Ok(found)
    }

    /// What every user has rights on, through an anonymous user, `PUBLIC` or a mandatory role.
    pub async fn open_to_all(&mut self) -> Result<Vec<String>, ServerError> {
        let everybody = match self.dialect {
            Dialect::MariaDb => {
                "SELECT '*.*' FROM mysql.global_priv
                 WHERE User IN ('', 'PUBLIC') AND COALESCE(JSON_VALUE(Priv, '$.access'), '0') <> '0'"
            }
            Dialect::MySql => {
                "SELECT CONCAT('role ', @@GLOBAL.mandatory_roles) FROM (SELECT 1 AS one) o
                 WHERE @@GLOBAL.mandatory_roles <> ''"
            }
        };
        let query = format!(
            "{everybody}
             UNION ALL SELECT CONCAT(Db, '.*') FROM mysql.db WHERE User IN ('', 'PUBLIC')
             UNION ALL SELECT CONCAT(Db, '.', Table_name) FROM mysql.tables_priv WHERE User IN ('', 'PUBLIC')"
        );
        match self.rows(&query, None).await {
            Err(ServerError::Database(error)) if is_refused(&error) => Ok(Vec::new()),
            rows => rows?.iter().map(|row| Ok(text(row, 0)?)).collect(),
        }
    }
}

/// An account in the spelling of `information_schema`.
fn grantee(username: &str, host: &str) -> String {
    format!("'{username}'@'{host}'")
}

fn text(row: &MySqlRow, column: usize) -> Result<String, sqlx::Error> {
    database::text(row, column)
}

/// Whether the administrator's account lacks the right to read the server's own tables.
fn is_refused(error: &sqlx::Error) -> bool {
    matches!(database::number(error), Some(1142 | 1143 | 1044 | 1227))
}
