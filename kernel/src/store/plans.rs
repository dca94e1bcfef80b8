//! [`Plan`]: the rows of `saas_plans`, which say what a tenant of a plan may use.
//!
//! Plans are configuration of the installation, like the switches in `saas_system_config`. A tenant's events name its
//! plan, and the row says what that means now. So a changed row applies to all its tenants at once, is in no tenant's
//! history, and no projection depends on it. Nodes read the limits in every refresh, and jobs when they begin.
//!
//! If the plan sets no number of connections, the tenant's own number (`tenant.created`) applies.

use super::Store;
use crate::domain::Tenant;
use serde::Serialize;
use sqlx::{FromRow, MySqlConnection, MySqlExecutor};
use utoipa::ToSchema;

/// A row. Serialises as the admin API shows it; `null`: not limited by the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow, ToSchema)]
pub struct Plan {
    /// Its name.
    pub plan_type: String,
    /// For people.
    pub description: String,
    /// Connections of a tenant's database user, over all nodes.
    pub max_connections: Option<u32>,
    /// Requests in work at once, per node.
    pub request_concurrency: u32,
    /// Requests that may wait for one of them, per node.
    pub request_queue: u32,
    /// Requests in a second, per node.
    pub request_rate: Option<u32>,
    /// Of these at once, after a pause; as many as the rate if it does not say.
    pub request_burst: Option<u32>,
    /// Bytes of a tenant's database; more is reported.
    pub storage_bytes: Option<u64>,
}

/// The columns of [`Plan`] with a condition after them.
macro_rules! select_plan {
    ($condition:literal) => {
        concat!(
            "SELECT plan_type, description, max_connections, request_concurrency, request_queue, request_rate,
                    request_burst, storage_bytes FROM saas_plans ",
            $condition
        )
    };
}

impl Plan {
    /// The plan of a tenant whose creator names none. It cannot be removed.
    pub const DEFAULT: &str = "basic";

    /// All plans, by name.
    pub async fn all(executor: impl MySqlExecutor<'_>) -> Result<Vec<Self>, sqlx::Error> {
        sqlx::query_as(select_plan!("ORDER BY plan_type")).fetch_all(executor).await
    }

    /// The plan with this name.
    pub async fn find(executor: impl MySqlExecutor<'_>, plan_type: &str) -> Result<Option<Self>, sqlx::Error> {
        sqlx::query_as(select_plan!("WHERE plan_type = ?")).bind(plan_type).fetch_optional(executor).await
    }

    /// The plan with this name, locked: until the transaction ends, no other transaction changes, removes or creates
    /// it.
    pub async fn hold(connection: &mut MySqlConnection, plan_type: &str) -> Result<Option<Self>, sqlx::Error> {
        sqlx::query_as(select_plan!("WHERE plan_type = ? FOR UPDATE")).bind(plan_type).fetch_optional(connection).await
    }

    /// Whether the plan exists. Until the transaction ends, no other transaction removes it.
    pub async fn use_by_tenant(connection: &mut MySqlConnection, plan_type: &str) -> Result<bool, sqlx::Error> {
        let found: Option<(String,)> =
            sqlx::query_as("SELECT plan_type FROM saas_plans WHERE plan_type = ? LOCK IN SHARE MODE")
                .bind(plan_type)
                .fetch_optional(connection)
                .await?;
        // The collation of the column ignores case.
        Ok(found.is_some_and(|(found,)| found == plan_type))
    }

    /// Inserts the row, or replaces it.
    pub async fn put(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO saas_plans (plan_type, description, max_connections, request_concurrency, request_queue,
                                     request_rate, request_burst, storage_bytes)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)
             ON DUPLICATE KEY UPDATE description = VALUES(description), max_connections = VALUES(max_connections),
                 request_concurrency = VALUES(request_concurrency), request_queue = VALUES(request_queue),
                 request_rate = VALUES(request_rate), request_burst = VALUES(request_burst),
                 storage_bytes = VALUES(storage_bytes)",
        )
        .bind(&self.plan_type)
        .bind(&self.description)
        .bind(self.max_connections)
        .bind(self.request_concurrency)
        .bind(self.request_queue)
        .bind(self.request_rate)
        .bind(self.request_burst)
        .bind(self.storage_bytes)
        .execute(connection)
        .await
        .map(drop)
    }
}

impl Store {
    /// The most connections of a tenant's database user: the number of its plan, or else the tenant's own number.
    pub async fn connections_of(&self, tenant: &Tenant) -> Result<u32, sqlx::Error> {
        let plan = Plan::find(self.pool(), &tenant.plan_type).await?;
        Ok(plan.and_then(|plan| plan.max_connections).unwrap_or(tenant.database.max_connections))
    }
}
