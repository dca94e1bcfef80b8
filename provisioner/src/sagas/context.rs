//! What the steps of a job work with.

use super::StepError;
use crate::backup::{BackupStore, Retention};
use crate::server::account::{self, Account};
use crate::server::{Marker, Server, Session};
use crate::statistics::Collecting;
use crate::tables::session::begin_copying;
use kernel::crypto::KeyRing;
use kernel::domain::{Tenant, TenantId};
use kernel::jobs::Lease;
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
    pub backup_before_purge: Option<Retention>,
    /// What a collection of statistics uses.
    pub collecting: Collecting,
}

impl Tools {
    /// The names of a tenant's two users.
    pub fn usernames(&self, tenant_id: &TenantId) -> [String; 2] {
        account::usernames(&self.installation, tenant_id)
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
    /// An earlier attempt of the job may have left something.
    pub repeated: bool,
}

impl Context<'_> {
    /// The ownership marker of this tenant, without a schema.
    pub fn marker(&self) -> Marker {
        Marker::new(&self.tools.installation, &self.tenant.tenant_id)
    }

    /// The names of the tenant's two users, between which rotation alternates.
    pub fn usernames(&self) -> [String; 2] {
        self.tools.usernames(&self.tenant.tenant_id)
    }

    /// Makes `database` the one in which unqualified names are looked up, in a session that copies.
    pub async fn enter_to_copy(&mut self, database: &str) -> Result<(), StepError> {
        begin_copying(self.session.connection()).await?;
        Ok(self.session.enter(database).await?)
    }

    /// Name of the tenant's database.
    pub fn database(&self) -> &str {
        &self.tenant.database.name
    }
}

impl<'c> Context<'c> {
    /// An account of the tenant.
    pub fn account<'u>(&self, username: &'u str) -> Account<'u>
    where
        'c: 'u,
    {
        let Context { tools, tenant, .. } = *self;
        Account {
            username,
            host: &tools.account_host,
            database: &tenant.database.name,
            max_connections: self.max_connections,
        }
    }
}
