//! What the system database says that a tenant should have on its server.

use crate::sagas::Tools;
use crate::sagas::shared::server_objects;
use crate::server::account::AccountName;
use kernel::crypto::Purpose;
use kernel::domain::{Position, Tenant, TenantId, TenantState};
use kernel::store::{Plan, TenantFilter};
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};

/// Tenants read at once.
const PAGE: u32 = 500;

/// The stored password of a tenant.
pub enum Stored {
    /// There is none.
    Nothing,
    /// No key of the ring opens it.
    Unreadable,
    /// The opened password.
    Password(SecretString),
}

/// What is recorded of the accounts of a tenant on its server.
#[derive(Clone, Debug)]
pub enum Hosts {
    /// The tenant is from before the records.
    Unrecorded,
    Recorded(Vec<AccountName>),
}

/// A tenant, with its stored credential.
pub struct Expected {
    pub tenant: Tenant,
    /// The names of its two users.
    pub usernames: [String; 2],
    /// The name of the user in use; empty: none is.
    pub in_use: String,
    /// The password of the user in use.
    pub password: Stored,
    /// Most connections of the user, by the tenant's present plan.
    pub max_connections: u32,
    /// The recorded accounts.
    pub hosts: Hosts,
    /// A rotation has a row.
    pub rotation: bool,
    /// A job of the tenant that is not an audit has not ended.
    pub busy: bool,
}

/// What a tenant should have on its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Nothing,
    /// A database, and a user that cannot log in.
    Locked,
    /// A database, and a user that can log in.
    Open,
    /// It is being provisioned, so anything may be there.
    Unknown,
}

/// What a tenant in its present state should have on its server.
pub fn presence(tenant: &Tenant) -> Presence {
    let before = tenant.before_deletion.as_ref().map(|before| before.state);
    match (tenant.state, before) {
        (TenantState::Active | TenantState::Maintenance, _) => Presence::Open,
        (TenantState::Suspended, _) => Presence::Locked,
        (TenantState::Failed | TenantState::Purged, _) | (TenantState::Deleted, Some(TenantState::Failed)) => {
            Presence::Nothing
        }
        (TenantState::Deleted, _) => Presence::Locked,
        (TenantState::Provisioning, _) => Presence::Unknown,
    }
}

/// One tenant, as it is now.
pub async fn one(tools: &Tools, tenant_id: &TenantId) -> Result<Option<Expected>, sqlx::Error> {
    let Some(tenant) = tools.store.tenant(tenant_id).await? else { return Ok(None) };
    let rows = StoredRows::read(tools, Of::Tenant(tenant_id)).await?;
    Ok(Some(rows.expected(tools, tenant)))
}

/// All tenants of the installation, on all servers. Only the credentials of those on the server of `tools` are read and
/// opened: nothing is compared of the others.
pub async fn all(tools: &Tools) -> Result<Vec<Expected>, sqlx::Error> {
    let rows = StoredRows::read(tools, Of::Server(&tools.server.id)).await?;
    let (mut all, mut after) = (Vec::new(), Position(0));
    loop {
        let page = tools.store.tenants(&TenantFilter { after, limit: PAGE, ..TenantFilter::default() }).await?;
        let more = page.len() == PAGE as usize;
        for (position, tenant) in page {
            after = position;
            all.push(rows.expected(tools, tenant));
        }
        if !more {
            return Ok(all);
        }
    }
}

