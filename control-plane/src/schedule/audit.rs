//! Asks for an audit, which repairs what is safe unless `AUDIT_REPAIR` says otherwise.

use super::tenants::ask;
use super::{Lease, RunError};
use crate::audit::request::RequestAudit;
use crate::serve::App;

pub async fn begin(app: &App, lease: &Lease) -> Result<u64, RunError> {
    ask(app, lease, "schedule:audit", &RequestAudit { repair: app.plan.audit_repair }).await
}
