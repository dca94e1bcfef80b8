//! The folders of this checkout. They are derived from the running executable, so that a moved checkout, another
//! `CARGO_TARGET_DIR` and several checkouts side by side all find their own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder that holds the workspace's `Cargo.toml`.
pub fn workspace() -> PathBuf {
    // Cargo sets the variable for `cargo run` and `cargo test`. The compiled-in value serves a binary that is started
    // by hand.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.ends_with("tests"))
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest.parent().map_or(manifest.clone(), Path::to_path_buf)
}

/// Cargo's target folder: the nearest folder above this executable with the file that cargo puts there.
pub fn target() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|exe| exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file()).map(Path::to_path_buf))
        .unwrap_or_else(|| workspace().join("target"))
}

/// The folder of all private servers of this checkout.
pub fn dev() -> PathBuf {
    target().join("dev")
}

/// The folder with the service binaries of one profile (`debug` or `release`).
pub fn binaries(profile: &str) -> Result<PathBuf> {
    let exe = std::env::current_exe().context("find this executable")?;
    let mut folder = exe.parent().context("the executable has no folder")?;
    if folder.ends_with("deps") {
        // Test binaries are one folder deeper.
        folder = folder.parent().context("deps/ has no parent")?;
    }
    // The profile folder may be `target/<triple>/<profile>` if `build.target` is set, so its sibling is taken.
    Ok(folder.parent().context("the profile folder has no parent")?.join(profile))
}

/// The profile this executable was built with, as cargo names its folder.
pub fn own_profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}
