//! Requests the purge of deleted tenants whose retention has passed, by the same command as an administrator would.
//!
//! The command decides: a tenant whose purge is in progress, or that was restored in between, refuses.

use super::perform::perform;
use super::{RoleLease, RunError};
use crate::app::App;
use crate::commands::PurgeTenant;

/// Most purges requested by one run: many expire together only when many were deleted together.
const AT_ONCE: u32 = 100;

pub async fn purge_expired(app: &App, lease: &RoleLease) -> Result<u64, RunError> {
    let mut requested = 0;
    for tenant_id in app.store.expired(AT_ONCE, &kernel::jobs::kinds_that_block_nothing()).await? {
        let purge = PurgeTenant { tenant_id, patience: app.patience, in_bulk: true };
        requested += perform(app, lease, "schedule:tenant-retention", &purge).await?;
    }
    Ok(requested)
}
