//! What the steps of a job work with.

use super::StepError;
use super::shared::server_objects;
use crate::backup::{BackupStore, Retention};
use crate::server::account::{self, Account, AccountName};
use crate::server::{Lock, Marker, Server, ServerError, Session};
use crate::statistics::Collecting;
use crate::tables::session::begin_copying;
use kernel::crypto::KeyRing;
use kernel::domain::{Tenant, TenantId};
use kernel::jobs::{JobError, JobUnit, Lease};
use kernel::store::Store;
use std::sync::Arc;

/// What every job of one database server uses.
pub struct Tools {
    /// The event store.
    pub store: Store,
    /// Seals tenants' passwords.
    pub keys: KeyRing,
    /// The database server.
    pub server: Arc<Server>,
    /// All servers that this process administers: a tenant can be moved to one of these.
    pub servers: Arc<[Arc<Server>]>,
    /// This installation's id, for ownership markers and user names.
    pub installation: String,
    /// The host part of tenants' accounts: from where they may log in.
    pub account_host: String,
    /// Where backups are stored; `None`: `BACKUP_STORE` is not set.
    pub backups: Option<BackupStore>,
    /// How long backups are kept.
    pub retention: Retention,
    /// Set if a purge takes a last backup.
    pub backup_before_purge: bool,
    /// What a collection of statistics uses.
    pub collecting: Collecting,
}

impl Tools {
    /// The names of a tenant's two users.
    pub fn usernames(&self, tenant_id: &TenantId) -> [String; 2] {
        account::usernames(&self.installation, tenant_id)
    }

    /// The administrator's session with `server` that holds the tenant's lock there. The caller has the tenant's job,
    /// so a session that holds the lock belongs to a worker that has lost the job: it is killed.
    pub async fn open(&self, server: &Server, tenant_id: &TenantId) -> Result<Session, ServerError> {
        Session::open(server, &Lock::of_tenant(&self.installation, tenant_id)).await
    }

    /// The server of this name, if this process administers it.
    pub fn server_named(&self, id: &str) -> Option<&Arc<Server>> {
        self.servers.iter().find(|server| server.id == id)
    }
}

/// A job of a tenant, without a session. Steps that work on several servers hand it around.
#[derive(Clone, Copy)]
pub struct TenantJob<'a> {
    pub tools: &'a Tools,
    /// The right to work on the job.
    pub lease: &'a Lease,
    /// The tenant as it was when the attempt began.
    pub tenant: &'a Tenant,
    /// Most connections of the tenant's user, by its plan when the attempt began.
    pub max_connections: u32,
}

impl<'a> TenantJob<'a> {
    /// The ownership marker of this tenant, without a schema.
    pub fn marker(self) -> Marker {
        Marker::new(&self.tools.installation, &self.tenant.tenant_id)
    }

    /// The names of the tenant's two users, between which rotation alternates.
    pub fn usernames(self) -> [String; 2] {
        self.tools.usernames(&self.tenant.tenant_id)
    }

    /// Name of the tenant's database.
    pub fn database(self) -> &'a str {
        &self.tenant.database.name
    }

    /// Begins a unit of work that holds the job.
    pub async fn begin(self) -> Result<JobUnit<'a>, JobError> {
        self.lease.begin(&self.tools.store).await
    }

    /// The same, but a server that did not answer a moment ago is not waited for.
    pub async fn open_unless_away(self, server: &Server) -> Result<Session, ServerError> {
        let lock = Lock::of_tenant(&self.tools.installation, &self.tenant.tenant_id);
        Session::open_unless_away(server, &lock).await
    }

    /// The administrator's session with `server`, with the tenant's lock there.
    pub async fn open(self, server: &Server) -> Result<Session, ServerError> {
        self.tools.open(server, &self.tenant.tenant_id).await
    }

    /// The account of this name and host.
    pub fn account_named<'u>(self, name: &'u AccountName) -> Account<'u>
    where
        'a: 'u,
    {
        Account {
            username: &name.username,
            host: &name.host,
            database: &self.tenant.database.name,
            max_connections: self.max_connections,
        }
    }

    /// The name of an account of this user that is made now, with the host that the settings say.
    pub fn new_name(self, username: &str) -> AccountName {
        AccountName { username: username.to_owned(), host: self.tools.account_host.clone() }
    }
}

/// What a step works on.
pub struct Context<'a> {
    pub tools: &'a Tools,
    /// The right to work on the job.
    pub lease: &'a Lease,
    /// The tenant as it was when the attempt began.
    pub tenant: &'a Tenant,
    /// The administrator's connection, with the tenant's lock.
    pub session: &'a mut Session,
    /// Most connections of the tenant's user, by its plan when the attempt began.
    pub max_connections: u32,
}

impl<'a> Context<'a> {
    /// The job, without the session.
    pub fn job(&self) -> TenantJob<'a> {
        let Context { tools, lease, tenant, max_connections, .. } = *self;
        TenantJob { tools, lease, tenant, max_connections }
    }

    /// The ownership marker of this tenant, without a schema.
    pub fn marker(&self) -> Marker {
        self.job().marker()
    }

    /// The names of the tenant's two users, between which rotation alternates.
    pub fn usernames(&self) -> [String; 2] {
        self.job().usernames()
    }

    /// Makes `database` the one in which unqualified names are looked up, in a session that copies.
    pub async fn enter_to_copy(&mut self, database: &str) -> Result<(), StepError> {
        begin_copying(self.session.connection()).await?;
        Ok(self.session.enter(database).await?)
    }

    /// Name of the tenant's database.
    pub fn database(&self) -> &'a str {
        &self.tenant.database.name
    }

    /// Every account of the tenant that this server may have.
    pub async fn accounts(&mut self) -> Result<Vec<AccountName>, StepError> {
        let job = self.job();
        server_objects::accounts(job, &job.tools.server.id, self.session).await
    }

    /// The accounts of the user `username` that this server may have.
    pub async fn accounts_of(&mut self, username: &str) -> Result<Vec<AccountName>, StepError> {
        Ok(self.accounts().await?.into_iter().filter(|name| name.username == username).collect())
    }

    /// Whether a job has recorded that it was about to make this database of the tenant here.
    pub async fn is_recorded(&self, database: &str) -> Result<bool, StepError> {
        let (tools, tenant_id) = (self.tools, &self.tenant.tenant_id);
        Ok(server_objects::is_recorded(tools, tenant_id, &tools.server.id, database).await?)
    }
}
