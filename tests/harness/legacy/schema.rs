//! Makes a legacy database in one of its generations, from the statements in `tests/legacy/`.

use anyhow::{Context, Result};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, MySqlConnection};

/// The name that AI-Shifu's own documentation gives to its database.
pub const DATABASE: &str = "ai_shifu";

/// The generation of a legacy database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The schema of 2025-09-23 with 37 tables.
    September2025,
    /// The schema of 2025-11-03 with 39 tables.
    November2025,
    /// A schema that is newer than the migrator supports.
    TooNew,
    /// The database of another program.
    Stranger,
}

impl Generation {
    fn statements(self) -> Vec<&'static str> {
        const SEPTEMBER: &str = include_str!("../../legacy/ai_shifu_2025_09_23.sql");
        const NOVEMBER: &str = include_str!("../../legacy/ai_shifu_2025_11_03.sql");
        match self {
            Self::September2025 => vec![SEPTEMBER],
            Self::November2025 => vec![SEPTEMBER, NOVEMBER],
            Self::TooNew => vec![SEPTEMBER, NOVEMBER, include_str!("../../legacy/ai_shifu_too_new.sql")],
            Self::Stranger => vec![include_str!("../../legacy/stranger.sql")],
        }
    }
}

/// Drops the database and creates it without rows, as `root`. The database of the given URL does not matter.
pub async fn create(root_url: &str, database: &str, generation: Generation) -> Result<()> {
    let options: MySqlConnectOptions = root_url.parse()?;
    let mut connection = options.database("").disable_statement_logging().connect().await?;
    let fresh = format!(
        "DROP DATABASE IF EXISTS `{database}`;
         CREATE DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci; USE `{database}`"
    );
    sqlx::raw_sql(&fresh).execute(&mut connection).await.context("make the legacy database")?;
    for statements in generation.statements() {
        sqlx::raw_sql(statements).execute(&mut connection).await.context("make the legacy tables")?;
    }
    Ok(connection.close().await?)
}

/// A connection that stores exactly the values it is given: zero dates and the id 0 too, and nothing is cut.
pub async fn connect(root_url: &str, database: &str) -> Result<MySqlConnection> {
    let options: MySqlConnectOptions = root_url.parse()?;
    let mut connection = options.database(database).disable_statement_logging().connect().await?;
    let session = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', \
                   unique_checks = 0";
    sqlx::raw_sql(session).execute(&mut connection).await?;
    Ok(connection)
}
