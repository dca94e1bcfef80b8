//! What plans allow: the rows of `saas_plans` as a node uses them.
//!
//! They are read in every turn of the follower, beside the switches, so a change of a row counts as soon as a change of a
//! tenant does. They are configuration of the installation and no events of tenants.

use std::collections::HashMap;
use std::num::NonZeroU32;

/// All plans, by name.
pub type Plans = HashMap<String, Plan>;

/// One of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// On each node.
    pub limits: Limits,
    /// Connections of a tenant's database user over all nodes; `None`: what each tenant was created with.
    pub max_connections: Option<u32>,
}

/// What a tenant may do on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests in work at once.
    pub concurrency: u32,
    /// Requests that may wait for one of them.
    pub queue: u32,
    /// Requests that come; `None`: any number.
    pub rate: Option<Rate>,
}

/// How many requests may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// On average.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

impl Limits {
    /// Without a limit of the rate.
    pub fn new(concurrency: u32, queue: u32) -> Self {
        Self { concurrency, queue, rate: None }
    }
}

impl Default for Limits {
    /// Of a tenant whose plan is not in `saas_plans`: as little as the smallest plan.
    fn default() -> Self {
        Self::new(8, 64)
    }
}
