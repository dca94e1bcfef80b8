//! The folders of test runs, and their removal after a run that could not clean up.
//!
//! A killed test run cannot stop its servers. The name of its folder contains its process id, so the next run kills
//! the processes that are recorded there and removes the folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Result;

use crate::files::private_dir;
use crate::{paths, process};

/// The variable that names the folder of the run to the test processes.
pub const DIR_VARIABLE: &str = "HARNESS_DIR";

/// The folder of this test run: the one that the `dev` command names, or one for this process.
pub fn run_dir() -> Result<PathBuf> {
    static OWN: OnceLock<PathBuf> = OnceLock::new();
    if let Some(dir) = std::env::var_os(DIR_VARIABLE) {
        return Ok(PathBuf::from(dir));
    }
    let own = OWN.get_or_init(|| {
        sweep();
        paths::dev().join(format!("test-{}", std::process::id()))
    });
    private_dir(own)?;
    Ok(own.clone())
}

/// A fresh folder for one test.
pub fn fresh_dir(name: &str) -> Result<PathBuf> {
    let unique = hex::encode(rand::random::<[u8; 3]>());
    let dir = run_dir()?.join(format!("{name}-{unique}"));
    private_dir(&dir)?;
    Ok(dir)
}

/// Kills the processes of one run and removes its folder.
pub fn remove(dir: &Path) {
    for name in process::kill_recorded(dir) {
        eprintln!("stopped a {name} left over in {}", dir.display());
    }
    if let Err(error) = fs::remove_dir_all(dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        eprintln!("cannot remove {}: {error}", dir.display());
    }
}

/// Removes the runs whose process has ended.
pub fn sweep() {
    for entry in fs::read_dir(paths::dev()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.strip_prefix("test-"))
            && pid.parse::<u32>().is_ok()
            && !Path::new("/proc").join(pid).exists()
        {
            remove(&entry.path());
        }
    }
}
