//! Files that hold secrets or state. They have the mode 0600 and are replaced as a whole.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A secret of 192 random bits. Its alphabet needs no quoting in SQL, URLs, shells or configuration files.
pub fn random_secret() -> String {
    hex::encode(rand::random::<[u8; 24]>())
}

/// Creates a folder that only this user can enter.
pub fn private_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| format!("create {}", dir.display()))
}

/// Writes a file that only this user can read. A crash leaves either the old or the new content.
pub fn write_private(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        // `mode` has an effect only on a file that this call creates.
        let _ = fs::remove_file(&beside);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(content.as_ref())?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// Writes a value as JSON, private to this user.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_private(path, serde_json::to_vec_pretty(value)?)
}

/// Reads a JSON value. `None` when the file does not exist.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(content) => {
            Ok(Some(serde_json::from_slice(&content).with_context(|| format!("understand {}", path.display()))?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Reads a value, or makes and stores it. Generated passwords survive a restart this way.
pub fn remembered<T: Serialize + DeserializeOwned>(path: &Path, make: impl FnOnce() -> Result<T>) -> Result<T> {
    if let Some(value) = read_json(path)? {
        return Ok(value);
    }
    let value = make()?;
    write_json(path, &value)?;
    Ok(value)
}

/// The last lines of a log, indented, for an error message.
pub fn tail(path: &Path, lines: usize) -> String {
    let content = fs::read(path).unwrap_or_default();
    // A log can be large, and only its end is needed.
    let text = String::from_utf8_lossy(&content[content.len().saturating_sub(64 * 1024)..]).into_owned();
    let all: Vec<&str> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    if last.is_empty() {
        return format!("  ({} is empty)", path.display());
    }
    let mut tail = format!("  the end of {}:", path.display());
    for line in last {
        tail.push_str("\n    ");
        tail.push_str(line);
    }
    tail
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_remembered_value_is_private_and_stable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let first: String = remembered(&path, || Ok(random_secret())).unwrap();
        let second: String = remembered(&path, || Ok(random_secret())).unwrap();
        assert_eq!(first, second);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
