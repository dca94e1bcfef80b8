//! The database accounts of a private server: what each service may do, and no more.
//!
//! The files that make them in production, `deploy/sql`, make them here too. So a test shows a missing right before
//! production does.
//!
//! | account | on the system database | on the tenants' databases |
//! |---|---|---|
//! | `migrator` | everything | nothing |
//! | `control` | rows; of events only new ones | nothing |
//! | `provisioner_system` | rows; of events only new ones | nothing |
//! | `node` | reading some tables; rows of `saas_nodes`, ends of sessions, the access log | nothing |
//! | `provisioner` | nothing | everything, the making of users, and reading the list of users |

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::Server;
use super::mariadb::MariaDb;
use crate::files::{random_secret, remembered};

/// The name of the system database.
pub const SYSTEM_DATABASE: &str = "ai_shifu_system";

/// One URL per account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SystemUrls {
    /// Runs the migrations of the system database.
    pub migrator: String,
    /// The control plane.
    pub control: String,
    /// The provisioner, on the system database.
    pub provisioner_system: String,
    /// A data node.
    pub node: String,
    /// The provisioner, as administrator of the tenants' server.
    pub tenant_admin: String,
}

impl SystemUrls {
    /// The same two accounts for everything, on servers that are given by their URLs.
    pub fn existing(system: &str, tenant_admin: &str) -> Self {
        Self {
            migrator: system.into(),
            control: system.into(),
            provisioner_system: system.into(),
            node: system.into(),
            tenant_admin: tenant_admin.into(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Passwords {
    migrator: String,
    control: String,
    provisioner_system: String,
    node: String,
    provisioner: String,
}

/// Creates the system database and the accounts. The passwords are the same at every start.
pub async fn ensure(server: &MariaDb) -> Result<SystemUrls> {
    let passwords = remembered(&server.dir().join("accounts.json"), || {
        Ok(Passwords {
            migrator: random_secret(),
            control: random_secret(),
            provisioner_system: random_secret(),
            node: random_secret(),
            provisioner: random_secret(),
        })
    })?;
    for (file, sql) in [("system.sql", SYSTEM), ("tenants.sql", TENANTS)] {
        run(server, file, sql, Some(&passwords)).await?;
    }
    Ok(SystemUrls {
        migrator: server.account_url("migrator", &passwords.migrator, SYSTEM_DATABASE),
        control: server.account_url("control", &passwords.control, SYSTEM_DATABASE),
        provisioner_system: server.account_url("provisioner_system", &passwords.provisioner_system, SYSTEM_DATABASE),
        node: server.account_url("node", &passwords.node, SYSTEM_DATABASE),
        tenant_admin: server.account_url("provisioner", &passwords.provisioner, ""),
    })
}

/// Grants rights on single tables, which exist only after the migrations.
pub async fn ensure_on_tables(server: &MariaDb) -> Result<()> {
    run(server, "tables.sql", TABLES, None).await
}

const SYSTEM: &str = include_str!("../../../deploy/sql/system.sql");
const TENANTS: &str = include_str!("../../../deploy/sql/tenants.sql");
const TABLES: &str = include_str!("../../../deploy/sql/tables.sql");

/// Does what `accounts.sh` does in production.
async fn run(server: &MariaDb, file: &str, sql: &str, passwords: Option<&Passwords>) -> Result<()> {
    let mut text = sql.replace("@HOST@", "127.0.0.1");
    if let Some(passwords) = passwords {
        for (name, password) in [
            ("MIGRATOR", &passwords.migrator),
            ("CONTROL", &passwords.control),
            ("PROVISIONER_SYSTEM", &passwords.provisioner_system),
            ("NODE", &passwords.node),
            ("PROVISIONER", &passwords.provisioner),
        ] {
            text = text.replace(&format!("@{name}_PASSWORD@"), password);
        }
    }
    let options: MySqlConnectOptions = server.url().parse()?;
    let mut connection = options.disable_statement_logging().connect().await?;
    // The text contains passwords, so the error does not show it.
    sqlx::raw_sql(&text).execute(&mut connection).await.with_context(|| format!("run deploy/sql/{file}"))?;
    Ok(connection.close().await?)
}
