//! A private MariaDB. It has its own folder, loopback port and generated root password, and is as durable as in
//! production.
//!
//! While [`mysql`] is selected, the private server is a MySQL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::certificates::Certificate;
use super::probe::Probe;
use super::template::{self, REDO_LOG};
use super::{Server, mysql, start_process};
use crate::files::{private_dir, random_secret, read_json, remembered, write_private};
use crate::process::{Launch, Process};
use crate::{install, ports};

#[derive(Clone, Debug)]
pub struct Options {
    pub max_connections: u32,
    /// 64 MB instead of 128 MB, for tests, which run several servers at once.
    pub small_buffer_pool: bool,
    /// The certificate of the server. Clients must use TLS then.
    pub certificate: Option<Certificate>,
    /// Further options of `mariadbd`, for tests that need a special server.
    pub extra: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_connections: 500, small_buffer_pool: false, certificate: None, extra: Vec::new() }
    }
}

/// What a restart must not change.
#[derive(Serialize, Deserialize)]
struct Identity {
    port: u16,
    root_password: String,
}

pub struct MariaDb {
    dir: PathBuf,
    identity: Identity,
    authority: Option<PathBuf>,
    process: Process,
}

impl MariaDb {
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The URL of an account, with a database or without.
    pub fn account_url(&self, user: &str, password: &str, database: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}/{database}", self.identity.port)
    }
}

impl Server for MariaDb {
    type Options = Options;

    const READY: Duration = Duration::from_secs(30);
    /// A clean stop flushes the buffer pool.
    const STOP: Duration = Duration::from_secs(20);

    async fn start(dir: &Path, options: &Options) -> Result<Self> {
        private_dir(dir)?;
        let identity = identity(dir)?;
        template::copy_into(dir).await?;
        let accounts = if mysql::selected().is_some() { mysql::accounts_sql } else { accounts_sql };
        write_private(&dir.join("init.sql"), accounts(&identity.root_password))?;
        let process = start_process(launch(dir, identity.port, options)?, Self::STOP).await?;
        let authority = options.certificate.as_ref().map(|certificate| certificate.authority.clone());
        let mut server = Self { dir: dir.into(), identity, authority, process };
        server.wait_ready().await?;
        Ok(server)
    }

    fn attach(dir: &Path) -> Result<Option<Self>> {
        let Some(identity) = read_json(&dir.join("identity.json"))? else { return Ok(None) };
        let process = Process::attach(Launch::new("mariadb", "mariadbd", dir))?;
        Ok(process.map(|process| Self { dir: dir.into(), identity, authority: None, process }))
    }

    fn url(&self) -> String {
        let url = self.account_url("root", &self.identity.root_password, "");
        match &self.authority {
            Some(authority) => format!("{url}?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", authority.display()),
            None => url,
        }
    }

    fn port(&self) -> u16 {
        self.identity.port
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn probe(&self) -> Probe {
        Probe::Database { url: self.url() }
    }
}

fn identity(dir: &Path) -> Result<Identity> {
    remembered(&dir.join("identity.json"), || Ok(Identity { port: ports::free()?, root_password: random_secret() }))
}

fn launch(dir: &Path, port: u16, options: &Options) -> Result<Launch> {
    let file = |name: &str| dir.join(name).display().to_string();
    // Every server has a folder for temporary files of its own: a starting server removes what it takes for leftovers
    // there, also the temporary tables of other servers.
    private_dir(&dir.join("tmp"))?;
    let buffer_pool = if options.small_buffer_pool { "64M" } else { "128M" };
    let launch = match mysql::selected() {
        Some(root) => mysql::launch(&root, dir),
        None => {
            let program = install::program("mariadbd").context("mariadbd is not installed")?;
            // This argument must be the first. The server ignores the system's configuration because of it.
            Launch::new("mariadb", program, dir).args(["--no-defaults", REDO_LOG])
        }
    };
    let mut launch = launch
        .args([
            format!("--datadir={}", file("data")),
            format!("--socket={}", socket(dir)),
            format!("--pid-file={}", file("server.pid-file")),
            format!("--tmpdir={}", file("tmp")),
            format!("--init-file={}", file("init.sql")),
            format!("--port={port}"),
            format!("--max-connections={}", options.max_connections),
            format!("--innodb-buffer-pool-size={buffer_pool}"),
        ])
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
        // The default of latin1 would damage every Chinese name.
        .args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci"])
        .args(&options.extra);
    if let Some(certificate) = &options.certificate {
        launch = launch.args([
            "--require-secure-transport=ON".to_owned(),
            format!("--ssl-cert={}", certificate.certificate.display()),
            format!("--ssl-key={}", certificate.key.display()),
            format!("--ssl-ca={}", certificate.authority.display()),
        ]);
    }
    if nix::unistd::geteuid().is_root() {
        launch = launch.args(["--user=root"]);
    }
    Ok(launch)
}

/// The path of a socket may have 107 bytes at most, which a deep checkout exceeds. No client uses the socket.
fn socket(dir: &Path) -> String {
    let preferred = dir.join("server.sock").display().to_string();
    if preferred.len() < 100 {
        return preferred;
    }
    let short = std::env::temp_dir().join(format!("mariadb-{}.sock", hex::encode(rand::random::<[u8; 8]>())));
    short.display().to_string()
}

/// The server runs this at every start, before it accepts the first connection, so the empty password that
/// `mariadb-install-db` leaves never works. `IF NOT EXISTS` would leave that account as it is; `OR REPLACE` does not.
fn accounts_sql(root_password: &str) -> String {
    format!(
        "ALTER USER 'root'@'localhost' IDENTIFIED BY '{root_password}';\n\
         CREATE OR REPLACE USER 'root'@'127.0.0.1' IDENTIFIED BY '{root_password}';\n\
         GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n\
         DELETE FROM mysql.global_priv WHERE User = 'root' AND Host NOT IN ('localhost', '127.0.0.1');\n\
         DELETE FROM mysql.global_priv WHERE User = '';\n\
         FLUSH PRIVILEGES;\n"
    )
}
