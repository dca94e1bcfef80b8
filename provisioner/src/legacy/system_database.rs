//! How the commands of the migrator reach the system database.

use super::LegacyError;
use kernel::database;
use kernel::database::migrate::{self, MigrateError};
use kernel::process::config::{Settings, wrong};
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlConnectOptions;

/// The options of `SYSTEM_DB_URL`, and a connection.
///
/// # Errors
/// The setting is wrong, or the database cannot be reached.
pub async fn connect(settings: &Settings) -> Result<(MySqlConnectOptions, MySqlConnection), LegacyError> {
    let url = settings.secret("SYSTEM_DB_URL")?;
    let options = database::options(&url).map_err(|error| wrong("SYSTEM_DB_URL", error))?;
    match database::connect(&options).await {
        Ok(connection) => Ok((options, connection)),
        Err(error) => {
            Err(LegacyError::Refused(format!("the system database (SYSTEM_DB_URL) cannot be reached: {error}")))
        }
    }
}

/// Refuses if a migration of this program is not applied.
pub async fn verify(connection: &mut MySqlConnection) -> Result<(), LegacyError> {
    migrate::verify(connection).await.map_err(|error| match error {
        MigrateError::Database(error) => error.into(),
        error => LegacyError::Refused(error.to_string()),
    })
}
