//! The database that a job makes for a tenant on a server where the tenant is not yet, by a move or from a backup.
//!
//! Until the tenant is there, the database carries the ownership marker of a copy. Only what carries that marker is
//! ever dropped: any other database of the same name has another owner.

use super::verify_login;
use crate::sagas::{Context, StepError, Tools};
use crate::server::account::Account;
use crate::server::{Found, Marker, Server, Session};
use kernel::domain::Tenant;
use kernel::jobs::JobError;
use secrecy::SecretString;

/// The tenant as it is now.
pub async fn present(context: &Context<'_>) -> Result<Tenant, StepError> {
    let tenant = context.tools.store.tenant(&context.tenant.tenant_id).await.map_err(JobError::from)?;
    tenant.ok_or(StepError::Unfit("there is no such tenant"))
}

/// Whether the tenant is on `server` now.
pub async fn is_on(tools: &Tools, tenant: &Tenant, server: &str) -> Result<bool, JobError> {
    Ok(tools.store.tenant(&tenant.tenant_id).await?.is_some_and(|tenant| tenant.database.server == server))
}

/// The copy that a job makes on `server`.
pub struct TenantCopy<'a> {
    server: &'a Server,
    database: &'a str,
    owner: Marker,
    accounts: [Account<'a>; 2],
    /// An earlier attempt of the job may have left an empty database without a marker.
    repeated: bool,
}

impl<'a> TenantCopy<'a> {
    /// The copy that the job of `context` makes on `server`. `usernames` are the tenant's.
    pub fn new<'c: 'a>(context: &Context<'c>, server: &'a Server, usernames: &'a [String; 2]) -> Self {
        let Context { tenant, repeated, .. } = *context;
        Self {
            server,
            database: &tenant.database.name,
            owner: context.marker(),
            accounts: usernames.each_ref().map(|username| context.account(username)),
            repeated,
        }
    }

    /// Drops what an earlier attempt has copied, and makes an empty database with the marker of a copy.
    pub async fn create(&self, session: &mut Session) -> Result<(), StepError> {
        self.clear(session).await?;
        if session.create_database(self.database, &self.owner.of_copy()).await? {
            return Ok(());
        }
        let (name, server) = (self.database, &self.server.id);
        Err(StepError::Transient(format!("a database named {name} has come into being on {server} meanwhile")))
    }

    /// Makes the tenant's user, locked. A user of an earlier stay of the tenant on the server, with a password of that
    /// time, is dropped.
    pub async fn create_user(
        &self,
        session: &mut Session,
        (username, password): &(String, SecretString),
    ) -> Result<(), StepError> {
        self.has(username)?;
        for account in &self.accounts {
            match account.username == username {
                true => account.create_locked(session, password).await?,
                false => account.drop(session).await?,
            }
        }
        Ok(())
    }

    /// Opens the tenant's user, and verifies that it logs in and reads.
    pub async fn open(
        &self,
        session: &mut Session,
        (username, password): &(String, SecretString),
    ) -> Result<(), StepError> {
        self.has(username)?;
        for account in self.accounts.iter().filter(|account| account.username == username) {
            if !account.unlock(session).await? {
                let server = &self.server.id;
                return Err(StepError::Transient(format!("the database user {username} is missing on {server}")));
            }
        }
        verify_login::verify(self.server, self.database, username, password).await
    }

    /// Fails if the tenant's user in use has another name than the two that are computed from its id.
    fn has(&self, username: &str) -> Result<(), StepError> {
        let known = self.accounts.iter().any(|account| account.username == username);
        known
            .then_some(())
            .ok_or(StepError::Unfit("the tenant's database user in use has a name that is not the tenant's"))
    }

    /// Drops what an earlier attempt has copied.
    async fn clear(&self, session: &mut Session) -> Result<(), StepError> {
        let (name, owner) = (self.database, &self.owner);
        match session.find(name).await? {
            Found::Absent => Ok(()),
            Found::Marked(marker) if marker.is_of(owner) && marker.is_copy() => {
                Ok(session.drop_database(name, owner, false).await?)
            }
            // On MySQL the marker is written after the database was made.
            Found::Unmarked { empty: true } if self.repeated => Ok(session.drop_database(name, owner, true).await?),
            Found::Marked(_) | Found::Unmarked { .. } => Err(StepError::Permanent(format!(
                "a database named {name} exists on {}: check what it is, and drop it by hand",
                self.server.id
            ))),
        }
    }

    /// Removes the copy and the tenant's users. If another database has the name, it and the users stay.
    pub async fn remove(&self, session: &mut Session) -> Result<(), StepError> {
        match self.clear(session).await {
            Err(StepError::Permanent(_)) => return Ok(()),
            cleared => cleared?,
        }
        for account in &self.accounts {
            account.remove(session).await?;
        }
        Ok(())
    }
}
