//! Requests an audit, which repairs what is safe unless `AUDIT_REPAIR` says otherwise.

use super::perform::perform;
use super::{Clock, RoleLease, RunError};
use crate::audit::RequestAudit;

pub async fn begin(clock: &Clock, lease: &RoleLease) -> Result<u64, RunError> {
    let request = RequestAudit { repair: clock.settings.audit_repair };
    perform(&clock.app, lease, "schedule:audit", &request).await
}
