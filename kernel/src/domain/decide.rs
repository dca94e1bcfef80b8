//! [`Tenant::decide`]: the rules by which a tenant may change.
//!
//! ```text
//!                      FailProvisioning                 Suspend
//!   (none) --Create--> provisioning <---Retry--- failed    .-------> suspended
//!                          |        ----------->           |             | Resume
//!                          | CompleteProvisioning          |             v
//!                          '-----------------------------> active <------'
//!                                                          |   ^
//!                                           SetMaintenance v   |
//!                                                       maintenance --Suspend--> suspended
//!
//!   any but provisioning --Delete--> deleted --Restore--> as it was
//!                                       | CompletePurge (also from failed)
//!                                       v
//!                                    purged: for ever, so that its id is never used again
//! ```
//!
//! `Retry`, `Purge` and `MigrateSchema` append no events. The tenant keeps its state until the work has succeeded, so
//! the state never claims more than is known.

use super::{Command, Rejection, Tenant, TenantEvent, TenantId, TenantState};

impl Tenant {
    /// The events that `command` leads to for a tenant in the state `now` (`None`: the tenant does not exist). This
    /// function is pure: it reads and writes nothing.
    ///
    /// # Errors
    /// Why the command is refused.
    pub fn decide(id: &TenantId, now: Option<&Tenant>, command: Command) -> Result<Vec<TenantEvent>, Rejection> {
        use TenantState::*;
        if let Command::Create { tenant_name, domain, plan_type, server, max_connections } = command {
            if now.is_some() {
                return Err(Rejection::Exists);
            }
            let mut events = vec![TenantEvent::Created {
                tenant_name,
                plan_type,
                server,
                database_name: id.database_name(),
                max_connections,
            }];
            events.extend(domain.map(|domain| TenantEvent::DomainRegistered { domain, primary: true }));
            return Ok(events);
        }
        let tenant = now.ok_or(Rejection::NotFound)?;
        let allow = |states: &[TenantState]| {
            if states.contains(&tenant.state) { Ok(()) } else { Err(Rejection::State(tenant.state)) }
        };
        // No command changes a tenant that is deleted or purged.
        let present = || allow(&[Provisioning, Active, Suspended, Maintenance, Failed]);
        // A tenant that failed and was deleted has no database.
        let with_database = || if tenant.has_database() { Ok(()) } else { Err(Rejection::State(tenant.state)) };
        Ok(match command {
            Command::Create { .. } => unreachable!("answered above"),
            Command::CompleteProvisioning { server, host, port, schema_version } => {
                allow(&[Provisioning, Failed])?;
                vec![TenantEvent::DatabaseProvisioned { server, host, port, schema_version }, TenantEvent::Activated {}]
            }
            Command::FailProvisioning { reason } => {
                allow(&[Provisioning, Failed])?;
                vec![TenantEvent::ProvisioningFailed { reason }]
            }
            Command::Retry => {
                allow(&[Failed])?;
                vec![]
            }
            Command::RegisterDomain { domain } => {
                present()?;
                if tenant.domains.contains(&domain) {
                    return Err(Rejection::DomainPresent);
                }
                vec![TenantEvent::DomainRegistered { domain, primary: tenant.domains.is_empty() }]
            }
            Command::RequestDomain { domain, challenge, valid_days } => {
                present()?;
                if tenant.domains.contains(&domain) {
                    return Err(Rejection::DomainPresent);
                }
                // The domain is requested already. Its challenge stays valid, because the record may just be being set.
                if tenant.pending_domain(&domain).is_some() {
                    return Ok(Vec::new());
                }
                vec![TenantEvent::DomainRequested { domain, challenge, valid_days }]
            }
            Command::ExpireDomainRequest { domain } => {
                allow(&[Provisioning, Active, Suspended, Maintenance, Failed, Deleted])?;
                if tenant.pending_domain(&domain).is_none() {
                    return Err(Rejection::DomainAbsent);
                }
                vec![TenantEvent::DomainRequestExpired { domain }]
            }
            Command::RemoveDomain { domain } => {
                present()?;
                if tenant.domains.contains(&domain) {
                    vec![TenantEvent::DomainRemoved { domain }]
                } else if tenant.pending_domain(&domain).is_some() {
                    vec![TenantEvent::DomainRequestWithdrawn { domain }]
                } else {
                    return Err(Rejection::DomainAbsent);
                }
            }
            Command::ChangePrimaryDomain { domain } => {
                present()?;
                if !tenant.domains.contains(&domain) {
                    return Err(Rejection::DomainAbsent);
                }
                if tenant.tenant_domain.as_ref() == Some(&domain) {
                    return Ok(Vec::new());
                }
                vec![TenantEvent::PrimaryDomainChanged { domain }]
            }
            Command::Suspend { reason } => {
                allow(&[Active, Maintenance])?;
                vec![TenantEvent::Suspended { reason }]
            }
            Command::Resume => {
                allow(&[Suspended])?;
                vec![TenantEvent::Resumed {}]
            }
            Command::SetMaintenance { enabled: true } => {
                allow(&[Active])?;
                vec![TenantEvent::MaintenanceStarted {}]
            }
            Command::SetMaintenance { enabled: false } => {
                allow(&[Maintenance])?;
                vec![TenantEvent::MaintenanceEnded {}]
            }
            Command::Rename { tenant_name } => {
                present()?;
                if tenant_name == tenant.tenant_name { vec![] } else { vec![TenantEvent::Renamed { tenant_name }] }
            }
            Command::ChangePlan { plan_type } => {
                present()?;
                if plan_type == tenant.plan_type { vec![] } else { vec![TenantEvent::PlanChanged { plan_type }] }
            }
            Command::ChangeMember { user_id, role, permissions } => {
                present()?;
                vec![TenantEvent::MemberChanged { user_id, role, permissions }]
            }
            Command::RemoveMember { user_id } => {
                present()?;
                vec![TenantEvent::MemberRemoved { user_id }]
            }
            // The tenant needs a database that the configuration is written into.
            Command::ChangeConfig { key, kind, value, secret } => {
                allow(&[Active, Suspended, Maintenance])?;
                vec![TenantEvent::ConfigChanged { config_key: key, config_type: kind, value, secret }]
            }
            // The new credential must be tried and used, which is not possible while the tenant's account is locked.
            Command::RotateDatabase => {
                allow(&[Active, Maintenance])?;
                vec![TenantEvent::DatabaseRotationRequested {}]
            }
            Command::CompleteRotation { username } => {
                allow(&[Active, Maintenance])?;
                vec![TenantEvent::DatabaseRotated { username }]
            }
            // The database exists. The tenant is served again only by the end of the maintenance that began for the
            // restore.
            Command::CompleteRestore { from, end_maintenance } => {
                allow(&[Active, Suspended, Maintenance, Deleted])?;
                let mut events = vec![TenantEvent::DatabaseRestored(from)];
                if end_maintenance && tenant.state == Maintenance {
                    events.push(TenantEvent::MaintenanceEnded {});
                }
                events
            }
            Command::CompleteProvisioningFromBackup { server, host, port, from } => {
                allow(&[Provisioning, Failed])?;
                let schema_version = from.schema_version;
                vec![
                    TenantEvent::DatabaseProvisioned { server, host, port, schema_version },
                    TenantEvent::DatabaseRestored(from),
                    TenantEvent::Activated {},
                ]
            }
            Command::MoveDatabase { server } => {
                allow(&[Active, Suspended, Maintenance])?;
                if tenant.database.server == server {
                    return Err(Rejection::ServerPresent);
                }
                vec![TenantEvent::DatabaseMoveRequested { server }]
            }
            // Also for a tenant that was deleted in the meantime: its data is retained, on whichever server it is.
            Command::StartMove { server } => {
                with_database()?;
                if tenant.database.moving_to.is_some() {
                    return Ok(Vec::new());
                }
                vec![TenantEvent::DatabaseMoveStarted { server }]
            }
            Command::CancelMove => {
                if tenant.database.moving_to.is_none() {
                    return Ok(Vec::new());
                }
                vec![TenantEvent::DatabaseMoveCancelled {}]
            }
            Command::CompleteMove { server, host, port } => {
                with_database()?;
                vec![TenantEvent::DatabaseMoved { server, host, port }]
            }
            // Also for a deleted tenant: if it is restored, the programs that serve it expect the new schema.
            Command::MigrateSchema => {
                with_database()?;
                vec![]
            }
            Command::CompleteSchemaMigration { schema_version } => {
                with_database()?;
                match tenant.database.schema_version {
                    former_version if former_version == schema_version => vec![],
                    former_version => vec![TenantEvent::SchemaMigrated { former_version, schema_version }],
                }
            }
            // In any state, because something may remain even of a tenant that is purged.
            Command::RecordRepairs { repairs } if repairs.is_empty() => vec![],
            Command::RecordRepairs { repairs } => vec![TenantEvent::DriftRepaired { repairs }],
            Command::Delete { reason, retention_days } => {
                allow(&[Active, Suspended, Maintenance, Failed])?;
                vec![TenantEvent::Deleted { reason, retention_days }]
            }
            Command::Restore => {
                allow(&[Deleted])?;
                vec![TenantEvent::Restored {}]
            }
            Command::Purge => {
                allow(&[Deleted, Failed])?;
                vec![]
            }
            Command::CompletePurge { certificate } => {
                allow(&[Deleted, Failed])?;
                vec![TenantEvent::Purged(certificate)]
            }
        })
    }
}
