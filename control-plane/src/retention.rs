//! Requests the purge of deleted tenants whose retention has passed, by the same command as an administrator would.
//!
//! Every process looks; the command decides. A tenant whose purge is in progress, or that was restored in between, refuses.

use crate::admin::Purge;
use crate::serve::App;
use crate::write::{self, Refusal};
use kernel::domain::Rejection;
use kernel::http::Code;
use kernel::store::CommandError;
use std::time::Duration;

/// How often to look. Retention is counted in days.
const EVERY: Duration = Duration::from_secs(60);
/// Most purges requested by one look: many expire together only when many were deleted together.
const AT_ONCE: u32 = 100;

/// Looks until the process stops.
pub async fn keep(app: App) {
    loop {
        if let Err(error) = look(&app).await {
            tracing::warn!(cause = %error, "deleted tenants whose retention has passed cannot be looked for");
        }
        tokio::select! { () = tokio::time::sleep(EVERY) => {}, () = app.shutdown.wished() => return }
    }
}

async fn look(app: &App) -> Result<(), sqlx::Error> {
    for tenant_id in app.store.expired(AT_ONCE).await? {
        let purge = Purge { tenant_id, patience: app.patience };
        match write::perform(&app.store, "retention", &purge).await {
            Ok(_) => tracing::info!(tenant_id = %purge.tenant_id, "the retention has passed; the tenant is purged"),
            Err(Refusal::Command(CommandError::Rejected(Rejection::State(_)))) => {}
            Err(Refusal::Api(error)) if error.code() == Code::OperationInProgress => {}
            Err(Refusal::Command(CommandError::Database(error))) => return Err(error),
            Err(refusal) => {
                tracing::warn!(tenant_id = %purge.tenant_id, ?refusal, "a purge was refused");
            }
        }
    }
    Ok(())
}
