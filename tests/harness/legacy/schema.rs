//! Makes a legacy database in one of its generations, from the statements in `tests/legacy/`.

use anyhow::{Context, Result};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, MySqlConnection};

/// The name that AI-Shifu's own documentation gives to its database.
pub const DATABASE: &str = "ai_shifu";

/// What a database is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 2025-09-23, 37 tables.
    September2025,
    /// 2025-11-03, 39 tables.
    November2025,
    /// Newer than the migrator can be right about.
    TooNew,
    /// Of another program.
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

/// Makes the database anew and without rows, as `root`. The given URL's own database does not matter.
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

/// A connection to a legacy database that writes what it is told: zero dates and the id 0 too, and nothing cut.
pub async fn connect(root_url: &str, database: &str) -> Result<MySqlConnection> {
    let options: MySqlConnectOptions = root_url.parse()?;
    let mut connection = options.database(database).disable_statement_logging().connect().await?;
    let session = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', \
                   unique_checks = 0";
    sqlx::raw_sql(session).execute(&mut connection).await?;
    Ok(connection)
}
