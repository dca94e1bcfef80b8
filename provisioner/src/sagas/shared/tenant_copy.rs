//! The database that a job makes for a tenant on a server where the tenant is not yet, by a move or from a backup.
//!
//! Until the tenant is there, the database carries the ownership marker of a copy. Only what carries that marker is
//! ever dropped: any other database of the same name has another owner.

use super::server_objects::{self, ServerObject};
use super::verify_login;
use crate::sagas::{Context, StepError, TenantJob, Tools};
use crate::server::{Dialect, Found, Marker, Server, Session};
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
    job: TenantJob<'a>,
    database: &'a str,
    owner: Marker,
}

impl<'a> TenantCopy<'a> {
    /// The copy that `job` makes on `server`.
    pub fn new(job: TenantJob<'a>, server: &'a Server) -> Self {
        Self { server, job, database: job.database(), owner: job.marker() }
    }

    /// Drops what an earlier attempt has copied, and makes an empty database with the marker of a copy.
    pub async fn create(&self, session: &mut Session) -> Result<(), StepError> {
        self.clear(session).await?;
        let object = ServerObject::Database(self.database);
        server_objects::record_now(self.job, &self.server.id, &[object]).await?;
        if session.create_database(self.database, &self.owner.of_copy()).await? {
            return Ok(());
        }
        server_objects::forget_now(self.job, &self.server.id, object).await?;
        let (name, server) = (self.database, &self.server.id);
        Err(StepError::Transient(format!("a database named {name} has come into being on {server} meanwhile")))
    }

    /// Makes the tenant's user, locked. An account of an earlier stay of the tenant on the server, with a password of
    /// that time, is dropped.
    pub async fn create_user(
        &self,
        session: &mut Session,
        (username, password): &(String, SecretString),
    ) -> Result<(), StepError> {
        self.has(username)?;
        let new = self.job.new_name(username);
        // Asked before the new one is recorded, so that the server shows those that no row names.
        let there = server_objects::accounts(self.job, &self.server.id, session).await?;
        server_objects::record_now(self.job, &self.server.id, &[ServerObject::Account(&new)]).await?;
        for name in there {
            if name != new {
                self.job.account_named(&name).drop(session).await?;
                server_objects::forget_now(self.job, &self.server.id, ServerObject::Account(&name)).await?;
            }
        }
        Ok(self.job.account_named(&new).create_locked(session, password).await?)
    }

    /// Opens the tenant's user, and verifies that it logs in and reads.
    pub async fn open(
        &self,
        session: &mut Session,
        (username, password): &(String, SecretString),
    ) -> Result<(), StepError> {
        self.has(username)?;
        let mut opened = 0;
        for name in server_objects::accounts(self.job, &self.server.id, session).await? {
            if name.username == *username {
                opened += u32::from(self.job.account_named(&name).unlock(session).await?);
            }
        }
        if opened == 0 {
            let server = &self.server.id;
            return Err(StepError::Transient(format!("the database user {username} is missing on {server}")));
        }
        verify_login::verify(self.server, self.database, username, password).await
    }

    /// Fails if the tenant's user in use has another name than the two that are computed from its id.
    fn has(&self, username: &str) -> Result<(), StepError> {
        let known = self.job.usernames().iter().any(|known| known == username);
        known
            .then_some(())
            .ok_or(StepError::Unfit("the tenant's database user in use has a name that is not the tenant's"))
    }

    /// Drops what an earlier attempt has copied, or what a job that could not reach the server has left.
    async fn clear(&self, session: &mut Session) -> Result<(), StepError> {
        let (name, owner, tools, tenant) = (self.database, &self.owner, self.job.tools, self.job.tenant);
        match session.find(name).await? {
            Found::Absent => Ok(()),
            Found::Marked(marker) if marker.is_of(owner) && (marker.is_copy() || self.is_left().await?) => {
                Ok(session.drop_database(name, owner, false).await?)
            }
            // On MySQL the marker is written after the database was made.
            Found::Unmarked { empty: true }
                if session.dialect == Dialect::MySql
                    && server_objects::is_recorded(tools, &tenant.tenant_id, &self.server.id, name).await? =>
            {
                Ok(session.drop_database(name, owner, true).await?)
            }
            Found::Marked(_) | Found::Unmarked { .. } => Err(StepError::Permanent(format!(
                "a database named {name} exists on {}: check what it is, and drop it by hand",
                self.server.id
            ))),
        }
    }

    /// Whether a job has left the database itself here. One that no job has left may be the only place of some data.
    async fn is_left(&self) -> Result<bool, StepError> {
        let left_on = server_objects::left_on(self.job.tools, &self.job.tenant.tenant_id, self.database).await?;
        Ok(left_on.contains(&self.server.id))
    }

    /// Removes the copy and the tenant's users. If another database has the name, it and the users stay.
    pub async fn remove(&self, session: &mut Session) -> Result<(), StepError> {
        match self.clear(session).await {
            Err(StepError::Permanent(_)) => return Ok(()),
            cleared => cleared?,
        }
        for name in server_objects::accounts(self.job, &self.server.id, session).await? {
            self.job.account_named(&name).remove(session).await?;
        }
        Ok(server_objects::forget_all(self.job, &self.server.id).await?)
    }
}
