//! Sessions that read and write values without loss, and see one moment of a database.

use super::{Doing, TableError};
use kernel::database::{self, sql};
use sqlx::{Executor, MySqlConnection, Row};

/// The server does not know a setting.
const UNKNOWN_VARIABLE: u16 = 1193;

/// The account lacks a right.
const LACKS_RIGHT: u16 = 1227;

/// Long silences are normal: a connection waits while its chunk is written elsewhere. MySQL caches the next ids and the
/// numbers of rows in `information_schema` for a day unless a session asks for fresh ones.
const TIMEOUTS: &str = "SET SESSION wait_timeout = 86400, SESSION net_write_timeout = 3600, \
                        SESSION net_read_timeout = 3600, SESSION innodb_lock_wait_timeout = 50 \
                        /*!80000 , SESSION information_schema_stats_expiry = 0 */";

/// Makes a session read and write values without loss, whatever the global values of its server are.
pub async fn begin_copying(connection: &mut MySqlConnection) -> Result<(), TableError> {
    begin(connection, &[sql::MYSQL_READ_SETTINGS.as_slice(), &sql::MYSQL_WRITE_SETTINGS].concat()).await
}

/// The same for a session that only reads. Its account needs fewer rights.
pub async fn begin_reading(connection: &mut MySqlConnection) -> Result<(), TableError> {
    begin(connection, &sql::MYSQL_READ_SETTINGS).await
}

async fn begin(connection: &mut MySqlConnection, on_mysql: &[(&str, i64)]) -> Result<(), TableError> {
    connection.execute(format!("{}; {}; {TIMEOUTS}", sql::COPY_MODE, sql::COPY_SESSION).as_str()).await?;
    let version: String = database::text(&connection.fetch_one("SELECT VERSION()").await?, 0)?;
    if !version.contains("MariaDB") {
        set_on_mysql(connection, on_mysql).await?;
    }
    Ok(())
}

async fn set_on_mysql(connection: &mut MySqlConnection, settings: &[(&str, i64)]) -> Result<(), TableError> {
    for (name, value) in settings.iter().copied() {
        let read = format!("SELECT CAST(@@SESSION.{name} AS SIGNED)");
        let present = match connection.fetch_one(read.as_str()).await {
            Ok(row) => row.try_get::<i64, _>(0)?,
            // The server is older than the setting.
            Err(error) if database::number(&error) == Some(UNKNOWN_VARIABLE) => continue,
            Err(error) => return Err(error.into()),
        };
        if present != value
            && let Err(error) = connection.execute(format!("SET SESSION {name} = {value}").as_str()).await
        {
            return Err(match database::number(&error) {
                Some(LACKS_RIGHT) if name == sql::MYSQL_STRICT_TABLES => continue,
                Some(LACKS_RIGHT) => TableError::Refused(format!(
                    "{name} is {present} on the database server, and a copy needs {value}: set it globally, or give \
                     the account SESSION_VARIABLES_ADMIN"
                )),
                _ => error.into(),
            });
        }
    }
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
