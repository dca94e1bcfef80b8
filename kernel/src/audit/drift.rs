//! The kinds of differences between what the events say and what is there.

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

            /// The word in rows, answers and events.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it means, for people.
            pub fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// How an audit repairs it; `None`: it does not, and the operator must.
            pub fn repair(self) -> Option<&'static str> {
                match self { $(Self::$name => $repair,)* }
            }
        }
    };
}

drifts! {
    DatabaseMissing "database_missing" "the tenant's database is not there" None;
    DatabaseUnmarked "database_unmarked" "the database with the name of the tenant's does not carry the tenant's ownership marker" None;
    DatabaseOrphan "database_orphan" "a database carries an ownership marker of this installation and belongs to no tenant" None;
    SchemaDiffers "schema_differs" "the database has another schema than the events say" None;
    TableMissing "table_missing" "the database lacks tables of its schema" None;
    RotationLeft "rotation_left" "a credential of a rotation that has ended is still stored" Some("forgotten");
    CredentialLeft "credential_left" "a credential is stored for a tenant that has no database" Some("forgotten");
    UserLeft "user_left" "a user of the tenant is there that should not be" Some("locked, its sessions ended, dropped");
    UserOrphan "user_orphan" "a user has a name of this installation and belongs to no tenant" Some("locked, its sessions ended, dropped");
    CredentialMissing "credential_missing" "has a database and no stored credential" Some("made again, with its user");
    CredentialUnreadable "credential_unreadable" "the stored password does not open with the key ring" None;
    UserMissing "user_missing" "the tenant's user is not there" Some("made again with the stored password");
    PasswordDiffers "password_differs" "the stored credential does not log in" Some("the user was given the stored password");
    GrantsDiffer "grants_differ" "the tenant's user has other rights than those on its rows" Some("granted again");
    LimitDiffers "limit_differs" "the server allows the tenant another number of connections" Some("set to the tenant's limit");
    AccountLocked "account_locked" "the account is locked and its tenant is to be served" Some("unlocked");
    AccountOpen "account_open" "the account is open and its tenant is not to be served" Some("locked, its sessions ended");
    SessionLeft "session_left" "there are sessions of a user that cannot log in" Some("ended");
    OpenToAll "open_to_all" "the server gives rights to all its users" None;
    ServerUnreadable "server_unreadable" "the administrator's account may not read the server's accounts" None;
    ServerNotSeen "server_not_looked_at" "no provisioner has checked the server" None;
    JobMissing "job_missing" "is being provisioned and has no job" None;
    JobStuck "job_stuck" "has a job that was due long ago and that no worker takes" None;
    ProjectionDiffers "projection_differs" "rows differ from the events; `control-plane rebuild --check` names them" Some("rebuilt from the events");
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
    fn words_are_unique_and_fit_their_column() {
        for drift in Drift::ALL {
            assert!(drift.as_str().len() <= 32 && drift.as_str().parse() == Ok(*drift));
            assert_eq!(serde_json::to_value(drift).unwrap(), drift.as_str());
        }
    }

    #[test]
    fn no_database_is_ever_repaired() {
        for drift in Drift::ALL.iter().filter(|drift| drift.as_str().starts_with("database_")) {
            assert_eq!(drift.repair(), None, "{drift:?}");
        }
    }
}
