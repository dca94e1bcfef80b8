//! Which schema of the old system a source has. [`Generation`] recognises it by the tables.

use super::mapping::MAPPED;
use crate::tables::schema::Tables;
use serde::Serialize;

/// A schema of the old system that can be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Generation {
    /// The schema of 2025-09-23, from which the new schema was made.
    #[serde(rename = "2025-09")]
    September2025,
    /// The schema of 2025-11-03: outline items have their content, structs are LONGTEXT, credentials have their own
    /// tables.
    #[serde(rename = "2025-11")]
    November2025,
}

impl Generation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::September2025 => "2025-09",
            Self::November2025 => "2025-11",
        }
    }

    /// Recognises the source. The error is a sentence for the operator that says what the source is instead.
    pub fn of(source: &Tables) -> Result<Self, String> {
        let has = |table: &str| source.contains_key(table);
        if has("saas_tenants") && has("saas_events") {
            return Err("the source is a system database of the new system, not the old database".into());
        }
        let missing: Vec<&str> = MAPPED.iter().map(|mapped| mapped.table).filter(|table| !has(table)).collect();
        if missing.is_empty() {
            let newer = has("user_users") && has("user_auth_credentials");
            return Ok(if newer { Self::November2025 } else { Self::September2025 });
        }
        if missing.len() == MAPPED.len() {
            return Err(
                "the source is no AI-Shifu database: it has none of its tables (or the account may not see them)"
                    .into(),
            );
        }
        if !has("user_info") && missing.len() < MAPPED.len() / 2 {
            return Err(format!(
                "the source has the AI-Shifu schema of 2026, which is newer than the schemas that can be moved \
                 (2025-09 and 2025-11): it has no {}",
                missing.join(", ")
            ));
        }
        Err(format!(
            "the source is not an AI-Shifu database of 2025-09 or 2025-11: it lacks the tables {} \
             (or the account may not see them)",
            missing.join(", ")
        ))
    }
}
