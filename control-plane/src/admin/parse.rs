//! What several handlers read from paths, bodies and headers. What does not parse is refused with 422 and its field.

use axum::http::{HeaderMap, header};
use kernel::domain::{DomainName, SettingKey, TenantId, UserId};
use kernel::http::ApiError;

/// A tenant id in a path or a body.
pub fn tenant_id(text: &str) -> Result<TenantId, ApiError> {
    text.parse().map_err(|error| ApiError::invalid("tenant_id", "tenant_id", error))
}

/// A user id in a path.
pub fn user_id(text: &str) -> Result<UserId, ApiError> {
    text.parse().map_err(|error| ApiError::invalid("user_id", "user_id", error))
}

/// The key of a configuration's entry, in a path.
pub fn config_key(text: &str) -> Result<SettingKey, ApiError> {
    text.parse().map_err(|error| ApiError::invalid("config_key", "config_key", error))
}

pub fn domain(text: &str, field: &str) -> Result<DomainName, ApiError> {
    text.parse().map_err(|error| ApiError::invalid("domain", field, error))
}

/// 1 to 100 characters (the column's length), no control characters, not only blanks.
pub fn tenant_name(text: &str) -> Result<String, ApiError> {
    let name = text.trim();
    length("tenant_name", name, 1, 100).map(|()| name.to_owned())
}

/// Why an operator does something: 1 to 500 characters.
pub fn reason(text: &str) -> Result<String, ApiError> {
    match text.trim() {
        reason if (1..=500).contains(&reason.chars().count()) => Ok(reason.to_owned()),
        _ => Err(ApiError::invalid("reason", "reason", "1 to 500 characters")),
    }
}

/// At most 200 characters, the columns' length.
pub fn description(text: Option<&str>) -> Result<(), ApiError> {
    match text {
        Some(text) if text.chars().count() > 200 => {
            Err(ApiError::invalid("description", "description", "at most 200 characters"))
        }
        _ => Ok(()),
    }
}

/// A text of `least` to `most` characters, none of them a control character.
pub fn length(field: &'static str, text: &str, least: usize, most: usize) -> Result<(), ApiError> {
    if (least..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(ApiError::invalid(field, field, format!("{least} to {most} characters without control characters")))
    }
}

/// An email address, or nothing: an `@` between two parts.
pub fn email(text: &str) -> Result<(), ApiError> {
    let has_parts = text.rsplit_once('@').is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty());
    if text.is_empty() || has_parts {
        Ok(())
    } else {
        Err(ApiError::invalid("email", "email", "an address has an '@' between two parts"))
    }
}

/// Whether the client asks for this media type.
pub fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains(media_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        assert_eq!(tenant_name(" 学校 ").unwrap(), "学校");
        assert!(tenant_name("  ").is_err() && tenant_name("a\nb").is_err() && tenant_name(&"x".repeat(101)).is_err());
    }
}
