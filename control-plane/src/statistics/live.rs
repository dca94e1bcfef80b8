//! The present figures of one tenant: the control plane requests them from a worker and waits a few seconds.
//!
//! Workers do not count every tenant again and again, because few of the figures would ever be read, and those that are
//! would be of some time ago. A request costs the counting of one tenant, some milliseconds, and its answer includes
//! everything that was committed before it. If no worker answers in time (the tenant's server is away, no provisioner
//! runs), the newest stored figures are shown, and marked as old.

use crate::app::App;
use chrono::{DateTime, Utc};
use kernel::domain::{Tenant, TenantState};
use kernel::http::{ApiError, Code};
use kernel::statistics::{self, Figures};
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;
use utoipa::ToSchema;

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(4);

/// The present figures of a tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = TenantStatistics)]
pub struct Live {
    tenant_id: String,
    /// The figures of today.
    stats: Figures,
    /// Whether the figures include everything that was committed before the request.
    live: bool,
    /// When they were counted.
    collected_at: DateTime<Utc>,
    /// Why the figures are old.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The figures of a tenant that has a database.
pub async fn now(app: &App, tenant: &Tenant) -> Result<Live, ApiError> {
    match tenant.state {
        TenantState::Active | TenantState::Maintenance | TenantState::Suspended => {}
        TenantState::Provisioning | TenantState::Failed | TenantState::Deleted | TenantState::Purged => {
            return Err(ApiError::from(Code::InvalidState).with("state", tenant.state.as_str()));
        }
    }
    let (pool, id) = (app.store.pool(), tenant.tenant_id.as_str());
    let failed = |error: sqlx::Error| ApiError::database(&error);
    let asked = statistics::ask(pool, id).await.map_err(failed)?;
    app.workers.notify_one();
    let deadline = Instant::now() + WAIT;
    let mut pause = Duration::from_millis(5);
    let answer = loop {
        let answer = statistics::answered(pool, id, asked).await.map_err(failed)?;
        if answer.is_new || Instant::now() >= deadline {
            break answer;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    };
    let live = answer.is_new && answer.reason.is_none();
    let reason =
        (!live).then(|| answer.reason.filter(|_| answer.is_new).unwrap_or_else(|| "no worker answered in time".into()));
    let Some((stats, counted)) = answer.figures else {
        let reason = reason.unwrap_or_default();
        tracing::warn!(tenant_id = id, reason, "there are no figures of a tenant");
        return Err(ApiError::from(Code::TenantUnavailable).with("reason", reason));
    };
    Ok(Live { tenant_id: id.to_owned(), stats, live, collected_at: counted.and_utc(), reason })
}
