//! Connections to database servers, and the meaning of their errors.
//!
//! Every session reads committed rows (no gap locks, no stale snapshot) and waits at most 5 s for a lock, so a process
//! that was stopped while it held a lock cannot block the others for long. The server itself ends a statement of a pool
//! after [`POOL_LIMIT`]. Statement logging is off, because SQLx would
//! log the text of `CREATE USER` statements.

use crate::database::tls;
use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlRow};
use sqlx::{ConnectOptions, Connection, Executor, MySqlConnection, MySqlPool, Row};
use std::time::Duration;
use url::Url;

/// Longest wait for a connection of a pool, and for a new connection. A server that accepts connections but never
/// answers (like a stopped process) counts as failed after this time.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The first statements of every session, in one round trip: those that SQLx would send in a round trip of its own, and
/// ours. `wait_timeout` releases the locks (`GET_LOCK` too) of a client that has vanished. No global value of the
/// server leaves a statement uncommitted or cuts its answer.
const SESSION: &str = "SET sql_mode = CONCAT('STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO', \
                       /*M!100600 ',NO_AUTO_CREATE_USER', */ ',PIPES_AS_CONCAT,NO_ENGINE_SUBSTITUTION'), \
                       time_zone = '+00:00', SESSION innodb_lock_wait_timeout = 5, \
                       SESSION lock_wait_timeout = 5, SESSION wait_timeout = 600, \
                       SESSION autocommit = 1, SESSION completion_type = 0, SESSION sql_safe_updates = 0, \
                       SESSION sql_select_limit = 18446744073709551615, SESSION sql_big_selects = 1, \
                       NAMES utf8mb4 COLLATE utf8mb4_unicode_ci; \
                       SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE";

/// The server's own limit on a statement of a pool. The caller has given up long before, but only the server can end
/// the statement. Work that takes longer has a connection of its own.
const POOL_LIMIT: Duration = Duration::from_secs(30);

/// Parses a `mysql://` URL, under the rule of [`crate::database::tls`].
///
/// # Errors
/// The error shows no part of the URL but the host, because the URL contains a password.
pub fn options(url: &SecretString) -> Result<MySqlConnectOptions, sqlx::Error> {
    let not_a_url = || sqlx::Error::Configuration("not a mysql:// URL".into());
    let parsed = Url::parse(url.expose_secret()).map_err(|_| not_a_url())?;
    let options: MySqlConnectOptions = url.expose_secret().parse().map_err(|_| not_a_url())?;
    let asked = parsed.query_pairs().find(|(name, _)| matches!(&**name, "ssl-mode" | "sslmode")).map(|(_, mode)| mode);
    let password = parsed.password().is_some_and(|password| !password.is_empty());
    let options = tls::policy()
        .database(options, asked.as_deref(), password)
        .map_err(|refused| sqlx::Error::Configuration(refused.into()))?;
    let options = options.charset("utf8mb4").collation("utf8mb4_unicode_ci").disable_statement_logging();
    // [`SESSION`] sets all of these.
    Ok(options.pipes_as_concat(false).no_engine_substitution(false).timezone(None).set_names(false))
}

/// A connection that was in use within this time is taken from the pool without a ping. A ping before every statement
/// would be a third of all round trips of provisioning a tenant. If the connection ends within this time, the next
/// statement fails, as it would if the connection ended just after a ping.
const FRESH: Duration = Duration::from_secs(1);

/// A pool of at most `max` connections, which opens them when they are needed.
pub fn pool(url: &SecretString, max: u32) -> Result<MySqlPool, sqlx::Error> {
    Ok(MySqlPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async {
                connection.execute(format!("{SESSION}; {}", limit(POOL_LIMIT)).as_str()).await?;
                Ok(())
            })
        })
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move { Ok(meta.idle_for < FRESH || connection.ping().await.is_ok()) })
        })
        .connect_lazy_with(options(url)?))
}

