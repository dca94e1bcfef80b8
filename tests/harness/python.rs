//! Programs in Python that the services are judged by or compared with, each in a virtualenv under `target/python/`.
//!
//! An environment is made once for each list of packages and then kept; one that was not finished never carries the final
//! name, and two runs never make the same one at the same time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::install::{self, Tool};
use crate::paths;

/// The folder of the programs (`python`, and those of the packages) of an environment with these packages: the lines of a
/// `requirements.txt`, best with versions.
pub async fn virtualenv(name: &str, packages: &str) -> Result<PathBuf> {
    install::ensure(&[Tool::Python]).await?;
    let folder = paths::target().join("python");
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join(format!("{name}.lock")))?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    let (venv, list) = (folder.join(name), folder.join(format!("{name}.txt")));
    if !fs::read_to_string(&list).is_ok_and(|made| made == packages) {
        let _ = fs::remove_file(&list);
        let _ = fs::remove_dir_all(&venv);
        let wanted = folder.join(format!("{name}.new"));
        fs::write(&wanted, packages)?;
        let [venv, requirements] = [&venv, &wanted].map(|path| path.display().to_string());
        run(Path::new("/usr/bin/python3"), &["-m", "venv", &venv]).await?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", &requirements];
        run(&Path::new(&venv).join("bin/python"), &pip).await?;
        fs::rename(&wanted, &list)?;
    }
    drop(lock);
    Ok(venv.join("bin"))
}

async fn run(program: &Path, args: &[&str]) -> Result<()> {
    let mut command = tokio::process::Command::new(program);
    let output = command.args(args).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = output.await.with_context(|| format!("start {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} {args:?} failed ({})\n{}", program.display(), output.status, said.trim_end());
    Ok(())
}
