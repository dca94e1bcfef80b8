//! The plans: what the rows of `saas_plans` allow a tenant on one node.
//!
//! The follower reads them in every refresh, so a changed row takes effect as soon as a change of a tenant does. Plans
//! are configuration of the installation, so no event announces their changes.

use std::collections::HashMap;
use std::num::NonZeroU32;

/// The plans by name.
pub type Plans = HashMap<String, Plan>;

/// A plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What a tenant may do on each node.
    pub limits: Limits,
    /// Connections of a tenant's database user over all nodes; `None`: each tenant has the number it was created with.
    pub max_connections: Option<u32>,
}

/// What a tenant may do on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests at work at the same time.
    pub concurrency: u32,
    /// Requests that may wait until another one ends.
    pub queue: u32,
    /// How many requests may come; `None`: any number.
    pub rate: Option<Rate>,
}

/// How many requests may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second, on average.
    pub per_second: NonZeroU32,
    /// Requests at once, after a pause.
    pub burst: NonZeroU32,
}

impl Limits {
    /// Limits without a rate.
    pub fn new(concurrency: u32, queue: u32) -> Self {
        Self { concurrency, queue, rate: None }
    }
}

impl Default for Limits {
    /// The limits of a tenant whose plan is not in `saas_plans`: those of the smallest plan.
    fn default() -> Self {
        Self::new(8, 64)
    }
}
