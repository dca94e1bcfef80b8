//! Finds the packages of the private servers, or installs them with the package manager of the system.
//!
//! An installation installs nothing that exists already and starts no service of the system. Two checkouts never run
//! the package manager at the same time. A package manager that has begun runs in its own process group, finishes
//! whatever happens to the harness, and cleans up after itself.
//!
//! The packages start their services on the default ports when they are installed. Debian's way to forbid that is
//! `/usr/sbin/policy-rc.d`. If the machine has none, the installation adds one that forbids it, and removes it
//! afterwards. If the machine has one, its administrator has decided, and it stays.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::files::{private_dir, tail};
use crate::{paths, process};

/// A program that a stack or a test needs from the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    MariaDb,
    Redis,
    RabbitMq,
    /// The load generator of the benchmarks.
    Wrk,
    /// The compressor that the benchmark of backups compares with.
    Zstd,
    /// Checks metrics and alerts.
    Prometheus,
    /// Checks units of systemd.
    Systemd,
    /// Fetches the packages of another suite into a folder.
    Debootstrap,
    /// Makes virtualenvs for tests that use programs in Python.
    Python,
}

/// The servers of a stack.
pub const SERVERS: [Tool; 3] = [Tool::MariaDb, Tool::Redis, Tool::RabbitMq];

impl Tool {
    fn package(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb-server",
            Self::Redis => "redis-server",
            Self::RabbitMq => "rabbitmq-server",
            Self::Wrk => "wrk",
            Self::Zstd => "zstd",
            Self::Prometheus => "prometheus",
            Self::Systemd => "systemd",
            Self::Debootstrap => "debootstrap",
            Self::Python => "python3-venv",
        }
    }

    fn is_installed(self) -> bool {
        match self {
            Self::MariaDb => program("mariadbd").is_some() && program("mariadb-install-db").is_some(),
            Self::Redis => program("redis-server").is_some(),
            Self::RabbitMq => rabbitmq_home().is_some() && epmd().is_some(),
            Self::Wrk => program("wrk").is_some(),
            Self::Zstd => program("zstd").is_some(),
            Self::Prometheus => program("promtool").is_some(),
            Self::Systemd => program("systemd-analyze").is_some(),
            Self::Debootstrap => program("debootstrap").is_some(),
            // Without the package, python3 has the module `venv` and lacks what it needs.
            Self::Python => Command::new("/usr/bin/python3")
                .args(["-c", "import ensurepip, venv"])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success()),
        }
    }
}

/// A program in the search path or in the folders of system programs.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = &process::base_env()["PATH"];
    path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join(name)).find(|file| file.is_file())
}

/// The folder of the broker's code. Its own scripts are used, because those in the search path switch to the
/// `rabbitmq` user and the data of the system.
pub fn rabbitmq_home() -> Option<PathBuf> {
    newest("/usr/lib/rabbitmq/lib", "rabbitmq_server-").filter(|home| home.join("sbin/rabbitmq-server").exists())
}

/// Erlang's port mapper. A private broker needs a private one.
pub fn epmd() -> Option<PathBuf> {
    newest("/usr/lib/erlang", "erts-").map(|erts| erts.join("bin/epmd")).filter(|epmd| epmd.is_file())
}

/// The entry with the highest name of this prefix. Several versions can be installed side by side.
fn newest(dir: &str, prefix: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| entry.path()).max()
}

/// Installs the tools that are missing. A caller that is interrupted should wait for the end, because the package
/// manager continues in any case.
pub async fn ensure(tools: &[Tool]) -> Result<()> {
    if missing(tools).is_empty() {
        return Ok(());
    }
    let tools = tools.to_vec();
    tokio::task::spawn_blocking(move || install(&tools)).await?
}

fn missing(tools: &[Tool]) -> Vec<&'static str> {
    tools.iter().filter(|tool| !tool.is_installed()).map(|tool| tool.package()).collect()
}

