//! [`Command`]: every request to change a tenant; and [`Rejection`]: why it may be refused.

use super::{
    DeletionCertificate, DomainName, Repair, RestoredFrom, Role, SettingKey, SettingType, TenantState, UserId,
};

/// A request to change a tenant. [`super::Tenant::decide`] answers it with events or a [`Rejection`].
#[derive(Clone, Debug)]
pub enum Command {
    /// Creates the tenant and begins its stream of events.
    Create {
        /// The display name, 1 to 100 characters.
        tenant_name: String,
        /// The first domain, if any. It becomes the primary one.
        domain: Option<DomainName>,
        /// The name of a row in `saas_plans`.
        plan_type: String,
        /// The server on which the tenant is placed.
        server: String,
        /// The most connections of the tenant's database user.
        max_connections: u32,
    },
    /// Records that a worker has provisioned the tenant.
    CompleteProvisioning {
        /// The server of the database.
        server: String,
        /// The host that nodes connect to.
        host: String,
        /// The port that nodes connect to.
        port: u16,
        /// The newest applied tenant migration.
        schema_version: u32,
    },
    /// Records that a worker gave up and has undone its work.
    FailProvisioning {
        /// The reason, for operators.
        reason: String,
    },
    /// Provisions a failed tenant again.
    Retry,
    /// Routes a domain to the tenant.
    RegisterDomain {
        domain: DomainName,
    },
    /// Requests a domain, which is routed to the tenant once its DNS proves that the tenant owns it.
    RequestDomain {
        domain: DomainName,
        /// The text that its TXT record must have.
        challenge: String,
        /// How many days the request stays valid.
        valid_days: u32,
    },
    /// Ends a request for a domain that was not proven in time.
    ExpireDomainRequest {
        domain: DomainName,
    },
    /// Removes a domain from the tenant, or withdraws the request for it.
    RemoveDomain {
        domain: DomainName,
    },
    /// Makes one of the tenant's domains its primary one.
    ChangePrimaryDomain {
        domain: DomainName,
    },
    /// Suspends the tenant: it is not served any more.
    Suspend {
        /// The reason, for operators.
        reason: String,
    },
    /// Ends the suspension.
    Resume,
    /// Begins or ends maintenance.
    SetMaintenance {
        /// Whether maintenance begins (`true`) or ends.
        enabled: bool,
    },
    /// Changes the display name.
    Rename {
        /// The new name.
        tenant_name: String,
    },
    ChangePlan {
        /// The name of a row in `saas_plans`.
        plan_type: String,
    },
    /// Adds a user as a member, or changes a member's role and permissions.
    ChangeMember {
        user_id: UserId,
        /// The new role.
        role: Role,
        /// The new permissions.
        permissions: Option<serde_json::Value>,
    },
    RemoveMember {
        user_id: UserId,
    },
    /// Changes or removes an entry in the tenant's configuration.
    ChangeConfig {
        /// The key of the entry.
        key: SettingKey,
        /// The new type; `None` removes the entry.
        kind: Option<SettingType>,
        /// The new value; `None` if it is secret.
        value: Option<serde_json::Value>,
        /// Whether the value is secret.
        secret: bool,
    },
    /// Requests a new credential of the tenant's database.
    RotateDatabase,
    /// Records that a worker has put the new credential into use.
    CompleteRotation {
        /// The database user that is now in use.
        username: String,
    },
    /// Records that a worker has replaced the tenant's data by a backup.
    CompleteRestore {
        /// The backup.
        from: RestoredFrom,
        /// Whether the maintenance began for the restore, and ends with it.
        end_maintenance: bool,
    },
    /// Records that a worker has created the tenant's database from a backup.
    CompleteProvisioningFromBackup {
        /// The server of the database.
        server: String,
        /// The host that nodes connect to.
        host: String,
        /// The port that nodes connect to.
        port: u16,
        /// The backup.
        from: RestoredFrom,
    },
    /// Requests that the tenant's database moves to another server.
    MoveDatabase {
        /// The target server.
        server: String,
    },
    /// Records that a worker begins to copy. From now on, writes to the tenant are refused.
    StartMove {
        /// The target server.
        server: String,
    },
    /// Records that a worker has abandoned the move.
    CancelMove,
    /// Records that a worker has copied and compared everything.
    CompleteMove {
        /// The new server of the database.
        server: String,
        /// The host that nodes connect to.
        host: String,
        /// The port that nodes connect to.
        port: u16,
    },
    /// Requests that the tenant's database is migrated to the newest schema.
    MigrateSchema,
    /// Records that a worker has applied tenant migrations and verified the result.
    CompleteSchemaMigration {
        /// The newest applied migration.
        schema_version: u32,
    },
    /// Records what an audit has repaired.
    RecordRepairs {
        /// The repairs. If there are none, nothing is recorded.
        repairs: Vec<Repair>,
    },
    /// Deletes the tenant: it is not served any more, and its data may be purged after the retention.
    Delete {
        /// The reason, for operators.
        reason: Option<String>,
        /// How many days the data is retained.
        retention_days: u32,
    },
    /// Undoes the deletion.
    Restore,
    /// Requests that everything that remains of a deleted or failed tenant is removed.
    Purge,
    /// Records that a worker has removed everything, and verified that nothing remains.
    CompletePurge {
        /// What was removed and verified.
        certificate: DeletionCertificate,
    },
}

/// Why a command was refused. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A tenant with this id exists or existed.
    #[error("the tenant exists already")]
    Exists,
    /// There is no tenant with this id.
    #[error("there is no such tenant")]
    NotFound,
    /// The tenant's current state does not allow the command.
    #[error("not possible while the tenant is {0}")]
    State(TenantState),
    /// The tenant already has this domain.
    #[error("the tenant has this domain already")]
    DomainPresent,
    /// The tenant does not have this domain.
    #[error("the tenant does not have this domain")]
    DomainAbsent,
    /// The tenant's database is already on this server.
    #[error("the tenant's database is on this server already")]
    ServerPresent,
}
