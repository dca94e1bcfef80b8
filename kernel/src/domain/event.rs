//! What has happened to a tenant: the public event types, in the order in which a tenant meets them.
//!
//! Events carry references, never secrets: they are kept for ever and published to every subscriber. A new field gets a
//! serde default, so that events written before it can still be read.

use super::{DomainName, Position, Role, SettingKey, SettingType, TenantId, UserId, Version};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One fact. Serialises as `{"type": "tenant.created", "data": {...}}`; the type is also the routing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum TenantEvent {
    /// An administrator asked for the tenant; its database does not exist yet.
    #[serde(rename = "tenant.created")]
    Created {
        /// Name for people.
        tenant_name: String,
        /// A row of `saas_plans`.
        plan_type: String,
        /// Registered database server the tenant is placed on.
        server: String,
        /// Name of the database to be made there.
        database_name: String,
        /// Most connections the tenant's database user may hold, over all nodes.
        max_connections: u32,
    },
    /// Database, user and schema exist and were verified by logging in as the tenant.
    #[serde(rename = "tenant.database_provisioned")]
    DatabaseProvisioned {
        /// Server the database is on.
        server: String,
        /// Address the nodes connect to.
        host: String,
        /// Port of it.
        port: u16,
        /// Newest tenant migration applied.
        schema_version: u32,
    },
    /// The tenant is served from here on.
    #[serde(rename = "tenant.activated")]
    Activated {},
    /// Provisioning ended without a database; nothing of it is left.
    #[serde(rename = "tenant.provisioning_failed")]
    ProvisioningFailed {
        /// Why, in a sentence for the operator.
        reason: String,
    },
    /// A domain is to route to the tenant once its DNS shows that it is the tenant's own.
    #[serde(rename = "tenant.domain_requested")]
    DomainRequested {
        /// The domain in normal form.
        domain: DomainName,
        /// What its TXT record has to say; no secret.
        challenge: String,
        /// How long this counts.
        valid_days: u32,
    },
    /// Nobody has shown in time that the domain is the tenant's own: it was forgotten.
    #[serde(rename = "tenant.domain_request_expired")]
    DomainRequestExpired {
        /// The domain in normal form.
        domain: DomainName,
    },
    /// The domain is not asked for any more.
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
    /// A domain routes to the tenant no more.
    #[serde(rename = "tenant.domain_removed")]
    DomainRemoved {
        /// The domain in normal form.
        domain: DomainName,
    },
    /// Another of the tenant's domains is its primary one.
    #[serde(rename = "tenant.primary_domain_changed")]
    PrimaryDomainChanged {
        /// The domain in normal form.
        domain: DomainName,
    },
    /// The name for people changed.
    #[serde(rename = "tenant.renamed")]
    Renamed {
        /// The new name.
        tenant_name: String,
    },
    /// Another plan, with other limits, from here on.
    #[serde(rename = "tenant.plan_changed")]
    PlanChanged {
        /// A row of `saas_plans`.
        plan_type: String,
    },
    /// The tenant is refused service.
    #[serde(rename = "tenant.suspended")]
    Suspended {
        /// Why, for operators.
        reason: String,
    },
    /// The suspension ended.
    #[serde(rename = "tenant.resumed")]
    Resumed {},
    /// Requests are answered 503 until maintenance ends.
    #[serde(rename = "tenant.maintenance_started")]
    MaintenanceStarted {},
    /// The maintenance ended.
    #[serde(rename = "tenant.maintenance_ended")]
    MaintenanceEnded {},
    /// A user joined, or their role or permissions changed.
    #[serde(rename = "tenant.member_changed")]
    MemberChanged {
        /// Who.
        user_id: UserId,
        /// Role from here on.
        role: Role,
        /// Permissions from here on; free JSON of the application.
        #[serde(default)]
        permissions: Option<serde_json::Value>,
    },
    /// A user left.
    #[serde(rename = "tenant.member_removed")]
    MemberRemoved {
        /// Who.
        user_id: UserId,
    },
    /// An entry of the tenant's configuration is to be another, or to go.
    #[serde(rename = "tenant.config_changed")]
    ConfigChanged {
        /// Which entry.
        config_key: SettingKey,
        /// Its type from here on; `None`: it is to go.
        #[serde(default)]
        config_type: Option<SettingType>,
        /// Its value from here on; `None` for a secret one, whose value is in no event.
        #[serde(default)]
        value: Option<serde_json::Value>,
        /// Whether it is secret.
        #[serde(default)]
        secret: bool,
    },
    /// An administrator asked for another credential of the tenant's database.
    #[serde(rename = "tenant.database_rotation_requested")]
    DatabaseRotationRequested {},
    /// Another user of the tenant's database is in use; the one before is retired once every node knows.
    #[serde(rename = "tenant.database_rotated")]
    DatabaseRotated {
        /// The user in use from here on.
        username: String,
    },
    /// An administrator asked for the tenant's database to be brought to another server.
    #[serde(rename = "tenant.database_move_requested")]
    DatabaseMoveRequested {
        /// The server it is to be on.
        server: String,
    },
    /// The copying begins: until it is over, an active tenant is refused as in maintenance.
    #[serde(rename = "tenant.database_move_started")]
    DatabaseMoveStarted {
        /// The server it is to be on.
        server: String,
    },
    /// The move was given up: the tenant is served where it was.
    #[serde(rename = "tenant.database_move_cancelled")]
    DatabaseMoveCancelled {},
    /// The tenant's database is on another server.
    #[serde(rename = "tenant.database_moved")]
    DatabaseMoved {
        /// Server the database is on from here on.
        server: String,
        /// Address the nodes connect to.
        host: String,
        /// Port of it.
        port: u16,
    },
    /// The tenant's database has a newer schema.
    #[serde(rename = "tenant.schema_migrated")]
    SchemaMigrated {
        /// Newest tenant migration applied before.
        former_version: u32,
        /// Newest tenant migration applied from here on.
        schema_version: u32,
    },
    /// The tenant is served no more; its data is kept for a while, so that this can be taken back.
    #[serde(rename = "tenant.deleted")]
    Deleted {
        /// Why, for operators.
        #[serde(default)]
        reason: Option<String>,
        /// How long the data is kept.
        retention_days: u32,
    },
    /// The deletion was taken back: the tenant is what it was before.
    #[serde(rename = "tenant.restored")]
    Restored {},
    /// The tenant's data is that of a backup from here on.
    #[serde(rename = "tenant.database_restored")]
    DatabaseRestored(RestoredFrom),
    /// Something of the tenant differed from what its events say, and was made right.
    #[serde(rename = "tenant.drift_repaired")]
    DriftRepaired {
        /// Each thing.
        repairs: Vec<Repair>,
    },
    /// Nothing is left of the tenant but its history and its id, which is never given again.
    #[serde(rename = "tenant.purged")]
    Purged(DeletionCertificate),
}

