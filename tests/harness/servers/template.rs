//! An initialised data folder for each version of the database server. Every new server gets a copy.
//!
//! The initialisation takes 0.9 s, which each server of each test would otherwise need.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::mysql;
use crate::files::private_dir;
use crate::process::base_env;
use crate::{install, paths};

/// The server writes a fresh redo log in full. The default of 96 MB would be most of the size of a server.
pub const REDO_LOG: &str = "--innodb-log-file-size=16M";

/// Copies the template, unless the folder has data. An unfinished copy has another name.
pub async fn copy_into(dir: &Path) -> Result<()> {
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

/// The template for this version of the server. It is made if it does not exist.
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
        std::fs::rename(&half, &template).context("put the template in place")?;
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
        .context("the server does not print its version")
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
