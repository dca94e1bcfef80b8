//! Makes a tenant's database with bare SQL, which provisioning is measured against.
//!
//! The result is the same database, user, rights, 21 tables and 6 configuration rows, from the same migration files.
//! Nothing else happens: there is no job, no lease, no event, no password to seal and no check afterwards. Everything
//! is one batch on an open connection of the server's administrator, and takes one round trip. We know of no faster
//! form.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::paths;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Executor, MySqlConnection};

/// The configuration rows that provisioning writes.
const CONFIGURATION: &str = "
INSERT INTO tenant_config (config_key, config_value, config_type, description) VALUES
    ('tenant.name', 'Bench', 'string', '租户名称'),
    ('tenant.logo_url', '', 'string', '租户Logo URL'),
    ('tenant.theme_color', '#1890ff', 'string', '租户主题色'),
    ('tenant.contact_email', '', 'string', '联系邮箱'),
    ('features.payment_enabled', 'true', 'boolean', '是否启用支付功能'),
    ('features.study_tracking', 'true', 'boolean', '是否启用学习跟踪')";

/// Makes databases `bench_bare_1`, `bench_bare_2`, ... and removes them.
pub struct Bare {
    options: MySqlConnectOptions,
    schema: String,
    made: usize,
    dropped: usize,
}

impl Bare {
    pub fn new(root_url: &str) -> Result<Self> {
        let options: MySqlConnectOptions = root_url.parse()?;
        Ok(Self { options: options.disable_statement_logging(), schema: schema()?, made: 0, dropped: 0 })
    }

    /// A connection as the server's administrator.
    pub async fn connect(&self) -> Result<MySqlConnection> {
        Ok(self.options.connect().await?)
    }

    /// The batch that makes the next database.
    pub fn next(&mut self) -> String {
        self.made += 1;
        let name = format!("bench_bare_{}", self.made);
        format!(
            "CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
             CREATE USER '{name}'@'127.0.0.1' IDENTIFIED BY 'not-a-secret';
             GRANT SELECT, INSERT, UPDATE, DELETE ON `{}`.* TO '{name}'@'127.0.0.1';
             USE {name};\n{}{CONFIGURATION}",
            // An underscore is a wildcard in a grant.
            name.replace('_', "\\_"),
            self.schema
        )
    }

    /// Removes the databases that were made since the last call.
    pub async fn drop_made(&mut self) -> Result<()> {
        let mut connection = self.connect().await?;
        while self.dropped < self.made {
            self.dropped += 1;
            let name = format!("bench_bare_{}", self.dropped);
            let drop = format!("DROP DATABASE IF EXISTS {name}; DROP USER IF EXISTS '{name}'@'127.0.0.1'");
            sqlx::raw_sql(&drop).execute(&mut connection).await?;
        }
        Ok(())
    }
}

/// Runs a batch and returns how long it took.
pub async fn run(connection: &mut MySqlConnection, batch: &str) -> Result<Duration> {
    let begun = Instant::now();
    connection.execute(sqlx::raw_sql(batch)).await.context("make a database with bare SQL")?;
    Ok(begun.elapsed())
}

/// The text of the tenants' migrations, in order.
fn schema() -> Result<String> {
    let folder = paths::workspace().join("migrations/tenant");
    let mut files: Vec<_> = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let texts: Vec<String> = files.iter().map(fs::read_to_string).collect::<std::io::Result<_>>()?;
    Ok(texts.join("\n"))
}