/// Whose rows are read.
#[derive(Clone, Copy)]
enum Of<'a> {
    Tenant(&'a TenantId),
    /// The credentials of tenants on this server; the other rows of all tenants.
    Server(&'a str),
}

/// The rows beside the tenants, by tenant.
struct StoredRows {
    credentials: BTreeMap<String, (String, String)>,
    /// What is recorded on the server of this process, by tenant: kind, name and host.
    objects: BTreeMap<String, Vec<(String, String, String)>>,
    rotations: BTreeSet<String>,
    busy: BTreeSet<String>,
    plans: Vec<Plan>,
}

impl StoredRows {
    async fn read(tools: &Tools, of: Of<'_>) -> Result<Self, sqlx::Error> {
        let pool = tools.store.pool();
        let (only, server) = match of {
            Of::Tenant(tenant_id) => (Some(tenant_id.as_str()), None),
            Of::Server(server) => (None, Some(server)),
        };
        // The jobs are read first: if one ends meanwhile, the rest is newer than needed and not older.
        let busy: Vec<(String,)> = sqlx::query_as(
            "SELECT DISTINCT tenant_id FROM saas_operations WHERE due_at IS NOT NULL AND kind <> 'audit'
               AND (? IS NULL OR tenant_id = ?)",
        )
        .bind(only)
        .bind(only)
        .fetch_all(pool)
        .await?;
        let credentials: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT d.tenant_id, d.db_username, d.db_password_encrypted FROM saas_tenant_databases d
             JOIN saas_tenant_snapshots s ON s.tenant_id = d.tenant_id
             WHERE (? IS NULL OR d.tenant_id = ?) AND (? IS NULL OR s.server_id = ?)",
        )
        .bind(only)
        .bind(only)
        .bind(server)
        .bind(server)
        .fetch_all(pool)
        .await?;
        let rotations: Vec<(String,)> =
            sqlx::query_as("SELECT tenant_id FROM saas_next_credentials WHERE ? IS NULL OR tenant_id = ?")
                .bind(only)
                .bind(only)
                .fetch_all(pool)
                .await?;
        let recorded: Vec<(String, String, String, String)> = sqlx::query_as(
            "SELECT tenant_id, kind, name, host FROM saas_server_objects
             WHERE server_id = ? AND (? IS NULL OR tenant_id = ?)",
        )
        .bind(&tools.server.id)
        .bind(only)
        .bind(only)
        .fetch_all(pool)
        .await?;
        let mut objects: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (tenant_id, kind, name, host) in recorded {
            objects.entry(tenant_id).or_default().push((kind, name, host));
        }
        Ok(Self {
            objects,
            plans: Plan::all(pool).await?,
            credentials: credentials.into_iter().map(|(id, user, sealed)| (id, (user, sealed))).collect(),
            rotations: rotations.into_iter().map(|(id,)| id).collect(),
            busy: busy.into_iter().map(|(id,)| id).collect(),
        })
    }

    fn expected(&self, tools: &Tools, tenant: Tenant) -> Expected {
        let id = tenant.tenant_id.as_str();
        let (in_use, sealed) = self.credentials.get(id).cloned().unwrap_or_default();
        let purpose = Purpose::TenantPassword { tenant_id: id, username: &in_use };
        let password = match sealed.as_str() {
            "" => Stored::Nothing,
            sealed => tools.keys.open_text(purpose, sealed).map_or(Stored::Unreadable, Stored::Password),
        };
        let plan = self.plans.iter().find(|plan| plan.plan_type == tenant.plan_type);
        let max_connections = plan.and_then(|plan| plan.max_connections).unwrap_or(tenant.database.max_connections);
        let objects = self.objects.get(id).map(Vec::as_slice).unwrap_or_default();
        let named = objects.iter().map(|(kind, name, _)| (kind, name));
        let hosts = match server_objects::is_complete(named, &tenant.database.name, &in_use) {
            true => {
                let accounts = objects.iter().filter(|(kind, ..)| kind == server_objects::ACCOUNT).cloned();
                Hosts::Recorded(accounts.map(|(_, username, host)| AccountName { username, host }).collect())
            }
            false => Hosts::Unrecorded,
        };
        let (rotation, busy) = (self.rotations.contains(id), self.busy.contains(id));
        Expected {
            usernames: tools.usernames(&tenant.tenant_id),
            in_use,
            password,
            max_connections,
            hosts,
            rotation,
            busy,
            tenant,
        }
    }
}
