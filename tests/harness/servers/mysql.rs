//! MySQL in the place of MariaDB, for the run that shows that everything works on it too.
//!
//! Debian stable has no MySQL. Its unstable suite has one, which `debootstrap` puts into a folder of its own, with all
//! libraries it needs; nothing of the machine is changed by it. The server is started by the folder's own dynamic loader
//! instead of by `chroot`, so that its data, its process and its signals are like those of every other private server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::files::tail;
use crate::install::{self, Tool};
use crate::paths;
use crate::process::Launch;

/// Names the folder with the server; set, every private database server is a MySQL.
pub const ROOT_VARIABLE: &str = "HARNESS_MYSQL_ROOT";

/// The folder with the server, if MySQL is to be used.
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
        // First: it keeps the system's own configuration out.
        "--no-defaults".to_owned(),
        format!("--basedir={}", at("usr")),
        format!("--lc-messages-dir={}", at("usr/share/mysql")),
        format!("--character-sets-dir={}", at("usr/share/mysql/charsets")),
        format!("--plugin-dir={}", at("usr/lib/mysql/plugin")),
        "--skip-log-bin".to_owned(),
        "--mysqlx=OFF".to_owned(),
        // No folder of the system's, and no reading of files by statements.
        "--secure-file-priv=NULL".to_owned(),
        "--innodb-redo-log-capacity=16M".to_owned(),
    ])
}

/// As [`crate::servers::mariadb`]'s: before the first connection is accepted, root has its password.
pub fn accounts_sql(root_password: &str) -> String {
    format!(
        "ALTER USER 'root'@'localhost' IDENTIFIED BY '{root_password}';\n\
         CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY '{root_password}';\n\
         ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY '{root_password}';\n\
         GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"
    )
}

/// Makes sure that the folder is there, and gives it. A folder that was not finished never carries the final name.
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

/// Where this machine gets Debian from.
fn mirror() -> Result<String> {
    let format = "$(ORIGIN) $(LABEL) $(REPO_URI)";
    let output = Command::new("apt-get").args(["indextargets", "--format", format]).output().context("ask apt-get")?;
    let lists = String::from_utf8_lossy(&output.stdout).into_owned();
    let mirror = lists.lines().find_map(|line| line.strip_prefix("Debian Debian "));
    mirror.map(str::to_owned).context("no package source of this machine is Debian's own; run apt-get update")
}