/// Which data came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredFrom {
    /// The backup.
    pub backup_id: String,
    /// Whose backup it is: the tenant's own, or that of the tenant this one was made from.
    pub source_tenant_id: TenantId,
    /// The moment its data is of.
    pub taken_at: DateTime<Utc>,
    /// Head of the log at that moment.
    pub backup_position: Position,
    /// Newest tenant migration applied to the data as it is now.
    pub schema_version: u32,
}

/// Says what was removed, and what was looked at to be sure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionCertificate {
    /// The database.
    pub database: String,
    /// The database user.
    pub user: String,
    /// The server both were on.
    pub server: String,
    /// When all checks had passed, by the system database's clock.
    pub removed_at: DateTime<Utc>,
    /// What was seen, a sentence each.
    pub checks: Vec<String>,
}

/// One thing that differed from what the events say, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The kind: a word of [`crate::audit::Drift`]. A text, so that logs with kinds of other versions can be read.
    pub drift: String,
    /// The thing.
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

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// Place in the whole log.
    pub position: Position,
    /// Whose event it is.
    pub tenant_id: TenantId,
    /// Place in the tenant's own stream.
    pub version: Version,
    /// Stable identity, for consumers that drop duplicates.
    pub event_id: Uuid,
    /// Time of the database at the append; for people, never for order.
    pub occurred_at: DateTime<Utc>,
    /// Who caused it: an admin token's id, or a service.
    pub actor: String,
    /// What happened.
    #[serde(flatten)]
    pub event: TenantEvent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialises_as_the_public_contract_says() {
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
    fn the_certificate_is_the_data_of_a_purge() {
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
    fn the_kind_is_the_serialised_type() {
        for event in [TenantEvent::Activated {}, TenantEvent::Suspended { reason: "x".into() }] {
            assert_eq!(serde_json::to_value(&event).unwrap()["type"], event.kind());
        }
    }
}
