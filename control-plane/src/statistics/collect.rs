//! A request to count days: a collection for each database server that has tenants.

use super::check_range;
use crate::commands::{Refusal, Write};
use chrono::{NaiveDate, NaiveDateTime};
use kernel::http::ApiError;
use kernel::statistics::{IS_COUNTED, IS_JOB, NewCollection};
use kernel::store::UnitOfWork;
use serde::Serialize;
use sqlx::{FromRow, MySqlConnection};
use utoipa::ToSchema;
use uuid::Uuid;

pub struct RequestCollection {
    /// Its id: a repeated request with the same id changes nothing.
    pub request_id: String,
    /// The days; `None`: the days that are missing, up to today.
    pub days: Option<(NaiveDate, NaiveDate)>,
}

impl RequestCollection {
    /// A request with an id of its own.
    pub fn new(days: (NaiveDate, NaiveDate)) -> Self {
        Self { request_id: Uuid::now_v7().to_string(), days: Some(days) }
    }
}

impl Write for RequestCollection {
    type Done = RequestedCollection;

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<RequestedCollection, Refusal> {
        let (today,): (NaiveDate,) = sqlx::query_as("SELECT UTC_DATE()").fetch_one(unit.connection()).await?;
        let (from, to) = self.days.map_or((None, today), |(from, to)| (Some(from), to));
        if let Some(from) = from {
            check_range(from, to)?;
        }
        if to > today {
            return Err(ApiError::invalid("to", "to", "a day that has begun (UTC)").into());
        }
        let servers: Vec<(String,)> = sqlx::query_as(&format!(
            "SELECT DISTINCT s.server_id FROM saas_tenant_snapshots s WHERE {IS_COUNTED} ORDER BY s.server_id"
        ))
        .fetch_all(unit.connection())
        .await?;
        for (server,) in servers {
            let new = NewCollection { request_id: &self.request_id, server: &server, from, to, requested_by: actor };
            // A collection that still waits for its server counts today as well, so no second one queues behind it.
            if from.is_none() && new.extend_waiting(unit.connection()).await? {
                continue;
            }
            new.enqueue(unit.connection()).await?;
        }
        let collections = collections(unit.connection(), Some(&self.request_id)).await?;
        Ok(RequestedCollection { request_id: self.request_id.clone(), from, to, collections })
    }
}

/// The collections of a request.
#[derive(Serialize)]
pub struct RequestedCollection {
    pub request_id: String,
    from: Option<NaiveDate>,
    to: NaiveDate,
    collections: Vec<Collection>,
}

/// A collection as an administrator sees it.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Collection {
    pub collection_id: String,
    /// The request that it belongs to.
    pub request_id: String,
    /// The database server whose tenants are counted.
    pub server_id: String,
    /// First day; null: the days that were missing.
    #[serde(rename = "from")]
    pub from_day: Option<NaiveDate>,
    /// Last day.
    #[serde(rename = "to")]
    pub to_day: NaiveDate,
    /// The actor that requested it.
    pub requested_by: String,
    /// `pending`, `running`, `succeeded`, `failed`.
    pub status: String,
    /// How many workers have taken it up.
    pub attempts: u32,
    /// Tenants of the server, once it has begun.
    pub tenants: Option<u32>,
    /// Tenants counted so far.
    pub collected: u32,
    /// Tenants that could not be counted.
    pub failed: u32,
    /// Why it waits, or why it failed.
    pub error: Option<String>,
    /// When it was requested.
    #[serde(serialize_with = "utc")]
    #[schema(value_type = DateTime<Utc>)]
    created_at: Option<NaiveDateTime>,
    /// When it ended.
    #[serde(serialize_with = "utc")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    ended_at: Option<NaiveDateTime>,
    /// The tenants that were not counted, the first hundred.
    #[sqlx(skip)]
    pub failures: Vec<Failure>,
}

/// A tenant that could not be counted.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = CollectionFailure)]
pub struct Failure {
    tenant_id: String,
    /// Why it could not be counted.
    reason: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.tenant_id, self.reason)
    }
}

fn utc<S: serde::Serializer>(time: &Option<NaiveDateTime>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.and_utc()).serialize(to)
}

/// The collections of a request with their failures, or the newest hundred without.
pub async fn collections(
    connection: &mut MySqlConnection,
    request_id: Option<&str>,
) -> Result<Vec<Collection>, sqlx::Error> {
    let mut found: Vec<Collection> = sqlx::query_as(
        "SELECT c.collection_id, c.request_id, c.server_id, c.from_day, c.to_day, c.requested_by,
                CASE WHEN c.status <> ? THEN c.status
                     WHEN o.status = 'running' AND o.lease_until IS NULL THEN 'pending'
                     ELSE COALESCE(o.status, 'failed') END AS status,
                IF(c.status <> ? OR o.attempts IS NULL, c.attempts, o.attempts) AS attempts, c.tenants, c.collected,
                c.failed, IF(c.status <> ?, c.error, o.error) AS error, c.created_at,
                COALESCE(c.ended_at, o.finished_at) AS ended_at
         FROM saas_collections c LEFT JOIN saas_operations o ON o.operation_id = c.collection_id
         WHERE (? IS NULL OR c.request_id = ?) ORDER BY c.created_at DESC, c.server_id LIMIT 100",
    )
    .bind(IS_JOB)
    .bind(IS_JOB)
    .bind(IS_JOB)
    .bind(request_id)
    .bind(request_id)
    .fetch_all(&mut *connection)
    .await?;
    if request_id.is_some() {
        for collection in &mut found {
            collection.failures = sqlx::query_as(
                "SELECT tenant_id, reason FROM saas_collection_failures WHERE collection_id = ?
                 ORDER BY tenant_id LIMIT 100",
            )
            .bind(&collection.collection_id)
            .fetch_all(&mut *connection)
            .await?;
        }
    }
    Ok(found)
}
