//! A tenant's database user. It has rights on its own database only, and there only on rows.
//!
//! No statement holds the plain password: the server is given its hash ([`super::password_hash`]), so neither its
//! process list nor a log of statements shows it.

use super::{Dialect, ServerError, Session, password_hash};
use kernel::database::{self, sql};
use kernel::domain::TenantId;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// Letters of a generated password: 40 of `[A-Za-z0-9]`, 238 bits.
pub const PASSWORD_LENGTH: usize = 40;

/// What the names of all tenants' users of an installation begin with. A user cannot carry an ownership marker as a
/// database can, so its name is the marker: another installation on the same server has other users for tenants of the
/// same id.
pub fn prefix(installation: &str) -> String {
    format!("ten_{}_", digest(installation, 4))
}

/// A tenant's two user names, between which rotation alternates. MySQL allows 32 characters, so digests name the
/// installation and the tenant: `ten_`, 8 hexadecimal digits, `_`, 16 of them, and `_a` or `_b`.
pub fn usernames(installation: &str, tenant_id: &TenantId) -> [String; 2] {
    let (prefix, tenant) = (prefix(installation), digest(tenant_id.as_str(), 8));
    ["a", "b"].map(|which| format!("{prefix}{tenant}_{which}"))
}

/// The beginning of the digest of a text, in hexadecimal digits.
pub(super) fn digest(text: &str, bytes: usize) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..bytes])
}

/// Which account of a server: two accounts of one user differ in their host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountName {
    pub username: String,
    /// The host part: from where the user may log in.
    pub host: String,
}

/// A tenant's account on a server.
pub struct Account<'a> {
    pub username: &'a str,
    /// The host part of the account: from where the user may log in.
    pub host: &'a str,
    /// The one database it may use.
    pub database: &'a str,
    /// Most connections at once, enforced by the server.
    pub max_connections: u32,
}

impl Account<'_> {
    fn name(&self) -> Result<String, ServerError> {
        Ok(format!("{}@{}", sql::literal(self.username)?, sql::literal(self.host)?))
    }

    /// Creates the user, or gives an existing one this password and these limits; then grants its rights.
    pub async fn create(&self, session: &mut Session, password: &SecretString) -> Result<(), ServerError> {
        self.make(session, password, "ACCOUNT UNLOCK").await
    }

    /// Creates the user as [`Account::create`] does, but locked from its first moment.
    pub async fn create_locked(&self, session: &mut Session, password: &SecretString) -> Result<(), ServerError> {
        self.make(session, password, "ACCOUNT LOCK").await
    }

    async fn make(&self, session: &mut Session, password: &SecretString, lock: &str) -> Result<(), ServerError> {
        let name = self.name()?;
        let (plugin, hash) = (password_hash::plugin(session.dialect), password_hash::hash(session.dialect, password));
        let hash = sql::literal(&hash)?;
        let identified = match session.dialect {
            Dialect::MariaDb => format!("IDENTIFIED VIA {plugin} USING {hash}"),
            Dialect::MySql => format!("IDENTIFIED WITH {plugin} AS {hash}"),
        };
        let limits = format!("WITH MAX_USER_CONNECTIONS {}", self.max_connections);
        // No person changes this password: a rotation does. The server's policy for people's passwords does not apply.
        let policy = match session.dialect {
            Dialect::MariaDb => "PASSWORD EXPIRE NEVER",
            Dialect::MySql => "PASSWORD EXPIRE NEVER PASSWORD HISTORY 0 PASSWORD REUSE INTERVAL 0 DAY",
        };
        let lock = format!("{policy} {lock}");
        match session.execute(&format!("CREATE USER {name} {identified} {limits} {lock}")).await {
            Ok(()) => {}
            // An earlier attempt has created the user. CREATE USER IF NOT EXISTS would leave it its old password.
            Err(ServerError::Database(error)) if database::number(&error) == Some(1396) => {
                session.execute(&format!("ALTER USER {name} {identified} {limits} {lock}")).await?;
            }
            Err(error) => return Err(error),
        }
        self.grant(session).await
    }

    pub async fn grant(&self, session: &mut Session) -> Result<(), ServerError> {
        let (pattern, name) = (sql::grant_pattern(self.database)?, self.name()?);
        session.execute(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {pattern}.* TO {name}")).await
    }

    /// Sets the limit of connections of an existing user.
    pub async fn limit(&self, session: &mut Session) -> Result<(), ServerError> {
        let (name, most) = (self.name()?, self.max_connections);
        session.execute(&format!("ALTER USER {name} WITH MAX_USER_CONNECTIONS {most}")).await
    }

    /// Refuses logins as the user from now on. Its open sessions stay open. `false`: there is no such user.
    pub async fn lock(&self, session: &mut Session) -> Result<bool, ServerError> {
        self.alter(session, "ACCOUNT LOCK").await
    }

    /// Lets the user log in again, with its present limit of connections. `false`: there is no such user.
    pub async fn unlock(&self, session: &mut Session) -> Result<bool, ServerError> {
        self.alter(session, &format!("WITH MAX_USER_CONNECTIONS {} ACCOUNT UNLOCK", self.max_connections)).await
    }

    /// Locks the user and ends its sessions, so that nothing more happens as it. `false`: there is no such user.
    pub async fn lock_out(&self, session: &mut Session) -> Result<bool, ServerError> {
        let exists = self.lock(session).await?;
        if exists {
            session.kill_sessions_of(self.username).await?;
        }
        Ok(exists)
    }

    /// Removes the user, if it is there, and before it its sessions, which would outlive it.
    pub async fn remove(&self, session: &mut Session) -> Result<(), ServerError> {
        if self.lock_out(session).await? {
            self.drop(session).await?;
        }
        Ok(())
    }

    async fn alter(&self, session: &mut Session, what: &str) -> Result<bool, ServerError> {
        match session.execute(&format!("ALTER USER {} {what}", self.name()?)).await {
            Ok(()) => Ok(true),
            // There is no such user. Reading the list of users instead would need a right on the server's own tables.
            Err(ServerError::Database(error)) if database::number(&error) == Some(1396) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Drops the user, if it exists. Its open sessions stay open.
    pub async fn drop(&self, session: &mut Session) -> Result<(), ServerError> {
        session.execute(&format!("DROP USER IF EXISTS {}", self.name()?)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_fit_mysql_and_differ_by_tenant_and_installation() {
        let names = |installation: &str, id: &str| usernames(installation, &id.parse().unwrap());
        let [first, second] = names("i1", &"a".repeat(32));
        assert!(first.len() <= 32 && first != second && first.starts_with(&prefix("i1")));
        assert_ne!(names("i1", "a-b"), names("i1", "ab"));
        assert_ne!(names("i1", "acme"), names("i2", "acme"), "two installations may share a server");
    }
}
