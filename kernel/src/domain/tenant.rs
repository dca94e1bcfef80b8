//! The tenant's present: what its events come to, as the API shows it and every projection keeps it.
//!
//! It is only ever folded from events ([`Tenant::apply`]); which events a command brings about is for
//! [`Tenant::decide`].

use super::{DomainName, Position, RecordedEvent, TenantEvent, TenantId, TenantState, Version};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a tenant's data is. Host and port are known once the database is provisioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Database {
    /// Registered server.
    pub server: String,
    /// Address, once provisioned.
    pub host: Option<String>,
    /// Port, once provisioned.
    pub port: Option<u16>,
    /// Name of the database.
    pub name: String,
    /// Most connections of the tenant's user.
    pub max_connections: u32,
    /// Newest tenant migration applied; 0 before provisioning.
    pub schema_version: u32,
    /// The server it is being copied to: until that is over, nobody writes, and an active tenant is refused as in
    /// maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_to: Option<String>,
}

/// What a deletion interrupted, and a restoration brings back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BeforeDeletion {
    /// The state.
    pub state: TenantState,
    /// The reason for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A domain that waits for the proof that it is the tenant's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PendingDomain {
    /// The domain.
    pub domain: DomainName,
    /// What its TXT record has to say.
    pub challenge: String,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// Until when it may be proven.
    pub expires_at: DateTime<Utc>,
}

/// A tenant's present. Serialises as the `T` of the public contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// Its id.
    pub tenant_id: TenantId,
    /// Its name for people.
    pub tenant_name: String,
    /// Its primary domain.
    pub tenant_domain: Option<DomainName>,
    /// All its domains, in the order of registration.
    pub domains: Vec<DomainName>,
    /// Domains that serve once they are proven, in the order of asking.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_domains: Vec<PendingDomain>,
    /// The state as the seed's number.
    pub status: i16,
    /// The state as a word.
    pub state: TenantState,
    /// Why it is suspended, failed or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
    /// From when on its data may be removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_after: Option<DateTime<Utc>>,
    /// What it was before it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_deletion: Option<BeforeDeletion>,
    /// A row of `saas_plans`.
    pub plan_type: String,
    /// Where its data is.
    pub database: Database,
    /// Events so far.
    pub version: Version,
    /// Position of the newest of them.
    pub position: Position,
    /// Time of the first.
    pub created_at: DateTime<Utc>,
    /// Time of the newest.
    pub updated_at: DateTime<Utc>,
}

impl Tenant {
    /// Whether it has a database: it was provisioned and has not been purged. Queries ask the column
    /// `saas_tenant_snapshots.has_database`, which the database computes by the same rule.
    pub fn has_database(&self) -> bool {
        self.database.host.is_some()
    }

    /// What is asked for a domain that waits for its proof.
    pub fn pending_domain(&self, domain: &DomainName) -> Option<&PendingDomain> {
        self.pending_domains.iter().find(|pending| pending.domain == *domain)
    }

    /// The present after `recorded`. Folding a tenant's whole stream from `None` gives the same value as the store
    /// keeps.
    ///
    /// # Panics
    /// When the stream does not begin with `tenant.created`: a log like that was not written by this program, and going
    /// on would make it worse.
    pub fn apply(now: Option<Tenant>, recorded: &RecordedEvent) -> Tenant {
        let mut tenant = match (now, &recorded.event) {
            (None, TenantEvent::Created { tenant_name, plan_type, server, database_name, max_connections }) => Tenant {
                tenant_id: recorded.tenant_id.clone(),
                tenant_name: tenant_name.clone(),
                tenant_domain: None,
                domains: Vec::new(),
                pending_domains: Vec::new(),
                status: TenantState::Provisioning.status(),
                state: TenantState::Provisioning,
                reason: None,
                deleted_at: None,
                purge_after: None,
                before_deletion: None,
                plan_type: plan_type.clone(),
                database: Database {
                    server: server.clone(),
                    host: None,
                    port: None,
                    name: database_name.clone(),
                    max_connections: *max_connections,
                    schema_version: 0,
                    moving_to: None,
                },
                version: recorded.version,
                position: recorded.position,
                created_at: recorded.occurred_at,
                updated_at: recorded.occurred_at,
            },
            (Some(tenant), event) => tenant.with(event, recorded.occurred_at),
            (None, event) => panic!("the stream of {} begins with {}", recorded.tenant_id, event.kind()),
        };
        tenant.status = tenant.state.status();
        tenant.version = recorded.version;
        tenant.position = recorded.position;
        tenant.updated_at = recorded.occurred_at;
        tenant
    }

