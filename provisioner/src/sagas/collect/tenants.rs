//! Which tenants a collection has left to count, and their counting: each connection counts one tenant after the other.

use crate::sagas::{StepError, Tools};
use crate::server::{Marker, ServerError};
use crate::statistics::{CountError, Counting, DAYS};
use chrono::{Days, NaiveDate};
use kernel::database;
use kernel::domain::TenantId;
use kernel::error::chain;
use kernel::process::failpoint;
use kernel::statistics::{Collection, Counts, IS_COUNTED};
use sqlx::{Connection, MySqlConnection};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longest time for one tenant and [`DAYS`] days.
const TENANT_DEADLINE: Duration = Duration::from_secs(60);
/// Days before today that a catching-up collection goes back, at most.
const CATCH_UP: u64 = 31;

/// A tenant to count, and from which day on.
struct Due {
    tenant_id: TenantId,
    from: NaiveDate,
}

/// What the connections of one collection share.
pub struct Progress {
    due: Mutex<VecDeque<Due>>,
    tenants: u32,
    collected: AtomicU32,
    failed: AtomicU32,
}

impl Progress {
    /// The tenants that are left to count; those that an earlier attempt has recorded are in the counts already.
    pub async fn begin(tools: &Tools, collection: &Collection<'_>) -> Result<Self, sqlx::Error> {
        type Row = (String, NaiveDate, Option<NaiveDate>, bool, bool);
        let rows: Vec<Row> = sqlx::query_as(&format!(
            "SELECT s.tenant_id, DATE(COALESCE(t.created_at, UTC_TIMESTAMP())),
                    (SELECT MAX(d.stat_date) FROM saas_tenant_daily_statistics d WHERE d.tenant_id = s.tenant_id
                       AND d.stat_date >= ? - INTERVAL {CATCH_UP} DAY
                         AND d.collected_at >= d.stat_date + INTERVAL 1 DAY),
                    EXISTS (SELECT 1 FROM saas_tenant_daily_statistics d WHERE d.tenant_id = s.tenant_id
                            AND d.stat_date = ? AND d.collection_id = ?) <> 0,
                    EXISTS (SELECT 1 FROM saas_collection_failures f WHERE f.tenant_id = s.tenant_id
                            AND f.collection_id = ?) <> 0
             FROM saas_tenant_snapshots s LEFT JOIN saas_tenants t ON t.tenant_id = s.tenant_id
             WHERE s.server_id = ? AND {IS_COUNTED} ORDER BY s.tenant_id"
        ))
        .bind(collection.to)
        .bind(collection.to)
        .bind(collection.id())
        .bind(collection.id())
        .bind(&tools.server.id)
        .fetch_all(tools.store.pool())
        .await?;
        let oldest = collection.to - Days::new(CATCH_UP);
        let (mut due, mut done, mut failed) = (Vec::new(), 0, 0);
        for (tenant_id, created, final_until, counted, given_up) in rows {
            let Ok(tenant_id) = tenant_id.parse() else { continue };
            if counted || given_up {
                done += u32::from(counted);
                failed += u32::from(!counted);
                continue;
            }
            // Days after the last one that was counted when it was over.
            let open = final_until.map_or(created, |day| day + Days::new(1)).clamp(oldest, collection.to);
            due.push(Due { tenant_id, from: collection.from.unwrap_or(open) });
        }
        Ok(Self {
            tenants: u32::try_from(due.len()).unwrap_or(u32::MAX) + done + failed,
            due: Mutex::new(due.into()),
            collected: AtomicU32::new(done),
            failed: AtomicU32::new(failed),
        })
    }

    /// How far the collection is.
    pub fn counts(&self) -> Counts {
        let (collected, failed) = (self.collected.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        Counts { tenants: self.tenants, collected, failed }
    }

    fn next(&self) -> Option<Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Counts tenants on one connection until none is left.
    pub async fn count(&self, tools: &Tools, collection: &Collection<'_>) -> Result<(), StepError> {
        let server = &tools.server.id;
        let away = |error: ServerError| StepError::Transient(error.reason(server));
        let mut open: Option<MySqlConnection> = None;
        while let Some(due) = self.next() {
            let mut connection = match open.take() {
                Some(connection) => connection,
                None => {
                    let mut connection = tools.server.connect().await.map_err(away)?;
                    // A count that is given up on would go on at the server beside the next one.
                    let limited = database::limit_statements(&mut connection, TENANT_DEADLINE).await;
                    limited.map_err(|error| away(error.into()))?;
                    connection
                }
            };
            match count_tenant(tools, &mut connection, collection, &due).await {
                Ok(()) => {
                    self.collected.fetch_add(1, Ordering::Relaxed);
                    open = Some(connection);
                }
                Err(CountError::Job(error)) => return Err(error.into()),
                Err(error) => {
                    if error.is_unreachable() {
                        tools.server.connect().await.map_err(away)?;
                    }
                    tracing::warn!(tenant_id = %due.tenant_id, cause = %chain(&error), "a tenant could not be counted");
                    let (pool, reason) = (tools.store.pool(), error.reason(server));
                    collection.record_failure(pool, due.tenant_id.as_str(), &reason).await?;
                    self.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        if let Some(connection) = open {
            let _ = connection.close().await;
        }
        Ok(())
    }
}

async fn count_tenant(
    tools: &Tools,
    connection: &mut MySqlConnection,
    collection: &Collection<'_>,
    due: &Due,
) -> Result<(), CountError> {
    let dialect = tools.server.learn_dialect(connection).await?;
    let marker = Marker::new(&tools.installation, &due.tenant_id);
    let days: Vec<NaiveDate> = due.from.iter_days().take_while(|day| *day <= collection.to).collect();
    // Oldest first: the row of the last day says that the tenant was counted.
    for days in days.chunks(DAYS) {
        let counting = async {
            let mut counting = Counting { connection: &mut *connection, system: tools.store.pool(), marker: &marker };
            let figures = counting.count(dialect, days).await?;
            failpoint::hit("collect.before_keep").await;
            counting.keep(&figures).await?;
            Ok(figures)
        };
        let figures = tokio::time::timeout(TENANT_DEADLINE, counting).await;
        let figures = figures.unwrap_or_else(|_| Err(CountError::TooLong))?;
        collection.record(tools.store.pool(), due.tenant_id.as_str(), &figures).await?;
        failpoint::hit("collect.recorded").await;
    }
    Ok(())
}