fn install(tools: &[Tool]) -> Result<()> {
    let packages = missing(tools).join(" ");
    let by_hand = format!("apt-get install --no-install-recommends {packages}");
    if program("apt-get").is_none() {
        bail!(
            "missing: {packages}. This machine has no apt-get to install them; please install MariaDB >= 10.6, \
             Redis >= 6.2 and RabbitMQ >= 3.10 so that mariadbd, redis-server and /usr/lib/rabbitmq exist, \
             or give SYSTEM_DB_URL, TENANT_DB_ADMIN_URL, AMQP_URL and REDIS_URL of servers that run already"
        );
    }
    let _lock = lock(&packages)?;
    // Another checkout may have installed them during the wait.
    let packages = missing(tools);
    if packages.is_empty() {
        return Ok(());
    }
    private_dir(&paths::dev())?;
    let log = paths::dev().join("install.log");
    let mut apt = if nix::unistd::geteuid().is_root() {
        Command::new("sh")
    } else if sudo_without_password() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    } else {
        bail!("missing: {}. Installing needs root; please run: sudo {by_hand}", packages.join(" "));
    };
    // The script reads nothing but its arguments. `install` is its argument zero: `sh -c SCRIPT name packages...`.
    apt.args(["-c", SCRIPT, "install"]).args(&packages);
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).process_group(0);
    apt.stdout(File::create(&log)?).stderr(fs::OpenOptions::new().append(true).open(&log)?);

    let what = format!("installing {}", packages.join(", "));
    let mut child = apt.spawn().context("start apt-get")?;
    let mut progress = Progress::begin(&what);
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None => progress.tick(),
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    progress.end();
    let still = missing(tools);
    if !status.success() || !still.is_empty() {
        bail!(
            "could not install {} ({status}); by hand: {by_hand}\n{}",
            if still.is_empty() { packages.join(" ") } else { still.join(" ") },
            tail(&log, 20)
        );
    }
    Ok(())
}

/// Runs as root. It is one script, so that its trap cleans up even when its caller was killed.
///
/// It fetches package lists only when they lack a package or are stale. It stores packages in a folder of its own,
/// because many container images empty the common one after every use of apt-get, also while another installation
/// runs.
const SCRIPT: &str = r#"
set -u
archives=$(mktemp -d /tmp/install-archives-XXXXXX) || exit 1
mkdir -p "$archives/partial"
policy=/usr/sbin/policy-rc.d
made_policy=
clean_up() {
    [ -z "$made_policy" ] || rm -f "$policy"
    rm -rf "$archives"
}
trap clean_up EXIT
trap '' HUP INT TERM
if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\n# Temporary: no service is started while packages are installed.\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 \
        -o Dir::Cache::archives="$archives" -o APT::Sandbox::User=root "$@"
}
install() {
    apt install -y --no-install-recommends -o Dpkg::Options::=--force-confold "$@"
}
for package in "$@"; do
    apt-cache show "$package" > /dev/null 2>&1 || { apt update || exit 1; break; }
done
install "$@" || { apt update && install "$@"; }
"#;

fn sudo_without_password() -> bool {
    let sudo = Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    sudo.is_ok_and(|status| status.success())
}

/// Allows one installation at a time on this machine, for all checkouts and users.
fn lock(packages: &str) -> Result<File> {
    let path = std::env::temp_dir().join("control-plane-install.lock");
    // Another user's file in a sticky folder can be opened only without the request to create it. Read access is
    // enough for a lock.
    let file = File::open(&path).or_else(|_| File::create(&path)).context("open the lock of the installation")?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another installation, then installing {packages}");
        file.lock()?;
    }
    Ok(file)
}

/// A line that counts seconds: rewritten on a terminal, printed every ten seconds elsewhere.
struct Progress<'a> {
    what: &'a str,
    begun: Instant,
    shown: u64,
    every: u64,
}

impl<'a> Progress<'a> {
    fn begin(what: &'a str) -> Self {
        let every = if std::io::stderr().is_terminal() { 1 } else { 10 };
        let progress = Self { what, begun: Instant::now(), shown: 0, every };
        progress.show();
        progress
    }

    fn tick(&mut self) {
        let seconds = self.begun.elapsed().as_secs();
        if seconds >= self.shown + self.every {
            self.shown = seconds;
            self.show();
        }
    }

    fn show(&self) {
        let (start, end) = if self.every == 1 { ("\r", "") } else { ("", "\n") };
        eprint!("{start}{} … {} s{end}", self.what, self.begun.elapsed().as_secs());
        let _ = std::io::stderr().flush();
    }

    fn end(&self) {
        let start = if self.every == 1 { "\r" } else { "" };
        eprintln!("{start}{}: {:.1} s", self.what, self.begun.elapsed().as_secs_f64());
    }
}
