//! The creation of a tenant: its first events and the job that provisions its database.

use super::domains::request_proof;
use super::plans::check_plan;
use super::{Refusal, Write};
use crate::ownership::Ownership;
use kernel::domain::{Command, DomainName, Tenant, TenantId};
use kernel::jobs::{self, JobKind, NewJob};
use kernel::store::{UnitOfWork, installation, servers};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

pub struct CreateTenant {
    pub tenant_id: TenantId,
    pub tenant_name: String,
    /// Its first domain.
    pub domain: Option<DomainName>,
    pub plan_type: String,
    /// How long failing provisioning is retried before it is undone.
    pub patience: Duration,
    /// Decides whether the domain needs a proof; `None`: it needs none.
    pub ownership: Option<Arc<Ownership>>,
}

/// A tenant whose provisioning has been enqueued.
pub struct Created {
    pub tenant: Tenant,
    pub operation_id: Uuid,
}

impl Write for CreateTenant {
    type Done = Created;

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Created, Refusal> {
        check_plan(unit, &self.plan_type).await?;
        let server = servers::place(unit.connection()).await?;
        let mut to_prove = None;
        if let (Some(domain), Some(ownership)) = (&self.domain, &self.ownership) {
            let needed = ownership.is_needed(unit, &self.tenant_id, domain).await?;
            to_prove = needed.then_some((domain, ownership));
        }
        let command = Command::Create {
            tenant_name: self.tenant_name.clone(),
            domain: self.domain.clone().filter(|_| to_prove.is_none()),
            plan_type: self.plan_type.clone(),
            server: server.clone(),
            max_connections: installation::default_connections(unit.connection()).await?,
        };
        let mut tenant = unit.execute(&self.tenant_id, actor, command).await?;
        if let Some((domain, ownership)) = to_prove {
            tenant = request_proof(unit, actor, &self.tenant_id, domain, ownership).await?;
        }
        let job = NewJob::for_tenant(JobKind::Provision, &self.tenant_id, server, self.patience);
        let operation_id = jobs::enqueue(unit.connection(), &[job]).await?[0];
        Ok(Created { tenant, operation_id })
    }
}
