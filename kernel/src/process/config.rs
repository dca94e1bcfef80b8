//! Settings: the environment, and for what it does not set the documented defaults of `deploy/defaults.env`. A process
//! parses each setting once at its start.
//!
//! If a setting is missing or wrong, the process stops and names it. It never shows the value, which may be a secret.

use super::ranges;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The documented defaults, as compiled in.
pub const DEFAULTS: &str = include_str!("../../../deploy/defaults.env");

/// Why a setting is not usable. The message always names the setting.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A required setting is missing.
    #[error("the setting {0} is missing (or give {0}_FILE, the path of a file that holds it)")]
    Missing(String),
    /// A setting does not have the required form.
    #[error("the setting {name} is wrong: {reason}")]
    Wrong {
        /// The setting.
        name: String,
        /// What is wrong, or what form is required.
        reason: String,
    },
    /// `NAME_FILE` names a file that cannot be read.
    #[error("the file of the setting {name}_FILE cannot be read: {path}")]
    File {
        /// The setting, without `_FILE`.
        name: String,
        /// The path in `NAME_FILE`.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: std::io::Error,
    },
}

/// All settings as text; [`Settings::get`] and its siblings parse them.
pub struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// The environment over the defaults.
    pub fn from_environment() -> Self {
        Self::from_pairs(std::env::vars())
    }

    /// The given pairs over the defaults.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut values = defaults();
        values.extend(pairs);
        Self { values }
    }

    /// A required setting of any type that can be parsed. The parser's error becomes the reason. A number must be in
    /// its range, which `ranges.rs` has.
    pub fn get<T: FromStr>(&self, name: &str) -> Result<T, ConfigError>
    where
        T::Err: Display,
    {
        let text = self.text(name)?.ok_or_else(|| ConfigError::Missing(name.into()))?;
        ranges::check(name, &text)?;
        text.parse().map_err(|error: T::Err| wrong(name, error))
    }

    /// A whole number of seconds.
    pub fn seconds(&self, name: &str) -> Result<Duration, ConfigError> {
        self.get(name).map(Duration::from_secs)
    }

    /// A required secret.
    pub fn secret(&self, name: &str) -> Result<SecretString, ConfigError> {
        self.optional_secret(name)?.ok_or_else(|| ConfigError::Missing(name.into()))
    }

    /// A secret that may be absent or empty.
    pub fn optional_secret(&self, name: &str) -> Result<Option<SecretString>, ConfigError> {
        Ok(self.text(name)?.filter(|text| !text.is_empty()).map(SecretString::from))
    }

    /// The settings whose names begin with `prefix`, by the rest of the name. `NAME_FILE` variants are read.
    pub fn secrets_by_suffix(&self, prefix: &str) -> Result<BTreeMap<String, SecretString>, ConfigError> {
        let mut found = BTreeMap::new();
        // `<prefix>FILE` is the file of the setting without a suffix.
        let suffixes =
            self.values.keys().filter_map(|name| name.strip_prefix(prefix)).filter(|suffix| *suffix != "FILE");
        for suffix in suffixes.map(|suffix| suffix.strip_suffix("_FILE").unwrap_or(suffix)) {
            if let Some(secret) = self.optional_secret(&format!("{prefix}{suffix}"))? {
                found.insert(suffix.to_owned(), secret);
            }
        }
        Ok(found)
    }

    fn text(&self, name: &str) -> Result<Option<String>, ConfigError> {
        if let Some(path) = self.values.get(&format!("{name}_FILE")).map(PathBuf::from) {
            return match std::fs::read_to_string(&path) {
                // Some editors write a byte order mark, which no value begins with.
                Ok(text) => Ok(Some(text.trim_start_matches('\u{feff}').trim_end().to_owned())),
                Err(source) => Err(ConfigError::File { name: name.into(), path, source }),
            };
        }
        Ok(self.values.get(name).cloned())
    }
}

/// An error that names a setting, for checks that need more than a parser.
pub fn wrong(name: &str, reason: impl Display) -> ConfigError {
    ConfigError::Wrong { name: name.into(), reason: reason.to_string() }
}

fn defaults() -> BTreeMap<String, String> {
    DEFAULTS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_pairs(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn the_environment_overrides_the_defaults() {
        assert_eq!(settings(&[]).get::<u32>("PROVISIONER_WORKERS").unwrap(), 4);
        assert_eq!(settings(&[("PROVISIONER_WORKERS", "9")]).get::<u32>("PROVISIONER_WORKERS").unwrap(), 9);
    }

    #[test]
    fn a_missing_or_wrong_setting_is_named_without_its_value() {
        let error = settings(&[]).secret("SYSTEM_DB_URL").unwrap_err().to_string();
        assert!(error.contains("SYSTEM_DB_URL"), "{error}");
        let error = settings(&[("JOB_LEASE", "s3cret")]).seconds("JOB_LEASE").unwrap_err().to_string();
        assert!(error.contains("JOB_LEASE") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn secrets_can_come_from_files() {
        let path = std::env::temp_dir().join(format!("kernel-config-{}", std::process::id()));
        std::fs::write(&path, "\u{feff}hidden\r\n").unwrap();
        let with_file = settings(&[("AMQP_URL_FILE", path.to_str().unwrap())]);
        assert_eq!(with_file.secret("AMQP_URL").unwrap().expose_secret(), "hidden");
        std::fs::remove_file(&path).unwrap();
        assert!(with_file.secret("AMQP_URL").unwrap_err().to_string().contains("AMQP_URL_FILE"));
    }

    #[test]
    fn settings_are_found_by_their_suffix() {
        let of_main = ("TENANT_DB_ADMIN_URL_FILE", "/run/secrets/main");
        let settings = settings(&[("TENANT_DB_ADMIN_URL_EU2", "x"), ("TENANT_DB_ADMIN_URL_US", ""), of_main]);
        let found = settings.secrets_by_suffix("TENANT_DB_ADMIN_URL_").unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["EU2"]);
    }
}
