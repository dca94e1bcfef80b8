//! The commands of an operator that end: each reads the settings, works on the system database, and exits with a code.

pub mod audit;
pub mod keys;
pub mod rebuild;
pub mod schedule;
pub mod stats;
pub mod token;
pub mod verify_log;

use anyhow::Context;
use kernel::database;
use kernel::process::config::Settings;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{MySqlConnection, MySqlPool};

/// Exit code of a command that did its work and found something wrong.
const FOUND: u8 = 4;

const WRONG: &str = "the setting SYSTEM_DB_URL is wrong";

fn system_options(settings: &Settings) -> anyhow::Result<MySqlConnectOptions> {
    database::options(&settings.secret("SYSTEM_DB_URL")?).context(WRONG)
}

fn system_pool(settings: &Settings, connections: u32) -> anyhow::Result<MySqlPool> {
    database::pool(&settings.secret("SYSTEM_DB_URL")?, connections).context(WRONG)
}

async fn connect(settings: &Settings) -> anyhow::Result<MySqlConnection> {
    let options = system_options(settings)?;
    database::connect(&options).await.context("the system database (SYSTEM_DB_URL) cannot be reached")
}