/// Opens one connection outside any pool, for work that must not share its session. It takes at most
/// [`ACQUIRE_TIMEOUT`].
pub async fn connect(options: &MySqlConnectOptions) -> Result<MySqlConnection, sqlx::Error> {
    connect_within(options, ACQUIRE_TIMEOUT).await
}

/// The same with another time limit.
pub async fn connect_within(options: &MySqlConnectOptions, limit: Duration) -> Result<MySqlConnection, sqlx::Error> {
    let opening = async {
        let mut connection = options.connect().await?;
        begin_session(&mut connection).await?;
        Ok(connection)
    };
    tokio::time::timeout(limit, opening).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

async fn begin_session(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    // Zero: no limit. Migrations, copies and rebuilds take as long as they need, whatever the server's global value is.
    connection.execute(format!("{SESSION}; {}", limit(Duration::ZERO)).as_str()).await?;
    Ok(())
}

/// Sets the server's own limit on each further statement of a session that is not a pool's. When the client gives up,
/// the statement ends soon after.
pub async fn limit_statements(connection: &mut MySqlConnection, limit: Duration) -> Result<(), sqlx::Error> {
    connection.execute(self::limit(limit).as_str()).await.map(drop)
}

/// The limit has one name on MariaDB (`/*M!`) and another on MySQL (`/*!50708`, which MariaDB skips). On MySQL it
/// covers reading statements only; a writing statement waits for nothing but locks.
fn limit(limit: Duration) -> String {
    let (seconds, millis) = (limit.as_secs_f64(), limit.as_millis());
    format!("SET SESSION /*M! max_statement_time = {seconds} */ /*!50708 max_execution_time = {millis} */")
}

/// Reads text from the server's own lists (`SHOW ...`, `information_schema`), which MySQL 8 declares as binary.
pub fn text(row: &MySqlRow, column: usize) -> Result<String, sqlx::Error> {
    row.try_get_unchecked(column)
}

/// The error number, if the server sent the error.
pub fn number(error: &sqlx::Error) -> Option<u16> {
    match error {
        sqlx::Error::Database(error) => {
            error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(sqlx::mysql::MySqlDatabaseError::number)
        }
        _ => None,
    }
}

/// Whether a unique key already has the value. (SQLSTATE 23000 would also match foreign keys and NULLs.)
pub fn is_duplicate(error: &sqlx::Error) -> bool {
    number(error) == Some(1062)
}

/// Whether the server was too busy for a statement that may succeed later: another transaction was in the way (a
/// deadlock, a lock wait timeout, a row that has changed since it was read), or the statement has used up its time.
pub fn is_contention(error: &sqlx::Error) -> bool {
    is_deadlock(error) || matches!(number(error), Some(1205 | 1969 | 3024))
}

/// Whether two transactions waited for each other, or a row has changed since it was read. The same transaction
/// succeeds if it is repeated at once.
pub fn is_deadlock(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(1213 | 1020))
}

/// Whether the server cannot be reached, not yet or not any more. Nothing is known to be wrong with the statement.
pub fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed => true,
        // The server shuts down, has too many connections (in all, or of the user), has gone away, killed the session,
        // is offline (MySQL), or refuses this host for a while.
        _ => matches!(number(error), Some(1053 | 1040 | 1203 | 1226 | 1077 | 1927 | 2006 | 2013 | 3032 | 1129)),
    }
}

/// Why a database did not do what was asked, in our own words. Clients and health pages show this; the words of the
/// database itself stand in the log.
pub fn reason(error: &sqlx::Error) -> String {
    let reason = match error {
        sqlx::Error::PoolTimedOut => "it does not answer in time",
        error if is_unreachable(error) => match tls::reason(error) {
            Some(reason) => return format!("it cannot be trusted: {reason}"),
            None => "it cannot be reached",
        },
        error if matches!(number(error), Some(1969 | 3024)) => "a statement took too long",
        error if is_contention(error) => "another transaction holds what is needed",
        error if matches!(number(error), Some(1044 | 1045 | 1142 | 1143 | 1370)) => "it refuses the account",
        _ => "it refuses a statement",
    };
    reason.to_owned()
}
