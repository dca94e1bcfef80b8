//! Checks the records of domains that wait for their proof, and forgets requests that were not proven in time.
//!
//! A run checks a limited number of domains, chosen at random: names whose servers do not answer must not delay the
//! others for ever, nor the schedules that come after.

use super::perform::perform;
use super::{RoleLease, RunError};
use crate::app::App;
use crate::commands::{ExpireDomainRequest, ServeProvenDomain};
use crate::ownership::Verdict;
use futures::future::join_all;
use kernel::domain::{DomainName, TenantId};

/// Domains that one run checks.
const CHECKS: u32 = 200;
/// Checks at once; each ends within `DNS_TIMEOUT`.
const AT_ONCE: usize = 16;
/// Requests that one run forgets.
const FORGOTTEN: u32 = 500;

const ACTOR: &str = "schedule:domain-verification";

pub async fn verify_pending(app: &App, lease: &RoleLease) -> Result<u64, RunError> {
    let mut done = 0;
    let expired =
        "SELECT domain, tenant_id, challenge FROM saas_pending_domains WHERE expires_at <= UTC_TIMESTAMP(6) LIMIT ?";
    for (domain, tenant_id, _) in pending(app, expired, FORGOTTEN).await? {
        done += perform(app, lease, ACTOR, &ExpireDomainRequest { tenant_id, domain }).await?;
    }
    let waiting = "SELECT domain, tenant_id, challenge FROM saas_pending_domains WHERE expires_at > UTC_TIMESTAMP(6)
        ORDER BY RAND() LIMIT ?";
    for some in pending(app, waiting, CHECKS).await?.chunks(AT_ONCE) {
        let checks = some.iter().map(|(domain, _, challenge)| app.ownership.check(domain, challenge));
        let verdicts = join_all(checks).await;
        for ((domain, tenant_id, challenge), verdict) in some.iter().zip(verdicts) {
            if verdict == Verdict::Proven {
                let proven = ServeProvenDomain {
                    tenant_id: tenant_id.clone(),
                    domain: domain.clone(),
                    challenge: challenge.clone(),
                };
                done += perform(app, lease, ACTOR, &proven).await?;
            }
        }
    }
    Ok(done)
}

async fn pending(
    app: &App,
    query: &'static str,
    limit: u32,
) -> Result<Vec<(DomainName, TenantId, String)>, sqlx::Error> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(query).bind(limit).fetch_all(app.store.pool()).await?;
    let parsed =
        rows.into_iter().map(|(domain, tenant, value)| Some((domain.parse().ok()?, tenant.parse().ok()?, value)));
    Ok(parsed.flatten().collect())
}
