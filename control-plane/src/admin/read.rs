//! What several handlers read from the store.

use crate::app::App;
use kernel::domain::{Tenant, TenantId};
use kernel::http::{ApiError, Code};

/// The tenant as it is now; `tenant_not_found` without one.
pub async fn tenant(app: &App, id: &TenantId) -> Result<Tenant, ApiError> {
    Ok(app.store.tenant(id).await?.ok_or(Code::TenantNotFound)?)
}
