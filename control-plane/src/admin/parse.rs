//! What several handlers read from paths, bodies and headers. What does not parse is refused with 422 and its field.

use kernel::domain::{DomainName, LONGEST_NAME, SettingKey, TenantId, UserId, VisibleText, host_in_ascii};
use kernel::http::ApiError;

/// A tenant id in a path or a body.
pub fn tenant_id(text: &str) -> Result<TenantId, ApiError> {
    text.parse().map_err(|error| ApiError::invalid("tenant_id", "tenant_id", error))
}

/// The id of a tenant that is to be created.
pub fn new_tenant_id(text: &str) -> Result<TenantId, ApiError> {
    TenantId::new(text).map_err(|error| ApiError::invalid("tenant_id", "tenant_id", error))
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

pub fn tenant_name(text: &str) -> Result<String, ApiError> {
    visible("tenant_name", text, 1, LONGEST_NAME)
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

/// A text that people read, of `least` to `most` characters without the blanks at its ends.
pub fn visible(field: &'static str, text: &str, least: usize, most: usize) -> Result<String, ApiError> {
    let text = VisibleText::within(text, least..=most).map_err(|error| ApiError::invalid(field, field, error))?;
    Ok(text.into_string())
}

/// An email address of at most 255 characters, or nothing: a name and a host, with an `@` between them.
pub fn email(text: &str) -> Result<String, ApiError> {
    let address = visible("email", text, 0, 255)?;
    // The name may have any letters, in all scripts, but none that separate addresses in a header.
    let is_name = |name: &str| {
        (1..=64).contains(&name.len()) && !name.contains(|c: char| c.is_whitespace() || "@<>()[],;:\\\"".contains(c))
    };
    let has_parts = address.rsplit_once('@').is_some_and(|(name, host)| is_name(name) && host_in_ascii(host).is_some());
    if address.is_empty() || has_parts {
        Ok(address)
    } else {
        Err(ApiError::invalid("email", "email", "an address is a name and a host, with an '@' between them"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        assert_eq!(tenant_name(" 学校 ").unwrap(), "学校");
        assert!(tenant_name("  ").is_err() && tenant_name("a\nb").is_err() && tenant_name(&"x".repeat(101)).is_err());
        for hidden in ["a\u{200B}b", "\u{202E}emca", "\u{200D}"] {
            assert!(tenant_name(hidden).is_err(), "{hidden:?}");
        }
    }

    #[test]
    fn an_email_is_a_name_and_a_host() {
        for good in ["", "ann@example.com", "josé@example.com", "李@学校.example", "root@intranet", "a.b+c@x-y.org"]
        {
            assert_eq!(email(good).unwrap(), good);
        }
        assert_eq!(email(" ann@example.com ").unwrap(), "ann@example.com");
        for bad in [
            " @ ", "@", "a@", "@b", "a b@c.de", "a@b c", "a@b@c.de", "a@-b.de", "a@b..de", "a,b@c.de", "ann",
            "<a@b.de>",
        ] {
            assert!(email(bad).is_err(), "{bad}");
        }
        assert!(email(&format!("{}@b.de", "x".repeat(65))).is_err());
    }
}
