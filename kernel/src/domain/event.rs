//! [`TenantEvent`]: what has happened to a tenant. These are the public event types, in the order of a tenant's life.
//!
//! Events contain references and never secrets, because they are stored for ever and published to every subscriber. A
//! new field gets a serde default, so that older events can still be read.

use super::{DomainName, Position, Role, SettingKey, SettingType, TenantId, UserId, Version};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A fact about a tenant. It serialises as `{"type": "tenant.created", "data": {...}}`, and the type is also the
/// routing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum TenantEvent {
    /// The tenant was requested. Its database does not exist yet.
    #[serde(rename = "tenant.created")]
    Created {
        /// The display name.
        tenant_name: String,
        /// The name of a row in `saas_plans`.
        plan_type: String,
        /// The registered database server on which the tenant is placed.
        server: String,
        /// The name of its future database.
        database_name: String,
        /// The most connections of the tenant's database user, over all nodes.
        max_connections: u32,
    },
    /// Database, user and schema exist, and a worker has verified them by a login as the tenant.
    #[serde(rename = "tenant.database_provisioned")]
    DatabaseProvisioned {
        /// The server of the database.
        server: String,
        /// The host that nodes connect to.
        host: String,
        /// The port that nodes connect to.
        port: u16,
        /// The newest applied tenant migration.
        schema_version: u32,
    },
    /// The tenant is served from now on.
    #[serde(rename = "tenant.activated")]
    Activated {},
    /// Provisioning failed, and nothing of it remains.
    #[serde(rename = "tenant.provisioning_failed")]
    ProvisioningFailed {
        /// The reason, in a sentence for the operator.
        reason: String,
    },
    /// A domain was requested. It will route to the tenant once its DNS proves that the tenant owns it.
    #[serde(rename = "tenant.domain_requested")]
    DomainRequested {
        /// The domain in normal form.
        domain: DomainName,
        /// The text that its TXT record must have. It is not secret.
        challenge: String,
        /// How many days the request stays valid.
        valid_days: u32,
    },
    /// The domain was not proven in time, and its request has ended.
    #[serde(rename = "tenant.domain_request_expired")]
    DomainRequestExpired {
        /// The domain in normal form.
        domain: DomainName,
    },
    /// The request for the domain was withdrawn.
    #[serde(rename = "tenant.domain_request_withdrawn")]
    DomainRequestWithdrawn {
        /// The domain in normal form.
        domain: DomainName,
    },
    /// A domain routes to the tenant.
    #[serde(rename = "tenant.domain_registered")]
    DomainRegistered {
        /// The domain in normal form.
        domain: DomainName,
        /// Whether it became the tenant's primary domain.
        primary: bool,
    },
    /// A domain does not route to the tenant any more.
    #[serde(rename = "tenant.domain_removed")]
    DomainRemoved {
        /// The domain in normal form.
        domain: DomainName,
    },
    /// Another domain of the tenant became its primary one.
    #[serde(rename = "tenant.primary_domain_changed")]
    PrimaryDomainChanged {
        /// The domain in normal form.
        domain: DomainName,
    },
    /// The display name has changed.
    #[serde(rename = "tenant.renamed")]
    Renamed {
        /// The new name.
        tenant_name: String,
    },
    /// The tenant has another plan, with other limits.
    #[serde(rename = "tenant.plan_changed")]
    PlanChanged {
        /// The name of a row in `saas_plans`.
        plan_type: String,
    },
    /// The tenant was suspended and is not served any more.
    #[serde(rename = "tenant.suspended")]
    Suspended {
        /// The reason, for operators.
        reason: String,
    },
    /// The suspension ended.
    #[serde(rename = "tenant.resumed")]
    Resumed {},
    /// Maintenance has begun: requests are answered with 503 until it ends.
    #[serde(rename = "tenant.maintenance_started")]
    MaintenanceStarted {},
    /// Maintenance has ended.
    #[serde(rename = "tenant.maintenance_ended")]
    MaintenanceEnded {},
    /// A user became a member, or a member's role or permissions have changed.
    #[serde(rename = "tenant.member_changed")]
    MemberChanged {
        user_id: UserId,
        /// The new role.
        role: Role,
        /// The new permissions, as free JSON of the application.
        #[serde(default)]
        permissions: Option<serde_json::Value>,
    },
    /// A member was removed.
    #[serde(rename = "tenant.member_removed")]
    MemberRemoved { user_id: UserId },
    /// A change or removal of an entry in the tenant's configuration was requested.
    #[serde(rename = "tenant.config_changed")]
    ConfigChanged {
        /// The key of the entry.
        config_key: SettingKey,
        /// The new type; `None` removes the entry.
        #[serde(default)]
        config_type: Option<SettingType>,
        /// The new value; `None` if it is secret, because no event contains a secret.
        #[serde(default)]
        value: Option<serde_json::Value>,
        /// Whether the value is secret.
        #[serde(default)]
        secret: bool,
    },
    /// A new credential of the tenant's database was requested.
    #[serde(rename = "tenant.database_rotation_requested")]
    DatabaseRotationRequested {},
    /// Another database user is in use. The former one is retired once every node knows.
    #[serde(rename = "tenant.database_rotated")]
    DatabaseRotated {
        /// The database user that is now in use.
        username: String,
    },
    /// A move of the tenant's database to another server was requested.
    #[serde(rename = "tenant.database_move_requested")]
    DatabaseMoveRequested {
        /// The target server.
        server: String,
    },
    /// A worker begins to copy the database. Until it ends, an active tenant is refused as in maintenance.
    #[serde(rename = "tenant.database_move_started")]
    DatabaseMoveStarted {
        /// The target server.
        server: String,
    },
    /// The move was abandoned, and the former server serves the tenant.
    #[serde(rename = "tenant.database_move_cancelled")]
    DatabaseMoveCancelled {},
    /// The tenant's database is on another server.
    #[serde(rename = "tenant.database_moved")]
    DatabaseMoved {
        /// The new server of the database.
        server: String,
        /// The host that nodes connect to.
        host: String,
        /// The port that nodes connect to.
        port: u16,
    },
    /// The tenant's database has a newer schema.
    #[serde(rename = "tenant.schema_migrated")]
    SchemaMigrated {
        /// The newest migration that was applied before.
        former_version: u32,
        /// The newest migration that is applied now.
        schema_version: u32,
    },
    /// The tenant was deleted and is not served any more. Its data is retained for a while, so that the deletion can be
    /// undone.
    #[serde(rename = "tenant.deleted")]
    Deleted {
        /// The reason, for operators.
        #[serde(default)]
        reason: Option<String>,
        /// How many days the data is retained.
        retention_days: u32,
    },
    /// The deletion was undone, and the tenant has its former state.
    #[serde(rename = "tenant.restored")]
    Restored {},
    /// The tenant's data was replaced by that of a backup.
    #[serde(rename = "tenant.database_restored")]
    DatabaseRestored(RestoredFrom),
    /// An audit has repaired what differed from the tenant's events.
    #[serde(rename = "tenant.drift_repaired")]
    DriftRepaired { repairs: Vec<Repair> },
    /// Nothing remains of the tenant but its history and its id, which is never used again.
    #[serde(rename = "tenant.purged")]
    Purged(DeletionCertificate),
}

