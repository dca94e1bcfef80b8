//! [`UserId`] and [`Role`]: users are in the system database, and may have a role in several tenants.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// `user_info.user_id`: usually a UUID, in old installations any text of 1 to 36 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(min_length = 1, max_length = 36, pattern = "^[!-~]{1,36}$")]
pub struct UserId(String);

/// The text does not have 1 to 36 printable ASCII characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user id has 1 to 36 printable ASCII characters")]
pub struct InvalidUserId;

impl UserId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A new id: a UUID in the form of the legacy application.
    pub fn generate() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

impl FromStr for UserId {
    type Err = InvalidUserId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if (1..=36).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidUserId)
        }
    }
}

impl TryFrom<String> for UserId {
    type Error = InvalidUserId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a user may do in one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// An admin sees and changes everything of the tenant.
    Admin,
    /// A user sees and changes its own data.
    User,
    /// A viewer sees everything of the tenant and changes nothing.
    Viewer,
}

/// The text is not `admin`, `user` or `viewer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is admin, user or viewer")]
pub struct UnknownRole;

impl Role {
    /// The word in the column `saas_tenant_users.role`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Viewer => "viewer",
        }
    }

    /// Whether the role may read rows of other users of the tenant.
    pub fn sees_all(self) -> bool {
        matches!(self, Self::Admin | Self::Viewer)
    }
}

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "admin" => Ok(Self::Admin),
            "user" => Ok(Self::User),
            "viewer" => Ok(Self::Viewer),
            _ => Err(UnknownRole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_has_1_to_36_printable_characters() {
        assert!("u0001-1".parse::<UserId>().is_ok());
        assert!(UserId::generate().as_str().parse::<UserId>().is_ok());
        for bad in ["", "a b", "a\n", "ü", &"x".repeat(37)] {
            assert_eq!(bad.parse::<UserId>(), Err(InvalidUserId));
        }
    }

    #[test]
    fn a_role_reads_back_from_its_word() {
        for role in [Role::Admin, Role::User, Role::Viewer] {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(UnknownRole));
    }
}
