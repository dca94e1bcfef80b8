//! What may be asked of a tenant, and why it may be refused.

use super::{
    DeletionCertificate, DomainName, Repair, RestoredFrom, Role, SettingKey, SettingType, TenantState, UserId,
};

/// A wish. [`super::Tenant::decide`] answers it with events or a [`Rejection`].
#[derive(Clone, Debug)]
pub enum Command {
    /// Make the tenant; the answer begins its stream.
    Create {
        /// Name for people, 1 to 100 characters.
        tenant_name: String,
        /// First domain, if any: it becomes the primary one.
        domain: Option<DomainName>,
        /// A row of `saas_plans`.
        plan_type: String,
        /// Server the tenant is placed on.
        server: String,
        /// Most connections of the tenant's user.
        max_connections: u32,
    },
    /// The provisioner finished.
    CompleteProvisioning {
        /// Server the database is on.
        server: String,
        /// Address for the nodes.
        host: String,
        /// Port of it.
        port: u16,
        /// Newest tenant migration applied.
        schema_version: u32,
    },
    /// The provisioner gave up and has undone its work.
    FailProvisioning {
        /// Why.
        reason: String,
    },
    /// Provision a failed tenant again.
    Retry,
    /// Route a domain to the tenant.
    RegisterDomain {
        /// The domain.
        domain: DomainName,
    },
    /// Route a domain to the tenant once it has proven that it is its own.
    RequestDomain {
        /// The domain.
        domain: DomainName,
        /// What its TXT record has to say.
        challenge: String,
        /// How long this counts.
        valid_days: u32,
    },
    /// Forget a domain that was asked for and not proven in time.
    ExpireDomainRequest {
        /// The domain.
        domain: DomainName,
    },
    /// Route a domain to the tenant no more, or forget that it was asked for.
    RemoveDomain {
        /// The domain.
        domain: DomainName,
    },
    /// Make one of the tenant's domains its primary one.
    ChangePrimaryDomain {
        /// The domain.
        domain: DomainName,
    },
    /// Refuse service.
    Suspend {
        /// Why.
        reason: String,
    },
    /// End the suspension.
    Resume,
    /// Begin (`true`) or end maintenance.
    SetMaintenance {
        /// Begin or end.
        enabled: bool,
    },
    /// Another name for people.
    Rename {
        /// The new name.
        tenant_name: String,
    },
    /// Another plan.
    ChangePlan {
        /// A row of `saas_plans`.
        plan_type: String,
    },
    /// Add a user, or change their role.
    ChangeMember {
        /// Who.
        user_id: UserId,
        /// Role from now on.
        role: Role,
        /// Permissions from now on.
        permissions: Option<serde_json::Value>,
    },
    /// Take a user out.
    RemoveMember {
        /// Who.
        user_id: UserId,
    },
    /// Another entry in the tenant's configuration.
    ChangeConfig {
        /// Which.
        key: SettingKey,
        /// Its type from now on; `None`: take it out.
        kind: Option<SettingType>,
        /// Its value from now on; `None` for a secret one.
        value: Option<serde_json::Value>,
        /// Whether it is secret.
        secret: bool,
    },
    /// Replace the credential of the tenant's database.
    RotateDatabase,
    /// The provisioner put the new credential into use.
    CompleteRotation {
        /// The user in use from now on.
        username: String,
    },
    /// The provisioner has put a backup in the place of the tenant's data.
    CompleteRestore {
        /// Which.
        from: RestoredFrom,
        /// Whether the maintenance was begun for it, and ends with it.
        end_maintenance: bool,
    },
    /// The provisioner has made the tenant's database out of a backup.
    CompleteProvisioningFromBackup {
        /// Server the database is on.
        server: String,
        /// Address for the nodes.
        host: String,
        /// Port of it.
        port: u16,
        /// Which backup.
        from: RestoredFrom,
    },
    /// Bring the tenant's database to another server.
    MoveDatabase {
        /// The server it is to be on.
        server: String,
    },
    /// The provisioner begins to copy: nobody may write any more.
    StartMove {
        /// The server it is to be on.
        server: String,
    },
    /// The provisioner has given the move up.
    CancelMove,
    /// The provisioner has copied everything and compared it.
    CompleteMove {
        /// Server the database is on from now on.
        server: String,
        /// Address nodes connect to.
        host: String,
        /// Port of it.
        port: u16,
    },
    /// Bring the tenant's database to the newest schema.
    MigrateSchema,
    /// The provisioner has applied tenant migrations, and seen what they make.
    CompleteSchemaMigration {
        /// Newest of them.
        schema_version: u32,
    },
    /// An audit has made right what differed from the events.
    RecordRepairs {
        /// Each thing; none: nothing is recorded.
        repairs: Vec<Repair>,
    },
    /// End the service, and the data with it once the retention has passed.
    Delete {
        /// Why.
        reason: Option<String>,
        /// How long the data is kept.
        retention_days: u32,
    },
    /// Take the deletion back.
    Restore,
    /// Remove what is left of a deleted or failed tenant.
    Purge,
    /// The provisioner has removed it and seen that nothing is left.
    CompletePurge {
        /// What was seen.
        certificate: DeletionCertificate,
    },
}

/// Why a command was refused. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A tenant of this id exists or existed.
    #[error("the tenant exists already")]
    Exists,
    /// No tenant of this id.
    #[error("there is no such tenant")]
    NotFound,
    /// The present state does not allow it.
    #[error("not possible while the tenant is {0}")]
    State(TenantState),
    /// The tenant has this domain already.
    #[error("the tenant has this domain already")]
    DomainPresent,
    /// The tenant does not have this domain.
    #[error("the tenant does not have this domain")]
    DomainAbsent,
    /// The tenant's database is on this server already.
    #[error("the tenant's database is on this server already")]
    ServerPresent,
}
