//! Asks for an audit, which repairs what is safe unless `AUDIT_REPAIR` says otherwise.

use super::tenants::ask;
use super::{Lead, RunError};
use crate::audit::request::RequestAudit;
use crate::serve::App;

pub async fn begin(app: &App, lead: &Lead) -> Result<u64, RunError> {
    ask(app, lead, "schedule:audit", &RequestAudit { repair: app.plan.audit_repair }).await
}
