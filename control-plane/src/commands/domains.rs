//! Domains of a tenant: requested, proven, made primary, removed. [`crate::ownership`] says which domains need a proof.

use super::{Refusal, Write};
use crate::ownership::{Ownership, new_challenge};
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::domain::{Command, DomainName, PendingDomain, Rejection, Tenant, TenantId};
use kernel::http::{ApiError, Code};
use kernel::store::{CommandError, UnitOfWork};
use sqlx::MySqlConnection;
use std::sync::Arc;

/// Routes a domain to a tenant, or requests its proof if it needs one. The domain is one of the tenant's pending ones
/// afterwards, or one of those that serve.
pub struct RegisterDomain {
    pub tenant_id: TenantId,
    pub domain: DomainName,
    pub ownership: Arc<Ownership>,
}

impl Write for RegisterDomain {
    type Done = Tenant;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Tenant, Refusal> {
        let Self { tenant_id, domain, ownership } = self;
        let present = unit.tenant(tenant_id).await?.ok_or(Code::TenantNotFound)?;
        if present.domains.contains(domain) {
            return Err(CommandError::from(Rejection::DomainPresent).into());
        }
        if ownership.is_needed(unit, tenant_id, domain).await? {
            return request_proof(unit, actor, tenant_id, domain, ownership).await;
        }
        Ok(unit.execute(tenant_id, actor, Command::RegisterDomain { domain: domain.clone() }).await?)
    }
}

/// Requests the proof of a domain. A request that is repeated before it expires keeps its record.
pub async fn request_proof(
    unit: &mut UnitOfWork,
    actor: &str,
    tenant_id: &TenantId,
    domain: &DomainName,
    ownership: &Ownership,
) -> Result<Tenant, Refusal> {
    let present = unit.tenant(tenant_id).await?.ok_or(Code::TenantNotFound)?;
    let now = database_time(unit.connection()).await?;
    if present.pending_domain(domain).is_some_and(|pending| pending.expires_at <= now) {
        unit.execute(tenant_id, actor, Command::ExpireDomainRequest { domain: domain.clone() }).await?;
    }
    let (challenge, valid_days) = (new_challenge(), ownership.days);
    let command = Command::RequestDomain { domain: domain.clone(), challenge, valid_days };
    Ok(unit.execute(tenant_id, actor, command).await?)
}

/// Routes a domain whose record was seen to its tenant. The request may have changed since DNS was asked, so the unit
/// compares the challenge once more.
pub struct ServeProvenDomain {
    pub tenant_id: TenantId,
    pub domain: DomainName,
    /// The value that the record had.
    pub challenge: String,
}

impl Write for ServeProvenDomain {
    type Done = Tenant;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Tenant, Refusal> {
        let now = database_time(unit.connection()).await?;
        let tenant = unit.tenant(&self.tenant_id).await?.ok_or(Code::TenantNotFound)?;
        if tenant.domains.contains(&self.domain) {
            return Ok(tenant);
        }
        let counts = |pending: &&PendingDomain| pending.challenge == self.challenge && pending.expires_at > now;
        tenant.pending_domain(&self.domain).filter(counts).ok_or_else(not_requested)?;
        let command = Command::RegisterDomain { domain: self.domain.clone() };
        Ok(unit.execute(&self.tenant_id, actor, command).await?)
    }
}

/// Forgets a request for a domain that was not proven in time.
pub struct ExpireDomainRequest {
    pub tenant_id: TenantId,
    pub domain: DomainName,
}

impl Write for ExpireDomainRequest {
    type Done = ();

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<(), Refusal> {
        let now = database_time(unit.connection()).await?;
        let tenant = unit.tenant(&self.tenant_id).await?.ok_or(Code::TenantNotFound)?;
        // The tenant may have requested it again since the schedule read the row.
        let expired = |pending: &&PendingDomain| pending.expires_at <= now;
        tenant.pending_domain(&self.domain).filter(expired).ok_or_else(not_requested)?;
        let command = Command::ExpireDomainRequest { domain: self.domain.clone() };
        unit.execute(&self.tenant_id, actor, command).await?;
        Ok(())
    }
}

/// Routes a domain to a tenant no more, or forgets the request for it.
pub struct RemoveDomain {
    pub tenant_id: TenantId,
    pub domain: DomainName,
}

impl Write for RemoveDomain {
    type Done = ();

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<(), Refusal> {
        unit.execute(&self.tenant_id, actor, Command::RemoveDomain { domain: self.domain.clone() }).await?;
        Ok(())
    }
}

/// Makes one of a tenant's domains its primary one.
pub struct MakePrimaryDomain {
    pub tenant_id: TenantId,
    pub domain: DomainName,
}

impl Write for MakePrimaryDomain {
    type Done = Tenant;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant_id)
    }

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Tenant, Refusal> {
        let command = Command::ChangePrimaryDomain { domain: self.domain.clone() };
        Ok(unit.execute(&self.tenant_id, actor, command).await?)
    }
}

/// `domain_not_found`: the tenant has no request for the domain that still counts.
pub fn not_requested() -> ApiError {
    ApiError::from(Code::DomainNotFound).with("field", "domain")
}

/// The database's time, which decides whether a request has expired.
pub async fn database_time(connection: &mut MySqlConnection) -> Result<DateTime<Utc>, sqlx::Error> {
    let now: NaiveDateTime = sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)").fetch_one(connection).await?;
    Ok(now.and_utc())
}
