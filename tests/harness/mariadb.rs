//! A private MariaDB: its own folder, its own loopback port, a generated root password, durability as in
//! production.
//!
//! An initialised data folder is made once per server version and copied for each new instance: that is 0.9 s of
//! work which a test suite would otherwise repeat for every test.
//!
//! Where [`mysql`] is selected, the same private server is a MySQL.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::certificates::Certificate;
use crate::files::{private_dir, random_secret, remembered, write_private};
use crate::process::{Launch, Process, base_env};
use crate::{install, mysql, paths, ports, probe, wait};

/// A start with recovery after a crash takes 1.1 s on a quiet machine; 30 s leaves room for a busy one.
const READY: Duration = Duration::from_secs(30);
/// A clean stop flushes the buffer pool.
const STOP: Duration = Duration::from_secs(20);
/// A fresh redo log is written in full; the default of 96 MB would be most of an instance's size.
const REDO_LOG: &str = "--innodb-log-file-size=16M";

#[derive(Clone, Debug)]
pub struct Options {
    pub max_connections: u32,
    /// 64 MB instead of 128 MB: for tests, which run several servers at once.
    pub small_buffer_pool: bool,
    /// What it shows to clients, which then must use TLS.
    pub certificate: Option<Certificate>,
    /// Further options of `mariadbd`, for tests that need a special server.
    pub extra: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_connections: 500, small_buffer_pool: false, certificate: None, extra: Vec::new() }
    }
}

/// What must be the same after a restart.
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
    /// Starts the server in this folder, with the data that is there from before, and waits until it answers.
    pub async fn start(dir: &Path, options: &Options) -> Result<Self> {
        private_dir(dir)?;
        let identity = identity(dir)?;
        prepare_data(dir).await?;
        let accounts = if mysql::selected().is_some() { mysql::accounts_sql } else { accounts_sql };
        write_private(&dir.join("init.sql"), accounts(&identity.root_password))?;
        let launch = launch(dir, identity.port, options)?;
        if let Some(mut left) = Process::attach(launch.clone())? {
            left.stop(STOP).await?;
        }
        let authority = options.certificate.as_ref().map(|certificate| certificate.authority.clone());
        let mut server = Self { dir: dir.into(), identity, authority, process: Process::start(launch)? };
        server.wait_ready().await?;
        Ok(server)
    }

    /// The server that an earlier run left running in this folder.
    pub fn attach(dir: &Path) -> Result<Option<Self>> {
        let Some(identity) = crate::files::read_json(&dir.join("identity.json"))? else { return Ok(None) };
        let process = Process::attach(Launch::new("mariadb", "mariadbd", dir))?;
        Ok(process.map(|process| Self { dir: dir.into(), identity, authority: None, process }))
    }

    pub async fn wait_ready(&mut self) -> Result<()> {
        let url = self.root_url();
        wait_for("MariaDB", READY, &mut self.process, async || probe::mysql(&url).await).await
    }

    pub fn port(&self) -> u16 {
        self.identity.port
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The URL of the all-powerful account: for outside inspection, never for a service.
    pub fn root_url(&self) -> String {
        let url = self.url("root", &self.identity.root_password, "");
        match &self.authority {
            Some(authority) => format!("{url}?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", authority.display()),
            None => url,
        }
    }

    /// The URL of an account, with a database or without.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}/{database}", self.port())
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub async fn stop(&mut self) -> Result<()> {
        self.process.stop(STOP).await.map(drop)
    }

    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    pub fn pause(&mut self) -> Result<()> {
        self.process.pause()
    }

    pub fn resume(&mut self) -> Result<()> {
        self.process.resume()
    }

    /// Starts the server again, on the same port and data, whether it was stopped, killed or still runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.process.start_again(&[])?;
        self.wait_ready().await
    }
}

/// Waits until a server answers, and stops waiting when it has died.
pub(crate) async fn wait_for(
    name: &str,
    limit: Duration,
    process: &mut Process,
    probe: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let mut died = None;
    let answered = wait::until_ok(limit, &format!("{name} to answer"), async || {
        if let Err(error) = process.check() {
            died = Some(error);
            return Ok(());
        }
        probe().await
    })
    .await;
    match died {
        Some(error) => Err(error),
        None => answered.with_context(|| crate::files::tail(&process.log(), 25)),
    }
}

