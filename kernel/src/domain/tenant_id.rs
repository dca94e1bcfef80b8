//! [`TenantId`]: the name of a tenant in URLs, as a subdomain, and in the name of its database.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// Names that have another meaning as a subdomain or for an operator.
const RESERVED: [&str; 6] = ["admin", "api", "cdn", "static", "system", "www"];

/// 2 to 32 of `[a-z0-9-]`, not beginning or ending in `-`, not a reserved name.
///
/// The alphabet is safe in a DNS label, a path segment, a log line and (quoted) an SQL identifier; two different ids
/// can not fold into one under any collation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(min_length = 2, max_length = 32, pattern = "^[a-z0-9][a-z0-9-]*[a-z0-9]$", example = "acme")]
pub struct TenantId(String);

/// The prefix of the names of all tenants' databases.
pub const DATABASE_PREFIX: &str = "ai_shifu_tenant_";

/// Why a text is not a tenant id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTenantId {
    /// The text is shorter than 2 or longer than 32 characters.
    #[error("a tenant id has 2 to 32 characters")]
    Length,
    /// The text has a character outside `[a-z0-9-]`.
    #[error("a tenant id has only a-z, 0-9 and '-'")]
    Alphabet,
    /// The text begins or ends in `-`.
    #[error("a tenant id does not begin or end with '-'")]
    Edge,
    /// The text is `www`, `api`, `admin`, `cdn`, `static` or `system`.
    #[error("this tenant id is reserved")]
    Reserved,
    /// A new id begins with `xn--`.
    #[error("a tenant id does not begin with 'xn--', because browsers take such a name for an encoded one")]
    Encoded,
}

impl TenantId {
    /// The id of a tenant that is to be created: it can be reached as a subdomain. Tenants of older versions may have
    /// ids that cannot.
    ///
    /// # Errors
    /// Why the text is not such an id.
    pub fn new(text: &str) -> Result<Self, InvalidTenantId> {
        if text.starts_with("xn--") { Err(InvalidTenantId::Encoded) } else { text.parse() }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the tenant's database: `ai_shifu_tenant_{tenant_id}`. It has at most 48 of the 64 characters that a
    /// server allows.
    pub fn database_name(&self) -> String {
        format!("{DATABASE_PREFIX}{}", self.0)
    }
}

impl FromStr for TenantId {
    type Err = InvalidTenantId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !(2..=32).contains(&text.len()) {
            return Err(InvalidTenantId::Length);
        }
        if !text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
            return Err(InvalidTenantId::Alphabet);
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(InvalidTenantId::Edge);
        }
        if RESERVED.contains(&text) {
            return Err(InvalidTenantId::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TenantId {
    type Error = InvalidTenantId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TenantId> for String {
    fn from(id: TenantId) -> Self {
        id.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for TenantId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_alphabet_is_accepted() {
        for good in ["ab", "a-b", "company1", "0x", &"a".repeat(32), "default"] {
            assert_eq!(good.parse::<TenantId>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn every_new_id_is_a_label_of_a_host() {
        for good in ["ab", "v2--shop", "0x", "127"] {
            let id = TenantId::new(good).unwrap();
            let host = format!("{id}.example.com").parse::<crate::domain::DomainName>().unwrap();
            assert_eq!(host.subdomain(), Some(good));
        }
        assert_eq!(TenantId::new("xn--abc"), Err(InvalidTenantId::Encoded));
        assert!("xn--abc".parse::<TenantId>().is_ok(), "a tenant of an older version may have it");
    }

    #[test]
    fn an_invalid_id_is_refused_with_its_reason() {
        use InvalidTenantId::*;
        for (bad, why) in [
            ("", Length),
            ("a", Length),
            (&"a".repeat(33), Length),
            ("A-b", Alphabet),
            ("a_b", Alphabet),
            ("a.b", Alphabet),
            ("a`b", Alphabet),
            ("тест", Alphabet),
            ("a b", Alphabet),
            ("a%", Alphabet),
            ("-ab", Edge),
            ("ab-", Edge),
            ("admin", Reserved),
        ] {
            assert_eq!(bad.parse::<TenantId>(), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn database_names_are_short_and_differ_for_every_id() {
        let long: TenantId = "a".repeat(32).parse().unwrap();
        assert_eq!(long.database_name().len(), 48);
    }
}
