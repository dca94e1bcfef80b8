//! The settings that the services read are those that `deploy/defaults.env` describes.

use anyhow::{Result, ensure};
use harness::paths;
use kernel::process::config::DEFAULTS;
use std::collections::BTreeSet;
use std::fs;

/// Texts of the code that look like settings and are none: modes, tables of a server, placeholders for the reader, and
/// a variable that only tests set.
const NO_SETTINGS: [&str; 9] = [
    "CARGO_PKG_VERSION",
    "COLUMN_PRIVILEGES",
    "NEWER_TENANT_MIGRATIONS",
    "NEW_ID",
    "SCHEMA_PRIVILEGES",
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
