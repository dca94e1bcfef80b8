//! The features that this program needs of a database server. A process checks them at every start.
//!
//! The server need not be a single machine: anything that speaks MySQL's protocol and has these features can be used
//! (`deploy/SCALE.md` says which clusters have them). A server that lacks a feature is refused at the start, with the
//! name of the feature.
//!
//! | feature | what needs it |
//! |---|---|
//! | MariaDB 10.6 or MySQL 8.0: atomic DDL, `SKIP LOCKED` | migrations, jobs |
//! | InnoDB as the tables' engine: transactions | everything |
//! | sessions that read committed rows, and row locks for them | positions without a gap |
//! | a log of changes that can be replayed in that isolation (not `binlog_format=STATEMENT`) | every write |
//! | grants on patterns of databases | the accounts of the services and of tenants |
//! | accounts with hashes of passwords | tenants' servers only |
//! | one member that takes all writes | row locks and named locks, which other members do not know |
//! | named locks (`GET_LOCK`) | one migration at a time, one worker for a tenant |

mod dialect;

pub use dialect::Dialect;

use crate::database;
use sqlx::{Executor, MySqlConnection};
use std::collections::BTreeMap;

/// Why a database server cannot be used. Each message says what is missing.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The version is too old.
    #[error("version {0} is too old: MariaDB 10.6 or MySQL 8.0 is needed")]
    TooOld(String),
    /// The default engine has no transactions.
    #[error("it lacks InnoDB as the engine of tables ({0} is the default)")]
    Engine(String),
    /// The server does not give the isolation level that every session requests.
    #[error("it lacks the isolation level READ COMMITTED (the session has {0})")]
    Isolation(String),
    /// Writes would fail with this log of changes.
    #[error(
        "it logs changes as statements, which cannot be written in READ COMMITTED: set binlog_format to ROW or MIXED"
    )]
    StatementLog,
    /// The server is a replica, or is being replaced.
    #[error("it is read only: a replica? The URL must lead to the member that takes writes")]
    ReadOnly,
    /// Several members of a cluster take writes, and do not know each other's locks.
    #[error(
        "its cluster takes writes on several members ({0}), which do not know each other's locks: let one take them all"
    )]
    ManyWriters(&'static str),
    /// The server would find conflicts too late.
    #[error("it lacks row locks in transactions: set tidb_txn_mode to pessimistic")]
    Optimistic,
    /// The server has no named locks.
    #[error("it lacks named locks (GET_LOCK)")]
    NamedLocks,
    /// Without `SKIP LOCKED`, workers would wait for each other.
    #[error("it lacks SELECT ... FOR UPDATE SKIP LOCKED")]
    SkipLocked,
    /// A pattern in a grant would be taken literally, so that no right of a tenant or of a service would apply.
    #[error("it takes names of databases in grants literally: set partial_revokes = OFF")]
    PartialRevokes,
    /// The server would refuse the hashes of generated passwords.
    #[error("a plugin checks the strength of passwords and refuses their hashes: set strict_password_validation = OFF")]
    StrictPasswords,
    /// A query of the check failed.
    #[error("a query of the check failed")]
    Database(#[from] sqlx::Error),
}

/// Checks that a server has all the features, in a session that [`database`] has begun. Returns its dialect and
/// version.
pub async fn check(connection: &mut MySqlConnection) -> Result<(Dialect, String), Unfit> {
    let known = Dialect::of(connection).await?.map_err(Unfit::TooOld)?;
    let variables: Vec<(String, String)> = sqlx::query_as(VARIABLES).fetch_all(&mut *connection).await?;
    let variables = variables.into_iter().collect();
    judge(&variables)?;
    if is_on(&variables, "wsrep_on") {
        tracing::warn!("a Galera cluster: all services must connect to the same member, others do not know its locks");
    }
    named_locks(connection).await?;
    Ok(known)
}

/// Checks what a server of tenants' databases needs beyond [`check`]: that their accounts can be made.
pub async fn check_accounts(connection: &mut MySqlConnection) -> Result<(), Unfit> {
    if takes_grants_literally(connection).await? {
        return Err(Unfit::PartialRevokes);
    }
    // MariaDB has the variable on by default, and it has an effect only beside a plugin.
    let (plugins,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM information_schema.PLUGINS
         WHERE PLUGIN_TYPE = 'PASSWORD VALIDATION' AND PLUGIN_STATUS = 'ACTIVE'",
    )
    .fetch_one(&mut *connection)
    .await?;
    if plugins > 0 && is_global(connection, "strict_password_validation").await? {
        return Err(Unfit::StrictPasswords);
    }
    Ok(())
}

/// Whether the server takes a pattern of databases in a grant literally.
pub async fn takes_grants_literally(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    is_global(connection, "partial_revokes").await
}

/// Whether the server has this variable, and it is on.
async fn is_global(connection: &mut MySqlConnection, name: &str) -> Result<bool, sqlx::Error> {
    let variables: Vec<(String, String)> = sqlx::query_as(
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('partial_revokes', 'strict_password_validation')",
    )
    .fetch_all(connection)
    .await?;
    Ok(is_on(&variables.into_iter().collect(), name))
}

/// The variables that show the features. Each server has some of them.
const VARIABLES: &str = "SHOW VARIABLES WHERE Variable_name IN ('default_storage_engine', 'transaction_isolation', \
    'tx_isolation', 'log_bin', 'binlog_format', 'read_only', 'innodb_read_only', 'wsrep_on', \
    'group_replication_single_primary_mode', 'group_replication_group_name', 'tidb_txn_mode')";

fn judge(variables: &BTreeMap<String, String>) -> Result<(), Unfit> {
    let value = |name: &str| variables.get(name).map(String::as_str).unwrap_or_default();
    let on = |name: &str| is_on(variables, name);
    let tidb = variables.contains_key("tidb_txn_mode");
    if !value("default_storage_engine").eq_ignore_ascii_case("InnoDB") {
        return Err(Unfit::Engine(value("default_storage_engine").into()));
    }
    // MariaDB renamed this variable in version 11.1.
    let isolation = variables.get("transaction_isolation").or_else(|| variables.get("tx_isolation"));
    if isolation.is_none_or(|level| level.replace('-', " ") != "READ COMMITTED") {
        return Err(Unfit::Isolation(isolation.cloned().unwrap_or_default()));
    }
    if on("log_bin") && value("binlog_format").eq_ignore_ascii_case("STATEMENT") && !tidb {
        return Err(Unfit::StatementLog);
    }
    if on("read_only") || on("innodb_read_only") {
        return Err(Unfit::ReadOnly);
    }
    if !value("group_replication_group_name").is_empty() && !on("group_replication_single_primary_mode") {
        return Err(Unfit::ManyWriters("group_replication_single_primary_mode is OFF"));
    }
    if tidb && value("tidb_txn_mode") != "pessimistic" {
        return Err(Unfit::Optimistic);
    }
    Ok(())
}

fn is_on(variables: &BTreeMap<String, String>, name: &str) -> bool {
    variables.get(name).is_some_and(|value| matches!(value.to_ascii_uppercase().as_str(), "ON" | "1" | "YES"))
}

/// Checks named locks by taking one, because some servers have the function but do not lock.
async fn named_locks(connection: &mut MySqlConnection) -> Result<(), Unfit> {
    let taken: Result<(Option<i64>, Option<i64>), _> = sqlx::query_as(
        "SELECT GET_LOCK(CONCAT('fit:', CONNECTION_ID()), 0),
                IS_USED_LOCK(CONCAT('fit:', CONNECTION_ID())) = CONNECTION_ID()",
    )
    .fetch_one(&mut *connection)
    .await;
    match taken {
        Ok((Some(1), Some(1))) => {}
        Ok(_) => return Err(Unfit::NamedLocks),
        Err(error) if is_unknown(&error) => return Err(Unfit::NamedLocks),
        Err(error) => return Err(error.into()),
    }
    connection.execute("DO RELEASE_LOCK(CONCAT('fit:', CONNECTION_ID()))").await?;
    Ok(())
}

/// Checks `SKIP LOCKED` on one of our own tables, without touching a row. An account that may only read does not need
/// it and passes.
pub async fn skip_locked(connection: &mut MySqlConnection) -> Result<(), Unfit> {
    let asked = connection.execute("SELECT name FROM saas_leases WHERE 1 = 0 FOR UPDATE SKIP LOCKED").await;
    match asked {
        Err(error) if is_unknown(&error) => Err(Unfit::SkipLocked),
        Err(error) if matches!(database::number(&error), Some(1142 | 1044)) => Ok(()),
        asked => asked.map(drop).map_err(Unfit::from),
    }
}

/// Whether the server does not know the statement: a syntax error, an unknown function, or a feature that is not
/// supported.
fn is_unknown(error: &sqlx::Error) -> bool {
    matches!(database::number(error), Some(1064 | 1305 | 1235 | 3130 | 8108))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(changes: &[(&str, &str)]) -> Result<(), Unfit> {
        let mut variables: BTreeMap<String, String> = [
            ("default_storage_engine", "InnoDB"),
            ("tx_isolation", "READ-COMMITTED"),
            ("log_bin", "ON"),
            ("binlog_format", "MIXED"),
            ("read_only", "OFF"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for (name, value) in changes {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
        judge(&variables)
    }

    #[test]
    fn a_missing_feature_is_named() {
        assert!(judged(&[]).is_ok());
        assert!(judged(&[("transaction_isolation", "READ-COMMITTED"), ("tx_isolation", "")]).is_ok());
        for (changes, words) in [
            (&[("default_storage_engine", "MyISAM")][..], "InnoDB"),
            (&[("tx_isolation", "REPEATABLE-READ")], "READ COMMITTED"),
            (&[("transaction_isolation", "SNAPSHOT")], "READ COMMITTED"),
            (&[("binlog_format", "STATEMENT")], "binlog_format"),
            (&[("read_only", "1")], "read only"),
            (&[("innodb_read_only", "ON")], "read only"),
            (
                &[("group_replication_group_name", "g"), ("group_replication_single_primary_mode", "OFF")],
                "group_replication_single_primary_mode",
            ),
            (&[("tidb_txn_mode", "optimistic")], "tidb_txn_mode"),
        ] {
            let error = judged(changes).unwrap_err().to_string();
            assert!(error.contains(words), "{changes:?}: {error}");
        }
        assert!(judged(&[("log_bin", "OFF"), ("binlog_format", "STATEMENT")]).is_ok());
        assert!(judged(&[("tidb_txn_mode", "pessimistic"), ("binlog_format", "STATEMENT")]).is_ok());
    }
}