    fn with(mut self, event: &TenantEvent, occurred_at: DateTime<Utc>) -> Self {
        match event {
            TenantEvent::Created { .. } => panic!("{} was created twice", self.tenant_id),
            TenantEvent::DatabaseProvisioned { server, host, port, schema_version } => {
                self.database.server.clone_from(server);
                self.database.host = Some(host.clone());
                self.database.port = Some(*port);
                self.database.schema_version = *schema_version;
            }
            TenantEvent::ProvisioningFailed { reason } => self.enter(TenantState::Failed, Some(reason)),
            TenantEvent::Suspended { reason } => self.enter(TenantState::Suspended, Some(reason)),
            TenantEvent::Activated {} | TenantEvent::Resumed {} | TenantEvent::MaintenanceEnded {} => {
                self.enter(TenantState::Active, None);
            }
            TenantEvent::MaintenanceStarted {} => self.enter(TenantState::Maintenance, None),
            TenantEvent::DomainRequested { domain, challenge, valid_days } => {
                self.pending_domains.push(PendingDomain {
                    domain: domain.clone(),
                    challenge: challenge.clone(),
                    requested_at: occurred_at,
                    expires_at: occurred_at + TimeDelta::days(i64::from(*valid_days)),
                })
            }
            TenantEvent::DomainRequestExpired { domain } | TenantEvent::DomainRequestWithdrawn { domain } => {
                self.pending_domains.retain(|pending| pending.domain != *domain);
            }
            TenantEvent::DomainRegistered { domain, primary } => {
                self.pending_domains.retain(|pending| pending.domain != *domain);
                self.domains.push(domain.clone());
                if *primary {
                    self.tenant_domain = Some(domain.clone());
                }
            }
            TenantEvent::DomainRemoved { domain } => {
                self.domains.retain(|d| d != domain);
                if self.tenant_domain.as_ref() == Some(domain) {
                    self.tenant_domain = self.domains.first().cloned();
                }
            }
            TenantEvent::PrimaryDomainChanged { domain } => self.tenant_domain = Some(domain.clone()),
            TenantEvent::Renamed { tenant_name } => self.tenant_name.clone_from(tenant_name),
            TenantEvent::PlanChanged { plan_type } => self.plan_type.clone_from(plan_type),
            // Members are too many for the aggregate; they are a projection of their own.
            TenantEvent::MemberChanged { .. } | TenantEvent::MemberRemoved { .. } => {}
            // Its configuration is in its database.
            TenantEvent::ConfigChanged { .. } => {}
            // Credentials are no part of the tenant's present either: they are the provisioner's.
            TenantEvent::DatabaseRotationRequested {} | TenantEvent::DatabaseRotated { .. } => {}
            TenantEvent::DatabaseRestored(from) => self.database.schema_version = from.schema_version,
            TenantEvent::DatabaseMoveRequested { .. } => {}
            TenantEvent::DatabaseMoveStarted { server } => self.database.moving_to = Some(server.clone()),
            TenantEvent::DatabaseMoveCancelled {} => self.database.moving_to = None,
            TenantEvent::DatabaseMoved { server, host, port } => {
                self.database.server.clone_from(server);
                (self.database.host, self.database.port) = (Some(host.clone()), Some(*port));
                self.database.moving_to = None;
            }
            TenantEvent::SchemaMigrated { schema_version, .. } => self.database.schema_version = *schema_version,
            // What was made right is what the events before it say.
            TenantEvent::DriftRepaired { .. } => {}
            TenantEvent::Deleted { reason, retention_days } => {
                self.before_deletion = Some(BeforeDeletion { state: self.state, reason: self.reason.take() });
                self.deleted_at = Some(occurred_at);
                self.purge_after = Some(occurred_at + TimeDelta::days(i64::from(*retention_days)));
                self.enter(TenantState::Deleted, reason.as_ref());
            }
            TenantEvent::Restored {} => {
                let before = self.before_deletion.take().expect("only a deleted tenant is restored");
                (self.deleted_at, self.purge_after) = (None, None);
                self.enter(before.state, before.reason.as_ref());
            }
            TenantEvent::Purged(certificate) => {
                (self.before_deletion, self.purge_after) = (None, None);
                self.deleted_at = self.deleted_at.or(Some(certificate.removed_at));
                (self.tenant_domain, self.domains) = (None, Vec::new());
                self.pending_domains.clear();
                (self.database.host, self.database.port, self.database.schema_version) = (None, None, 0);
                self.enter(TenantState::Purged, None);
            }
        }
        self
    }

    fn enter(&mut self, state: TenantState, reason: Option<&String>) {
        self.state = state;
        self.reason = reason.cloned();
    }
}

#[cfg(test)]
#[path = "tenant_tests.rs"]
mod tests;
