//! Looks for the records of domains that wait for their proof, and forgets those that nobody has proven in time.
//!
//! A run asks for some of them only, chosen by chance when there are more: names whose servers do not answer must not hold
//! up the others for ever, nor the schedules that come after.

use super::tenants::ask;
use super::{Lease, RunError};
use crate::admin::{ExpiredDomain, ProvenDomain};
use crate::ownership::Verdict;
use crate::serve::App;
use futures::future::join_all;
use kernel::domain::{DomainName, TenantId};

/// Looks of one run.
const LOOKS: u32 = 200;
/// Of these at once; each ends within `DNS_TIMEOUT`.
const AT_ONCE: usize = 16;
/// Requests forgotten by one run.
const FORGOTTEN: u32 = 500;

const ACTOR: &str = "schedule:domain-verification";

pub async fn verify_pending(app: &App, lease: &Lease) -> Result<u64, RunError> {
    let mut done = 0;
    let expired =
        "SELECT domain, tenant_id, challenge FROM saas_pending_domains WHERE expires_at <= UTC_TIMESTAMP(6) LIMIT ?";
    for (domain, tenant_id, _) in pending(app, expired, FORGOTTEN).await? {
        done += ask(app, lease, ACTOR, &ExpiredDomain { tenant_id, domain }).await?;
    }
    let waiting = "SELECT domain, tenant_id, challenge FROM saas_pending_domains WHERE expires_at > UTC_TIMESTAMP(6) ORDER BY RAND() LIMIT ?";
    for some in pending(app, waiting, LOOKS).await?.chunks(AT_ONCE) {
        let looks = some.iter().map(|(domain, _, challenge)| app.ownership.check(domain, challenge));
        let verdicts = join_all(looks).await;
        for ((domain, tenant_id, challenge), verdict) in some.iter().zip(verdicts) {
            if verdict == Verdict::Proven {
                let proven =
                    ProvenDomain { tenant_id: tenant_id.clone(), domain: domain.clone(), challenge: challenge.clone() };
                done += ask(app, lease, ACTOR, &proven).await?;
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
