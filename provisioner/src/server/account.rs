//! A tenant's database user: rights on its own database only, for rows only.
//!
//! The plain password is in no statement on MariaDB: the server is given its hash, so neither its process list nor a log
//! of statements shows it. MySQL makes its own salted hash and must be told the password, over the same connection.

use super::{Dialect, Session};
use crate::saga::StepError;
use kernel::domain::TenantId;
use kernel::{database, sql};
use secrecy::{ExposeSecret, SecretString};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// Letters of a generated password: 40 of `[A-Za-z0-9]`, 238 bits.
pub const PASSWORD_LENGTH: usize = 40;

/// A tenant's two user names; rotation alternates between them. MySQL allows 32 characters, so the tenant is named by a
/// digest: `ten_` + 24 hexadecimal digits + `_a` or `_b`.
pub fn usernames(tenant_id: &TenantId) -> [String; 2] {
    let digest = hex::encode(&Sha256::digest(tenant_id.as_str().as_bytes())[..12]);
    ["a", "b"].map(|which| format!("ten_{digest}_{which}"))
}

/// The first of them, which provisioning makes.
pub fn username(tenant_id: &TenantId) -> String {
    let [first, _] = usernames(tenant_id);
    first
}

/// A tenant's account on a server.
pub struct Account<'a> {
    /// User name.
    pub username: &'a str,
    /// From where it may log in.
    pub host: &'a str,
    /// The one database it may use.
    pub database: &'a str,
    /// Most connections at once, enforced by the server.
    pub max_connections: u32,
}

impl Account<'_> {
    fn name(&self) -> Result<String, StepError> {
        Ok(format!("{}@{}", sql::literal(self.username)?, sql::literal(self.host)?))
    }

    /// Creates the user, or gives an existing one this password and these limits; then grants its rights. Repeatable.
    pub async fn create(&self, session: &mut Session, password: &SecretString) -> Result<(), StepError> {
        let name = self.name()?;
        let identified = match session.dialect {
            Dialect::MariaDb => {
                format!("IDENTIFIED VIA mysql_native_password USING {}", sql::literal(&native_hash(password))?)
            }
            Dialect::MySql => format!("IDENTIFIED BY {}", sql::literal(password.expose_secret())?),
        };
        let limits = format!("WITH MAX_USER_CONNECTIONS {}", self.max_connections);
        match session.execute(&format!("CREATE USER {name} {identified} {limits}")).await {
            Ok(()) => {}
            // It exists: from an earlier attempt. CREATE USER IF NOT EXISTS would keep its old password.
            Err(StepError::Database(error)) if database::number(&error) == Some(1396) => {
                session.execute(&format!("ALTER USER {name} {identified} {limits} ACCOUNT UNLOCK")).await?;
            }
            Err(error) => return Err(error),
        }
        let pattern = sql::grant_pattern(self.database)?;
        session.execute(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {pattern}.* TO {name}")).await
    }

    /// Lets nobody log in as the user from now on. Sessions that are open stay open: end them after it. `false`: there is no
    /// such user.
    pub async fn lock(&self, session: &mut Session) -> Result<bool, StepError> {
        self.alter(session, "ACCOUNT LOCK").await
    }

    /// Lets the user log in again, with as many connections as it may have now. `false`: there is no such user.
    pub async fn unlock(&self, session: &mut Session) -> Result<bool, StepError> {
        self.alter(session, &format!("WITH MAX_USER_CONNECTIONS {} ACCOUNT UNLOCK", self.max_connections)).await
    }

    async fn alter(&self, session: &mut Session, what: &str) -> Result<bool, StepError> {
        match session.execute(&format!("ALTER USER {} {what}", self.name()?)).await {
            Ok(()) => Ok(true),
            // The server's word for "no such user"; reading its list of users would need a right on its own tables.
            Err(StepError::Database(error)) if database::number(&error) == Some(1396) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the user, if it is there.
    pub async fn drop(&self, session: &mut Session) -> Result<(), StepError> {
        session.execute(&format!("DROP USER IF EXISTS {}", self.name()?)).await
    }
}

/// `mysql_native_password`'s hash: `*` and SHA1(SHA1(password)) in upper case. Unsalted, which matters for passwords that
/// people choose and not for 238 random bits.
fn native_hash(password: &SecretString) -> String {
    let once = Sha1::digest(password.expose_secret().as_bytes());
    format!("*{}", hex::encode_upper(Sha1::digest(once)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_servers() {
        // SELECT PASSWORD('password') of any MariaDB.
        assert_eq!(native_hash(&SecretString::from("password")), "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
    }

    #[test]
    fn user_names_fit_mysql_and_differ() {
        let name = |id: &str| username(&id.parse().unwrap());
        assert!(name(&"a".repeat(32)).len() <= 32);
        assert_ne!(name("a-b"), name("ab"));
    }
}
