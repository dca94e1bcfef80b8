//! [`Drift`]: the kinds of differences between the servers and what the events say.

use serde::{Deserialize, Serialize};

macro_rules! drifts {
    ($($name:ident $word:literal $what:literal $repair:expr;)*) => {
        /// A kind of difference.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Drift {
            $(#[doc = $what] #[serde(rename = $word)] $name,)*
        }

        impl Drift {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word in rows, API answers and events.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What the difference is, for operators.
            pub fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// How an audit repairs it; `None`: an operator must act.
            pub fn repair(self) -> Option<&'static str> {
                match self { $(Self::$name => $repair,)* }
            }
        }
    };
}

drifts! {
    DatabaseMissing "database_missing" "the tenant's database is missing" None;
    DatabaseUnmarked "database_unmarked"
        "the database with the name of the tenant's database does not carry the tenant's ownership marker" None;
    DatabaseOrphan "database_orphan"
        "a database carries the ownership marker of this installation, but belongs to no tenant" None;
    CopyLeft "copy_left"
        "a job has left a database of a tenant on this server, where the tenant does not need it" Some("dropped");
    SchemaDiffers "schema_differs" "the database has another schema than the events say" None;
    TableMissing "table_missing" "the database lacks tables of its schema" None;
    RotationLeft "rotation_left" "the credential of a finished rotation is still stored" Some("deleted");
    CredentialLeft "credential_left" "a credential is stored for a tenant that has no database" Some("deleted");
    UserLeft "user_left"
        "the tenant has a database user that it should not have" Some("locked, its sessions killed, dropped");
    UserOrphan "user_orphan"
        "a database user has a name of this installation, but belongs to no tenant"
        Some("locked, its sessions killed, dropped");
    CredentialMissing "credential_missing"
        "the tenant has a database, but no credential is stored" Some("created again, with its user");
    CredentialUnreadable "credential_unreadable" "the key ring cannot decrypt the stored password" None;
    UserMissing "user_missing" "the tenant's database user is missing" Some("created again with the stored password");
    PasswordDiffers "password_differs"
        "the stored credential cannot log in" Some("the user was given the stored password");
    PasswordExpires "password_expires"
        "the password of the tenant's database user has expired or will expire"
        Some("the user was given the stored password, which never expires");
    GrantsDiffer "grants_differ"
        "the tenant's database user has other rights than those on its rows" Some("granted again");
    LimitDiffers "limit_differs"
        "the server allows the tenant another number of connections" Some("set to the tenant's limit");
    AccountLocked "account_locked" "the account is locked, but its tenant should be served" Some("unlocked");
    AccountOpen "account_open"
        "the account is open, but its tenant should not be served" Some("locked, its sessions killed");
    SessionLeft "session_left" "a user that cannot log in still has sessions" Some("killed");
    OpenToAll "open_to_all" "the server gives rights to all users" None;
    ServerUnreadable "server_unreadable" "the administrator's account may not read the server's accounts" None;
    ServerNotSeen "server_not_looked_at" "no provisioner has examined the server" None;
    JobMissing "job_missing" "the tenant is being provisioned, but has no job" None;
    JobStuck "job_stuck" "a job of the tenant was due long ago, and no worker runs it" None;
    ProjectionDiffers "projection_differs"
        "rows differ from the events; `control-plane rebuild --check` names them" Some("rebuilt from the events");
}

impl std::str::FromStr for Drift {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|drift| drift.as_str() == word).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_unique_and_fits_its_column() {
        for drift in Drift::ALL {
            assert!(drift.as_str().len() <= 32 && drift.as_str().parse() == Ok(*drift));
            assert_eq!(serde_json::to_value(drift).unwrap(), drift.as_str());
        }
    }

    #[test]
    fn an_audit_never_repairs_a_database() {
        for drift in Drift::ALL.iter().filter(|drift| drift.as_str().starts_with("database_")) {
            assert_eq!(drift.repair(), None, "{drift:?}");
        }
    }
}
