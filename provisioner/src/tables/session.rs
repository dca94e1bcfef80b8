//! Sessions that read and write values without loss, and see one moment of a database.

use super::{Doing, TableError};
use kernel::database::sql;
use sqlx::{Executor, MySqlConnection, Row};

/// Long silences are normal: a connection waits while its chunk is written elsewhere. MySQL caches the next ids and the
/// numbers of rows in `information_schema` for a day unless a session asks for fresh ones.
const TIMEOUTS: &str = "SET SESSION wait_timeout = 86400, SESSION net_write_timeout = 3600, \
                        SESSION net_read_timeout = 3600, SESSION innodb_lock_wait_timeout = 50 \
                        /*!80000 , SESSION information_schema_stats_expiry = 0 */";

/// Makes a session read and write values without loss: times in UTC, dates as they are, nothing cut or converted.
pub async fn begin_copying(connection: &mut MySqlConnection) -> Result<(), TableError> {
    connection.execute(format!("{}; {TIMEOUTS}", sql::COPY_SESSION).as_str()).await?;
    Ok(())
}

/// Begins a transaction that reads the database as it is at this moment.
pub async fn begin_snapshot(connection: &mut MySqlConnection) -> Result<(), TableError> {
    let begin = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                 START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
    connection.execute(sqlx::raw_sql(begin)).await.doing(|| "beginning a snapshot".into()).map(drop)
}

/// The longest statement, in bytes, that the session's server accepts.
pub async fn statement_limit(connection: &mut MySqlConnection) -> Result<usize, TableError> {
    let row = connection.fetch_one("SELECT CAST(@@max_allowed_packet AS UNSIGNED)").await?;
    Ok(usize::try_from(row.try_get::<u64, _>(0)?).unwrap_or(usize::MAX))
}
