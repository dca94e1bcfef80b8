//! Programs in Python that check the services or that the services are compared with. Each has a virtualenv under
//! `target/python/`.
//!
//! A virtualenv is made once for each list of packages. An unfinished one is made again, and two runs never make the
//! same one at the same time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::install::{self, Tool};
use crate::paths;

/// The folder with the programs (`python` and those of the packages) of a virtualenv with these packages. They are the
/// lines of a `requirements.txt`, best with versions.
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
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} {args:?} failed ({})\n{}",
        program.display(),
        output.status,
        errors.trim_end()
    );
    Ok(())
}