/// The origin of restored data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredFrom {
    pub backup_id: String,
    /// The tenant of the backup: the tenant itself, or the tenant from which this one was cloned.
    pub source_tenant_id: TenantId,
    /// The point in time of the data.
    pub taken_at: DateTime<Utc>,
    /// The position of the log's head at that time.
    pub backup_position: Position,
    /// The newest tenant migration that is applied to the data now.
    pub schema_version: u32,
}

/// States what was removed, and which checks were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionCertificate {
    pub database: String,
    /// The database user.
    pub user: String,
    /// The server of both.
    pub server: String,
    /// The time at which all checks had passed, by the clock of the system database.
    pub removed_at: DateTime<Utc>,
    /// The results of the checks, one sentence each.
    pub checks: Vec<String>,
}

/// A difference from the events, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The kind: a word of [`crate::audit::Drift`]. It is text, so that logs with kinds of other versions can be read.
    pub drift: String,
    /// What differed.
    pub subject: String,
    /// How it differed.
    pub found: String,
    /// What was done.
    pub done: String,
}

impl TenantEvent {
    /// The public name of the type, which is also the routing key in `tenant.events`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Created { .. } => "tenant.created",
            Self::DatabaseProvisioned { .. } => "tenant.database_provisioned",
            Self::Activated {} => "tenant.activated",
            Self::ProvisioningFailed { .. } => "tenant.provisioning_failed",
            Self::DomainRequested { .. } => "tenant.domain_requested",
            Self::DomainRequestExpired { .. } => "tenant.domain_request_expired",
            Self::DomainRequestWithdrawn { .. } => "tenant.domain_request_withdrawn",
            Self::DomainRegistered { .. } => "tenant.domain_registered",
            Self::DomainRemoved { .. } => "tenant.domain_removed",
            Self::PrimaryDomainChanged { .. } => "tenant.primary_domain_changed",
            Self::Renamed { .. } => "tenant.renamed",
            Self::PlanChanged { .. } => "tenant.plan_changed",
            Self::Suspended { .. } => "tenant.suspended",
            Self::Resumed {} => "tenant.resumed",
            Self::MaintenanceStarted {} => "tenant.maintenance_started",
            Self::MaintenanceEnded {} => "tenant.maintenance_ended",
            Self::MemberChanged { .. } => "tenant.member_changed",
            Self::MemberRemoved { .. } => "tenant.member_removed",
            Self::ConfigChanged { .. } => "tenant.config_changed",
            Self::DatabaseRotationRequested {} => "tenant.database_rotation_requested",
            Self::DatabaseRotated { .. } => "tenant.database_rotated",
            Self::DatabaseMoveRequested { .. } => "tenant.database_move_requested",
            Self::DatabaseMoveStarted { .. } => "tenant.database_move_started",
            Self::DatabaseMoveCancelled {} => "tenant.database_move_cancelled",
            Self::DatabaseMoved { .. } => "tenant.database_moved",
            Self::SchemaMigrated { .. } => "tenant.schema_migrated",
            Self::Deleted { .. } => "tenant.deleted",
            Self::Restored {} => "tenant.restored",
            Self::DatabaseRestored(_) => "tenant.database_restored",
            Self::DriftRepaired { .. } => "tenant.drift_repaired",
            Self::Purged(_) => "tenant.purged",
        }
    }
}