fn identity(dir: &Path) -> Result<Identity> {
    remembered(&dir.join("identity.json"), || Ok(Identity { port: ports::free()?, root_password: random_secret() }))
}

fn launch(dir: &Path, port: u16, options: &Options) -> Result<Launch> {
    let file = |name: &str| dir.join(name).display().to_string();
    // Of its own: a server that starts removes what it takes for leftovers from there, temporary tables of others too.
    private_dir(&dir.join("tmp"))?;
    let buffer_pool = if options.small_buffer_pool { "64M" } else { "128M" };
    let launch = match mysql::selected() {
        Some(root) => mysql::launch(&root, dir),
        None => {
            let program = install::program("mariadbd").context("mariadbd is not installed")?;
            // First: it keeps the system's own configuration out.
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
        // Without it the default is latin1, which mangles every Chinese name.
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

/// A socket's path may have 107 bytes at most; a deep checkout exceeds that. Nobody uses the socket: TCP only.
fn socket(dir: &Path) -> String {
    let preferred = dir.join("server.sock").display().to_string();
    if preferred.len() < 100 {
        return preferred;
    }
    let short = std::env::temp_dir().join(format!("mariadb-{}.sock", hex::encode(rand::random::<[u8; 8]>())));
    short.display().to_string()
}

/// Runs at every start, before the first connection is accepted: no moment with the empty password that
/// `mariadb-install-db` leaves. `OR REPLACE`, because `IF NOT EXISTS` would keep that account as it is.
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

/// Copies the template, unless there is data. A half-made copy never carries the final name.
async fn prepare_data(dir: &Path) -> Result<()> {
    let data = dir.join("data");
    if data.is_dir() {
        return Ok(());
    }
    let dir = dir.to_path_buf();
    tokio::task::spawn_blocking(move || {
        let template = template()?;
        let half = dir.join("data.half");
        let _ = std::fs::remove_dir_all(&half);
        run(Command::new("cp").args(["-a", "--reflink=auto", "--sparse=always"]).arg(&template).arg(&half))?;
        std::fs::rename(&half, &data).context("put the data folder in place")
    })
    .await?
}

/// An initialised data folder of this server version and these creation-time settings.
fn template() -> Result<PathBuf> {
    let version = version()?;
    let folder = paths::dev().join("template");
    private_dir(&folder)?;
    let (name, mysql) = (if mysql::selected().is_some() { "mysql" } else { "mariadb" }, mysql::selected());
    let template = folder.join(format!("{name}-{version}"));
    // Several test processes may need it at the same moment.
    let lock = std::fs::File::create(folder.join("lock"))?;
    lock.lock()?;
    if !template.is_dir() {
        let half = folder.join("half");
        let _ = std::fs::remove_dir_all(&half);
        let mut command = match mysql {
            Some(root) => mysql::launch(&root, &folder).args(["--initialize-insecure"]).command(),
            None => {
                let program = install::program("mariadb-install-db").context("mariadb-install-db is not installed")?;
                let mut command = Command::new(program);
                command.env_clear().envs(base_env()).arg("--no-defaults");
                command.args(["--auth-root-authentication-method=normal", "--skip-test-db", REDO_LOG]);
                command
            }
        };
        command.arg(format!("--datadir={}", half.display()));
        if nix::unistd::geteuid().is_root() {
            command.arg("--user=root");
        }
        run(&mut command)?;
        std::fs::rename(&half, &template).context("keep the template")?;
    }
    Ok(template)
}

fn version() -> Result<String> {
    let mut command = match mysql::selected() {
        Some(root) => mysql::launch(&root, &root).command(),
        None => Command::new(install::program("mariadbd").context("mariadbd is not installed")?),
    };
    if mysql::selected().is_none() {
        command.arg("--no-defaults");
    }
    let version = command.arg("--version").output().context("ask the server for its version")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let mut words = version.split_whitespace().skip(1);
    words
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
        .context("the server does not tell its version")
}

fn run(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let output = command.process_group(0).output().with_context(|| format!("start {:?}", command.get_program()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        bail!("{:?} failed ({}):\n{text}", command.get_program(), output.status);
    }
    Ok(())
}
