//! [`SettingKey`] and [`SettingType`]: entries of a configuration, in the system database and in the tenants'
//! databases.
//!
//! A value is stored as text, with the name of its type beside it. Only this module converts between the two forms.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// Longest value, in bytes of its text: the column holds 65,535.
pub const MAX_VALUE: usize = 60_000;

/// A key such as `tenant.theme_color`: parts of `[a-z0-9_]` joined by dots, at least two, at most 100 characters in
/// all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(max_length = 100, pattern = r"^[a-z0-9_]+(\.[a-z0-9_]+)+$", example = "tenant.theme_color")]
pub struct SettingKey(String);

/// The text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is parts of a-z, 0-9 and '_' joined by dots, at most 100 characters, such as tenant.theme_color")]
pub struct InvalidKey;

impl SettingKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every member of the tenant may read the entry (`GET /api/config`).
    pub fn is_public(&self) -> bool {
        self.0.starts_with("tenant.") || self.0.starts_with("features.")
    }
}

impl FromStr for SettingKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let parts = || text.split('.');
        if text.len() <= 100 && parts().count() >= 2 && parts().all(|part| !part.is_empty() && part.bytes().all(fits)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKey)
        }
    }
}

impl TryFrom<String> for SettingKey {
    type Error = InvalidKey;
    fn try_from(text: String) -> Result<Self, InvalidKey> {
        text.parse()
    }
}

impl From<SettingKey> for String {
    fn from(key: SettingKey) -> Self {
        key.0
    }
}

impl fmt::Display for SettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type of an entry, in the column `config_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SettingType {
    /// Text.
    String,
    /// A JSON number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Any JSON value.
    Json,
}

impl SettingType {
    /// The word in the column `config_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Json => "json",
        }
    }

    /// The type for a word of the column. An unknown word means text, which is the default of the column.
    pub fn of_column(word: Option<&str>) -> Self {
        match word {
            Some("number") => Self::Number,
            Some("boolean") => Self::Boolean,
            Some("json") => Self::Json,
            _ => Self::String,
        }
    }

    /// The type of a JSON value.
    pub fn of_value(value: &Value) -> Self {
        match value {
            Value::String(_) => Self::String,
            Value::Number(_) => Self::Number,
            Value::Bool(_) => Self::Boolean,
            Value::Null | Value::Array(_) | Value::Object(_) => Self::Json,
        }
    }

    /// The text of a value; `None` if the value does not have this type.
    pub fn write(self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::String, Value::String(text)) => Some(text.clone()),
            (Self::Number, Value::Number(_)) | (Self::Boolean, Value::Bool(_)) | (Self::Json, _) => {
                Some(value.to_string())
            }
            _ => None,
        }
    }

    /// The value of a text; null if the text does not have this type. A number that has more
    /// digits than a double is read as the nearest one: only requests are refused for it.
    pub fn read(self, text: &str) -> Value {
        let of = |fits: fn(&Value) -> bool| serde_json::from_str(text).ok().filter(fits).unwrap_or(Value::Null);
        match self {
            Self::String => text.into(),
            Self::Boolean => match text {
                "true" | "1" => true.into(),
                "false" | "0" => false.into(),
                _ => Value::Null,
            },
            Self::Number => of(Value::is_number),
            Self::Json => of(|_| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_has_its_declared_type_or_is_null() {
        let of = |text: &str, kind| SettingType::of_column(kind).read(text);
        assert_eq!(of("true", Some("boolean")), json!(true));
        assert_eq!(of("yes", Some("boolean")), Value::Null);
        assert_eq!(of("12.5", Some("number")), json!(12.5));
        assert_eq!(of("\"12\"", Some("number")), Value::Null);
        assert_eq!(of("{\"a\":1}", Some("json")), json!({"a": 1}));
        assert_eq!(of("{", Some("json")), Value::Null);
        assert_eq!(of("true", None), json!("true"));
        assert!(of("[0.12345678901234567890]", Some("json")).is_array());
        assert_eq!(of("[0.1, 1e400]", Some("json")), Value::Null);
    }

    #[test]
    fn a_value_reads_back_as_it_was_written() {
        use SettingType::{Boolean, Json, Number, String};
        for value in [json!("x"), json!(1.5), json!(false), json!({"a": [1]}), json!(null)] {
            for kind in [String, Number, Boolean, Json] {
                match kind.write(&value) {
                    Some(text) => assert_eq!(kind.read(&text), value),
                    None => assert!(kind != Json && kind != SettingType::of_value(&value)),
                }
            }
        }
    }

    #[test]
    fn a_key_consists_of_words_joined_by_dots() {
        for good in ["tenant.name", "a.b.c_1"] {
            assert!(good.parse::<SettingKey>().is_ok());
        }
        for bad in ["", "tenant", "tenant.", ".name", "Tenant.name", "a b.c", "a..b", &format!("a.{}", "x".repeat(99))]
        {
            assert_eq!(bad.parse::<SettingKey>(), Err(InvalidKey), "{bad}");
        }
        assert!("features.x".parse::<SettingKey>().unwrap().is_public());
        assert!(!"payment.secret".parse::<SettingKey>().unwrap().is_public());
    }
}
