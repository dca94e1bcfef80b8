//! The settings that the services read are those that `deploy/defaults.env` describes.

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use harness::paths;
use harness::stack::new_encryption_key;
use kernel::process::config::DEFAULTS;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;
use tokio::process::Command;

/// Texts of the code that look like settings and are none: modes, tables of a server, placeholders for the reader, and
/// a variable that only tests set.
const NO_SETTINGS: [&str; 12] = [
    "ANSI_QUOTES",
    "CARGO_PKG_VERSION",
    "COLUMN_PRIVILEGES",
    "NEWER_TENANT_MIGRATIONS",
    "NEW_ID",
    "NO_BACKSLASH_ESCAPES",
    "SCHEMA_PRIVILEGES",
    "STRICT_TRANS_TABLES",
    "TABLE_PRIVILEGES",
    "USER_PRIVILEGES",
    "VERIFY_CA",
    "VERIFY_IDENTITY",
];

/// The settings of the defaults file: those with a default, and those without one, which a comment describes.
pub fn documented() -> BTreeSet<&'static str> {
    let with_default = DEFAULTS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    let without = DEFAULTS.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(" ("));
    with_default.chain(without).map(|(name, _)| name).filter(|name| is_name(name)).collect()
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().all(allowed)
}

/// Every string in the code of the services that looks like the name of a setting.
fn named_in_code() -> Result<BTreeSet<String>> {
    let mut named = BTreeSet::new();
    let mut folders: Vec<_> = ["kernel", "control-plane", "provisioner", "data-plane"]
        .map(|name| paths::workspace().join(name).join("src"))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                named.extend(text.split('"').filter(|text| is_name(text)).map(str::to_owned));
            }
        }
    }
    Ok(named)
}

#[test]
fn the_defaults_file_has_every_setting_and_no_other() -> Result<()> {
    let (documented, named) = (documented(), named_in_code()?);
    ensure!(documented.len() > 70, "only {} settings were found in the defaults file", documented.len());
    for name in &documented {
        // The provisioner finds servers of tenants by what follows `TENANT_DB_ADMIN_URL_`. The file shows one of them.
        let by_suffix = name.starts_with("TENANT_DB_ADMIN_URL_");
        ensure!(by_suffix || named.contains(*name), "no service reads the setting {name} of the defaults file");
    }
    for name in named.iter().filter(|name| name.contains('_') && !NO_SETTINGS.contains(&name.as_str())) {
        let of_file = name.strip_suffix("_FILE").unwrap_or(name);
        let by_suffix = of_file.starts_with("TENANT_DB_ADMIN_URL_");
        ensure!(
            by_suffix || documented.contains(of_file),
            "the code names the setting {name}, the defaults file does not"
        );
    }
    Ok(())
}

/// The settings that are numbers, each with a service that reads it.
fn numbers() -> Vec<(&'static str, &'static str)> {
    let (mut service, mut numbers) = ("data-plane", Vec::new());
    for line in DEFAULTS.lines() {
        match line.strip_prefix("# --- ").and_then(|line| line.strip_suffix(" ---")) {
            Some("all services") => service = "data-plane",
            Some(section) => service = section,
            None if line.starts_with('#') => {}
            None => {
                let (name, value) = line.split_once('=').unwrap_or_default();
                let of =
                    if name.starts_with("HTTP_") || name.starts_with("SHUTDOWN_") { "data-plane" } else { service };
                numbers.extend(value.parse::<f64>().is_ok().then_some((name, of)));
            }
        }
    }
    numbers
}

/// Starts a service with this value and with servers that do not exist, and returns what it says at its end.
async fn refusal(service: &str, name: &str, value: &str) -> Result<String> {
    let nowhere = "127.0.0.1:1";
    let key = new_encryption_key("k1");
    let mut command = Command::new(paths::binaries(paths::own_profile())?.join(service));
    command.arg("serve").env_clear().kill_on_drop(true);
    for (name, value) in [
        ("SYSTEM_DB_URL", format!("mysql://u:p@{nowhere}/system")),
        ("TENANT_DB_ADMIN_URL", format!("mysql://u:p@{nowhere}/")),
        ("AMQP_URL", format!("amqp://u:p@{nowhere}/")),
        ("ENCRYPTION_KEYS", key),
        (name, value.to_owned()),
    ] {
        command.env(name, value);
    }
    let ended = tokio::time::timeout(Duration::from_secs(30), command.output()).await;
    let output = ended.with_context(|| format!("{service} goes on with {name}={value}"))??;
    ensure!(output.status.code() == Some(1), "{service} with {name}={value}: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_value_out_of_its_range_is_named_at_the_start() -> Result<()> {
    let numbers = numbers();
    ensure!(numbers.len() > 35, "only {} numbers were found in the defaults file", numbers.len());
    let long = "n".repeat(300);
    let texts = [("NODE_NAME", "data-plane"), ("AMQP_PREFIX", "control-plane"), ("TENANT_ACCOUNT_HOST", "provisioner")];
    let bad = numbers.iter().map(|(name, service)| (*name, *service, "99999999999"));
    let bad = bad.chain(texts.iter().map(|(name, service)| (*name, *service, long.as_str())));
    let asked = bad.map(|(name, service, value)| async move {
        let said = refusal(service, name, value).await?;
        ensure!(said.contains(&format!("the setting {name} is wrong")), "{service} with {name}={value}: {said}");
        Ok(())
    });
    let asked: Vec<Result<()>> = futures::stream::iter(asked).buffer_unordered(4).collect().await;
    asked.into_iter().collect()
}
