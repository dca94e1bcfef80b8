//! Asks for the statistics of all tenants: of every day that has not been counted since it was over, and of today so far.
//!
//! Counting takes its time, so the run ends when it is asked for. The id of the run is that of the request: a run that is
//! taken up again by another leader asks for nothing twice.

use super::tenants::ask;
use super::{Lease, Run, RunError};
use crate::serve::App;
use crate::statistics::AskCollection;

pub async fn collect(app: &App, lease: &Lease, run: &Run) -> Result<u64, RunError> {
    let wish = AskCollection { request_id: run.run_id.clone(), days: None };
    ask(app, lease, "schedule:daily-statistics", &wish).await
}
