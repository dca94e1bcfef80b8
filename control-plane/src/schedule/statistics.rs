//! Requests the statistics of all tenants: of every day that has not been counted since it was over, and of today so
//! far.
//!
//! Counting takes time, so the run ends once the request is made. The request has the id of the run: a run that another
//! leader takes up requests nothing twice.

use super::perform::perform;
use super::{RoleLease, Run, RunError};
use crate::app::App;
use crate::statistics::RequestCollection;

pub async fn collect(app: &App, lease: &RoleLease, run: &Run) -> Result<u64, RunError> {
    let request = RequestCollection { request_id: run.run_id.clone(), days: None };
    perform(app, lease, "schedule:daily-statistics", &request).await
}