/// An event with its position in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// The position in the whole log.
    pub position: Position,
    pub tenant_id: TenantId,
    /// The version in the tenant's stream.
    pub version: Version,
    /// A stable id, for consumers that drop duplicates.
    pub event_id: Uuid,
    /// The time of the append by the clock of the database. It does not order events.
    pub occurred_at: DateTime<Utc>,
    /// The actor: the id of an admin token, or a service.
    pub actor: String,
    /// What happened.
    #[serde(flatten)]
    pub event: TenantEvent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_serialises_as_the_contract_says() {
        let event = RecordedEvent {
            position: Position(7),
            tenant_id: "acme".parse().unwrap(),
            version: Version(2),
            event_id: Uuid::nil(),
            occurred_at: DateTime::UNIX_EPOCH,
            actor: "token:1".into(),
            event: TenantEvent::DomainRegistered { domain: "a.example.com".parse().unwrap(), primary: true },
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "position": 7, "tenant_id": "acme", "version": 2, "event_id": Uuid::nil(),
                "occurred_at": "1970-01-01T00:00:00Z", "actor": "token:1",
                "type": "tenant.domain_registered", "data": {"domain": "a.example.com", "primary": true},
            })
        );
        assert_eq!(serde_json::from_value::<RecordedEvent>(json).unwrap(), event);
    }

    #[test]
    fn the_data_of_a_purge_is_its_certificate() {
        let certificate = DeletionCertificate {
            database: "d".into(),
            user: "u".into(),
            server: "main".into(),
            removed_at: DateTime::UNIX_EPOCH,
            checks: vec!["gone".into()],
        };
        assert_eq!(
            serde_json::to_value(TenantEvent::Purged(certificate)).unwrap(),
            serde_json::json!({"type": "tenant.purged", "data": {
                "database": "d", "user": "u", "server": "main", "removed_at": "1970-01-01T00:00:00Z", "checks": ["gone"],
            }})
        );
    }

    #[test]
    fn the_kind_equals_the_serialised_type() {
        for event in [TenantEvent::Activated {}, TenantEvent::Suspended { reason: "x".into() }] {
            assert_eq!(serde_json::to_value(&event).unwrap()["type"], event.kind());
        }
    }
}
