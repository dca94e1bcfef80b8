//! `If-Match`: a caller names the version of the tenant that it has seen, and the request changes no other version.
//!
//! **Guarantee.** The version is compared under the lock of the tenant's row, in the unit that changes the tenant. So
//! of two requests with one version, one succeeds and the other is answered 412. A request without the header waits
//! for the others and succeeds.

use crate::commands::{Refusal, Write};
use axum::http::{HeaderMap, header};
use kernel::domain::{TenantId, Version};
use kernel::http::{ApiError, Code};
use kernel::store::UnitOfWork;
use serde_json::{Value, json};

/// The header of a request (RFC 9110, section 13.1.1).
#[derive(Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: any version of a tenant that exists.
    Any,
    /// One of these versions. Tags that are no version of ours are left out, because they match none.
    Versions(Vec<u32>),
}

impl IfMatch {
    /// Reads the header.
    ///
    /// # Errors
    /// 422 `invalid_if_match` if it is neither `*` nor a list of versions.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let values = headers.get_all(header::IF_MATCH).iter().map(|value| value.to_str());
        let values = values.collect::<Result<Vec<_>, _>>().map_err(|_| refusal())?;
        if values.is_empty() { Ok(None) } else { Self::parse(&values.join(", ")).map(Some).ok_or_else(refusal) }
    }

    fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        let (mut versions, mut rest, mut tags) = (Vec::new(), text, 0);
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return (tags > 0).then_some(Self::Versions(versions));
            }
            // A weak tag never matches, and the contents of a tag may be any text, also one with a comma.
            let (is_weak, tag) = rest.strip_prefix("W/").map_or((false, rest), |tag| (true, tag));
            let (version, after) = match tag.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None if is_weak => return None,
                None => tag.split_at(tag.find([' ', '\t', ',']).unwrap_or(tag.len())),
            };
            let is_bare = !tag.starts_with('"');
            match version.parse() {
                Ok(version) if !is_weak => versions.push(version),
                Err(_) if is_bare => return None,
                _ => {}
            }
            rest = after.trim_start_matches([' ', '\t']);
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
            tags += 1;
        }
    }

    fn holds(&self, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::Versions(versions) => versions.contains(&version.0),
        }
    }
}

fn refusal() -> ApiError {
    ApiError::invalid("if_match", "If-Match", "the version of a tenant, such as \"7\", several of them, or *")
}

/// The header in the OpenAPI document.
pub fn document() -> Value {
    json!({
        "name": "If-Match", "in": "header", "required": false,
        "description": "The version of the tenant that this request may change, as `ETag` and `version` name it. If \
                        the tenant has another one, or the request changes no tenant, the answer is 412.",
        "schema": {"type": "string", "example": "\"7\""},
    })
}

/// A command that runs only if the tenant has a version that the request names.
pub struct Conditional<'a, W> {
    pub write: &'a W,
    /// `None`: every version.
    pub if_match: Option<&'a IfMatch>,
}

impl<W: Write> Write for Conditional<'_, W> {
    type Done = W::Done;

    fn tenant(&self) -> Option<&TenantId> {
        self.write.tenant()
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<W::Done, Refusal> {
        if let Some(if_match) = self.if_match {
            let tenant_id = self.write.tenant().ok_or(Code::PreconditionFailed)?;
            // A tenant that does not exist is refused by the command itself.
            if let Some(tenant) = unit.tenant(tenant_id).await?
                && !if_match.holds(tenant.version)
            {
                return Err(ApiError::from(Code::PreconditionFailed).with("version", tenant.version.0).into());
            }
        }
        self.write.run(unit, actor).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_is_a_star_or_a_list_of_versions() {
        let versions = |versions: &[u32]| Some(IfMatch::Versions(versions.to_vec()));
        for (text, expected) in [
            ("*", Some(IfMatch::Any)),
            ("\"7\"", versions(&[7])),
            ("7", versions(&[7])),
            ("\"7\", \"8\" ,9", versions(&[7, 8, 9])),
            ("W/\"7\", \"8\"", versions(&[8])),
            ("\"a,b\",\"7\"", versions(&[7])),
            ("", None),
            (" , ", None),
            ("seven", None),
            ("W/7", None),
            ("\"7", None),
            ("\"7\"8", None),
            ("-1", None),
            ("*, \"7\"", None),
        ] {
            assert_eq!(IfMatch::parse(text), expected, "{text}");
        }
    }
}
