//! Statistics of tenants: what is counted, and how the control plane asks the workers for it.
//!
//! **What a figure means.** Counted is what is not `deleted`. A day is a day in UTC; a total is up to its end.
//! `total_users` are users with an order, `active_users` users in the access log of the day, `paid_orders` orders of
//! status 502, `total_revenue` the `paid_price` of these, `total_study_records` the rows of `learn_progress_records`.
//! Each is counted by itself: joined, the rows of one table would multiply those of the other.
//!
//! **Guarantees.** A day of a tenant is one row, in the tenant's `tenant_statistics` and here; counting it again
//! replaces it, and nothing is added up over rows. A removed access log shows no users any more, so
//! `active_users` is never lowered. The worker that counts holds a lease with an epoch ([`Collection`]).

mod collections;
mod live;

pub use collections::{Collection, Counts, IS_JOB, NewCollection, adopt};
pub use live::{Answer, answered, ask, claim_asked, reply};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Tenants that are counted, as a condition on `saas_tenant_snapshots s`: they have a database that may be written to,
/// so they are neither deleted nor being moved to another server.
pub const IS_COUNTED: &str = "s.has_database = 1 AND s.state <> 'deleted' AND s.moving_to IS NULL";

/// The figures of a tenant on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow, ToSchema)]
pub struct Figures {
    /// The day, in UTC.
    #[serde(rename = "date")]
    pub stat_date: NaiveDate,
    /// Users with an order.
    pub total_users: u64,
    /// Users in the access log of the day.
    pub active_users: u64,
    /// Orders.
    pub total_orders: u64,
    /// Paid ones.
    pub paid_orders: u64,
    /// What was paid for them: digits, because a float would change some amounts.
    pub total_revenue: String,
    /// Study records.
    pub total_study_records: u64,
    /// Orders of the day.
    pub daily_orders: u64,
    /// Paid ones of the day.
    pub daily_paid_orders: u64,
    /// What was paid for these.
    pub daily_revenue: String,
    /// Study records of the day.
    pub daily_study_records: u64,
}
