//! [`Tenant`]: the current state of a tenant, as the API shows it and every projection stores it.
//!
//! The state comes only from folding events ([`Tenant::apply`]). [`Tenant::decide`] says which events a command leads
//! to.

use super::{DomainName, Position, RecordedEvent, TenantEvent, TenantId, TenantState, Version};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The address of a tenant's database. Host and port are known once the database is provisioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Database {
    /// The registered server.
    pub server: String,
    /// The host, once provisioned.
    pub host: Option<String>,
    /// The port, once provisioned.
    pub port: Option<u16>,
    /// The name of the database.
    pub name: String,
    /// The most connections of the tenant's database user.
    pub max_connections: u32,
    /// The newest applied tenant migration; 0 before provisioning.
    pub schema_version: u32,
    /// The server to which the database is being copied. Until the copy ends, writes are refused, and an active tenant
    /// is refused as in maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_to: Option<String>,
}

/// The state before a deletion, which a restoration brings back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BeforeDeletion {
    /// The former state.
    pub state: TenantState,
    /// The reason for that state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A domain that waits for the proof that the tenant owns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PendingDomain {
    /// The domain.
    pub domain: DomainName,
    /// The text that its TXT record must have.
    pub challenge: String,
    /// When it was requested.
    pub requested_at: DateTime<Utc>,
    /// The time until which it may be proven.
    pub expires_at: DateTime<Utc>,
}

/// The current state of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// The tenant's id.
    pub tenant_id: TenantId,
    /// The display name.
    pub tenant_name: String,
    /// The primary domain.
    pub tenant_domain: Option<DomainName>,
    /// All domains, in the order of registration.
    pub domains: Vec<DomainName>,
    /// Domains that wait for their proof, in the order of their requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_domains: Vec<PendingDomain>,
    /// The state as a number: 0 stopped, 1 normal, 2 maintenance, 3 provisioning, 4 failed.
    pub status: i16,
    /// The state as a word.
    pub state: TenantState,
    /// The reason why the tenant is suspended, failed or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the tenant was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
    /// The time from which on its data may be purged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_after: Option<DateTime<Utc>>,
    /// The state before the deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_deletion: Option<BeforeDeletion>,
    /// The name of its plan.
    pub plan_type: String,
    /// The address of its database.
    pub database: Database,
    /// The number of its events.
    pub version: Version,
    /// The position of its newest event.
    pub position: Position,
    /// The time of its first event.
    pub created_at: DateTime<Utc>,
    /// The time of its newest event.
    pub updated_at: DateTime<Utc>,
}

/// The most characters of a tenant's name: the column has as many.
pub const LONGEST_NAME: usize = 100;

impl Tenant {
    /// Whether the tenant has a database: it was provisioned and has not been purged. Queries use the column
    /// `saas_tenant_snapshots.has_database`, which the database computes by the same rule.
    pub fn has_database(&self) -> bool {
        self.database.host.is_some()
    }

    /// The request for a domain that waits for its proof.
    pub fn pending_domain(&self, domain: &DomainName) -> Option<&PendingDomain> {
        self.pending_domains.iter().find(|pending| pending.domain == *domain)
    }

    /// The state after `recorded`. Folding a tenant's whole stream from `None` gives the value that the store has.
    ///
    /// # Panics
    /// If the stream does not begin with `tenant.created`. This program did not write such a log, and to continue would
    /// do more damage.
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
                    expires_at: days_after(occurred_at, *valid_days),
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
            // Members are not part of the aggregate, because there are too many. They are a projection of their own.
            TenantEvent::MemberChanged { .. } | TenantEvent::MemberRemoved { .. } => {}
            // The configuration is in the tenant's database.
            TenantEvent::ConfigChanged { .. } => {}
            // Credentials are not part of the state, because they belong to the provisioner.
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
            // The state is what the earlier events say, and the repair has restored it.
            TenantEvent::DriftRepaired { .. } => {}
            TenantEvent::Deleted { reason, retention_days } => {
                self.before_deletion = Some(BeforeDeletion { state: self.state, reason: self.reason.take() });
                self.deleted_at = Some(occurred_at);
                self.purge_after = Some(days_after(occurred_at, *retention_days));
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

/// The time so many days later, or the last one that can be written: an event may have any number of days.
fn days_after(time: DateTime<Utc>, days: u32) -> DateTime<Utc> {
    let last = NaiveDate::from_ymd_opt(9999, 12, 31).and_then(|day| day.and_hms_opt(23, 59, 59));
    let last = last.map_or(DateTime::<Utc>::MAX_UTC, |last| last.and_utc());
    time.checked_add_signed(TimeDelta::days(i64::from(days))).map_or(last, |later| later.min(last))
}

#[cfg(test)]
#[path = "tenant_tests.rs"]
mod tests;
