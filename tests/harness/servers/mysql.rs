//! MySQL in the place of MariaDB, for the run of the test suite on MySQL.
//!
//! Debian stable has no MySQL. The unstable suite has one, and `debootstrap` puts it with all its libraries into a
//! folder of its own, so nothing of the machine changes. The dynamic loader of that folder starts the server, and not
//! `chroot`, so that its data, process and signals are like those of any other private server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::files::tail;
use crate::install::{self, Tool};
use crate::paths;
use crate::process::Launch;

/// The variable that names the folder of the server. While it is set, every private database server is a MySQL.
pub const ROOT_VARIABLE: &str = "HARNESS_MYSQL_ROOT";

/// The folder of the server, if MySQL is selected.
pub fn selected() -> Option<PathBuf> {
    std::env::var_os(ROOT_VARIABLE).map(PathBuf::from)
}

/// The server of the folder, with the arguments that say where its own files are.
pub fn launch(root: &Path, dir: &Path) -> Launch {
    let libraries = "usr/lib/x86_64-linux-gnu";
    let at = |path: &str| root.join(path).display().to_string();
    Launch::new("mysql", root.join(libraries).join("ld-linux-x86-64.so.2"), dir).args([
        "--library-path".to_owned(),
        format!("{}:{}", at(libraries), at("usr/lib/mysql/private")),
        at("usr/sbin/mysqld"),
        // This argument must be the first. The server ignores the system's configuration because of it.
        "--no-defaults".to_owned(),
        format!("--basedir={}", at("usr")),
        format!("--lc-messages-dir={}", at("usr/share/mysql")),
        format!("--character-sets-dir={}", at("usr/share/mysql/charsets")),
        format!("--plugin-dir={}", at("usr/lib/mysql/plugin")),
        "--skip-log-bin".to_owned(),
        "--mysqlx=OFF".to_owned(),
        // Statements can read no files.
        "--secure-file-priv=NULL".to_owned(),
        "--innodb-redo-log-capacity=16M".to_owned(),
    ])
}

/// Gives root its password before the server accepts the first connection, as for a MariaDB.
pub fn accounts_sql(root_password: &str) -> String {
    format!(
        "ALTER USER 'root'@'localhost' IDENTIFIED BY '{root_password}';\n\
         CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY '{root_password}';\n\
         ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY '{root_password}';\n\
         GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"
    )
}

/// Fetches the server unless the folder exists, and returns the folder. An unfinished folder has another name.
pub async fn fetch() -> Result<PathBuf> {
    let root = paths::target().join("mysql");
    if root.is_dir() {
        return Ok(root);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("fetching MySQL needs root: debootstrap makes a system's folder");
    }
    install::ensure(&[Tool::Debootstrap]).await?;
    eprintln!("fetching MySQL from Debian's unstable suite into {} (about a minute)", root.display());
    tokio::task::spawn_blocking(move || {
        let half = root.with_extension("half");
        let _ = std::fs::remove_dir_all(&half);
        let log = root.with_extension("log");
        let output = std::fs::File::create(&log)?;
        let debootstrap = install::program("debootstrap").context("debootstrap is not installed")?;
        let mut command = Command::new(debootstrap);
        command.args(["--variant=minbase", "--include=mysql-server", "sid"]).arg(&half).arg(mirror()?);
        command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        let status = command.status().context("start debootstrap")?;
        if !status.success() {
            bail!("debootstrap failed ({status}):\n{}", tail(&log, 10));
        }
        std::fs::rename(&half, &root).context("put the folder in place")?;
        Ok(root)
    })
    .await?
}

/// The package source from which this machine gets Debian.
fn mirror() -> Result<String> {
    let format = "$(ORIGIN) $(LABEL) $(REPO_URI)";
    let output = Command::new("apt-get").args(["indextargets", "--format", format]).output().context("ask apt-get")?;
    let lists = String::from_utf8_lossy(&output.stdout).into_owned();
    let mirror = lists.lines().find_map(|line| line.strip_prefix("Debian Debian "));
    mirror.map(str::to_owned).context("no package source of this machine is Debian's own; run apt-get update")
}
