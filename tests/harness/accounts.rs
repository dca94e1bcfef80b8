//! The database accounts of a private server: what each service may do, and no more.
//!
//! The same split a production setup uses, so that a missing right shows up in the tests and not at night.
//!
//! | account | on the system database | on the tenants' databases |
//! |---|---|---|
//! | `migrator` | everything | nothing |
//! | `control` | rows | nothing |
//! | `provisioner_system` | rows | nothing |
//! | `node` | reading, rows of `saas_nodes`, when sessions end, new rows of the access log | nothing: a node uses each tenant's own account |
//! | `provisioner` | nothing | everything, the making of users, and reading the server's list of them |

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::files::{random_secret, remembered};
use crate::mariadb::MariaDb;
use crate::mysql;

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
    /// The same two accounts for everything: servers that somebody else runs.
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

/// Creates the system database and the accounts; the same passwords at every start.
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
    // In a grant `_` stands for any character: unescaped, the pattern would cover databases of others.
    let system = SYSTEM_DATABASE.replace('_', "\\_");
    let tenants = "ai\\_shifu\\_tenant\\_%";
    // One right, two spellings.
    let connection_admin = if mysql::selected().is_some() { "CONNECTION_ADMIN" } else { "CONNECTION ADMIN" };
    let accounts = [
        ("migrator", &passwords.migrator, vec![format!("ALL PRIVILEGES ON `{system}`.*")]),
        ("control", &passwords.control, vec![format!("{ROWS} ON `{system}`.*")]),
        ("provisioner_system", &passwords.provisioner_system, vec![format!("{ROWS} ON `{system}`.*")]),
        ("node", &passwords.node, vec![format!("SELECT ON `{system}`.*")]),
        (
            "provisioner",
            &passwords.provisioner,
            vec![
                // CONNECTION ADMIN: to end the sessions of an account that is being replaced.
                format!("CREATE USER, RELOAD, PROCESS, {connection_admin} ON *.*"),
                // Audits compare users and their rights with what the events say.
                "SELECT ON mysql.*".to_owned(),
                // It can hand on only what it has itself.
                format!("{ROWS}, {SCHEMA} ON `{tenants}`.*"),
            ],
        ),
    ];
    let mut statements = vec![format!("CREATE DATABASE IF NOT EXISTS `{SYSTEM_DATABASE}`")];
    for (user, password, grants) in accounts {
        statements.push(format!("CREATE USER IF NOT EXISTS '{user}'@'127.0.0.1'"));
        statements.push(format!("ALTER USER '{user}'@'127.0.0.1' IDENTIFIED BY '{password}'"));
        for grant in grants {
            let option = if grant.contains(tenants) { " WITH GRANT OPTION" } else { "" };
            statements.push(format!("GRANT {grant} TO '{user}'@'127.0.0.1'{option}"));
        }
    }
    let options: MySqlConnectOptions = server.root_url().parse()?;
    let mut connection = options.disable_statement_logging().connect().await?;
    for statement in &statements {
        // The text holds passwords, so it stays out of the error.
        sqlx::raw_sql(statement).execute(&mut connection).await.context("create the accounts of the services")?;
    }
    connection.close().await?;
    Ok(SystemUrls {
        migrator: server.url("migrator", &passwords.migrator, SYSTEM_DATABASE),
        control: server.url("control", &passwords.control, SYSTEM_DATABASE),
        provisioner_system: server.url("provisioner_system", &passwords.provisioner_system, SYSTEM_DATABASE),
        node: server.url("node", &passwords.node, SYSTEM_DATABASE),
        tenant_admin: server.url("provisioner", &passwords.provisioner, ""),
    })
}

/// Rights on single tables, which can be given only once the migrations have made them.
pub async fn ensure_on_tables(server: &MariaDb) -> Result<()> {
    let options: MySqlConnectOptions = server.root_url().parse()?;
    let mut connection = options.disable_statement_logging().connect().await?;
    // No pattern: in a grant on one table the name of the database is taken as it is.
    for (rights, table) in [
        ("INSERT, UPDATE, DELETE", "saas_nodes"),
        ("UPDATE (token_expired_at)", "user_token"),
        ("INSERT", "saas_access_logs"),
    ] {
        let grant = format!("GRANT {rights} ON `{SYSTEM_DATABASE}`.{table} TO 'node'@'127.0.0.1'");
        sqlx::raw_sql(&grant)
            .execute(&mut connection)
            .await
            .with_context(|| format!("give nodes rights on {table}"))?;
    }
    Ok(connection.close().await?)
}

const ROWS: &str = "SELECT, INSERT, UPDATE, DELETE";
const SCHEMA: &str = "CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES, CREATE TEMPORARY TABLES, CREATE VIEW, \
                      SHOW VIEW, TRIGGER, EVENT, CREATE ROUTINE, ALTER ROUTINE, EXECUTE";
