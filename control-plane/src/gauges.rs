//! Gauges of the whole system in `/metrics`. Every control plane reads the same ones from the system database.

use crate::health::{FORGOTTEN_MINUTES, GONE_SECONDS};
use kernel::domain::TenantState;
use kernel::jobs::JobKind;
use kernel::process::health::{Health, Part};
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use kernel::store::Store;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the system database is read.
const EVERY: Duration = Duration::from_secs(2);
/// One turn of so many also reads what changes slowly and costs more.
const SLOWLY: u32 = 5;

/// Sets the gauges until the process stops, and reports whether the system database answers: the API is no use without
/// it, so its absence makes the process not ready.
pub async fn run(store: Store, backups: bool, health: Health, shutdown: Shutdown) {
    // Every kind from the beginning: one that never occurred is 0.
    let known = JobKind::ALL;
    let states = known.iter().flat_map(|kind| ["pending", "running"].map(|state| (kind.to_string(), state.to_owned())));
    let (mut turn, mut kinds) = (0, states.map(|state| (state, 0)).collect());
    loop {
        let asked = tokio::time::timeout(EVERY, measure(&store, turn % SLOWLY == 0, backups, &mut kinds)).await;
        turn += 1;
        match asked {
            Ok(Ok(())) => health.report("system_database", Part::Healthy),
            Ok(Err(error)) => {
                health.report_error("system_database", Part::Down(kernel::database::reason(&error)), &error);
            }
            Err(_) => health.report("system_database", Part::Down("it does not answer in time".into())),
        }
        tokio::select! { () = tokio::time::sleep(EVERY) => {}, () = shutdown.requested() => return }
    }
}

/// How old backups are, and whether those that were tested could be restored.
async fn measure_backups(store: &Store) -> Result<(), sqlx::Error> {
    let (oldest, failed): (i64, i64) = sqlx::query_as(
        "SELECT CAST(COALESCE(MAX(TIMESTAMPDIFF(SECOND, COALESCE(b.newest, s.since), UTC_TIMESTAMP())), 0) AS SIGNED),
                (SELECT COUNT(*) FROM saas_backups f WHERE f.test_error IS NOT NULL AND f.tested_at =
                    (SELECT MAX(l.tested_at) FROM saas_backups l WHERE l.tenant_id = f.tenant_id))
         FROM (SELECT CONVERT(tenant_id USING ascii) AS tenant_id, created_at AS since
                    FROM saas_tenants WHERE status IN (0, 1, 2) AND deleted = 0
               UNION ALL SELECT '', (SELECT MIN(applied_at) FROM saas_schema_migrations)) s
         LEFT JOIN (SELECT tenant_id, MAX(taken_at) AS newest FROM saas_backups GROUP BY tenant_id) b
              ON b.tenant_id = s.tenant_id",
    )
    .fetch_one(store.pool())
    .await?;
    metrics::gauge!(names::BACKUP_OLDEST).set(oldest as f64);
    metrics::gauge!(names::BACKUP_TESTS_FAILED).set(failed as f64);
    Ok(())
}

async fn measure(
    store: &Store,
    slow: bool,
    backups: bool,
    kinds: &mut BTreeMap<(String, String), i64>,
) -> Result<(), sqlx::Error> {
    let (head, cursor, oldest): (u64, u64, Option<i64>) = sqlx::query_as(
        "SELECT h.position, l.position,
                (SELECT TIMESTAMPDIFF(MICROSECOND, e.occurred_at, UTC_TIMESTAMP(6)) FROM saas_events e
                 WHERE e.position = l.position + 1)
         FROM saas_heads h JOIN saas_leases l ON l.name = 'relay' WHERE h.name = 'events'",
    )
    .fetch_one(store.pool())
    .await?;
    metrics::gauge!(names::EVENT_LOG_POSITION).set(head as f64);
    metrics::gauge!(names::RELAY_LAG_EVENTS).set(head.saturating_sub(cursor) as f64);
    metrics::gauge!(names::RELAY_LAG_SECONDS).set(oldest.unwrap_or(0).max(0) as f64 / 1e6);
    let open: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT kind, status, COUNT(*) FROM saas_operations FORCE INDEX (idx_open) WHERE due_at IS NOT NULL
         GROUP BY kind, status",
    )
    .fetch_all(store.pool())
    .await?;
    // A kind without open jobs is 0, not its last number.
    kinds.values_mut().for_each(|count| *count = 0);
    kinds.extend(open.into_iter().map(|(kind, status, count)| ((kind, status), count)));
    for ((kind, status), count) in kinds.iter() {
        metrics::gauge!(names::JOBS_OPEN, "kind" => kind.clone(), "status" => status.clone()).set(*count as f64);
    }
    let (overdue, oldest): (i64, Option<i64>) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(NOT FIND_IN_SET(lane, ?)
                                  AND due_at < UTC_TIMESTAMP(6) - INTERVAL 60 SECOND), 0) AS SIGNED),
                CAST(MAX(TIMESTAMPDIFF(SECOND, created_at, UTC_TIMESTAMP(6))) AS SIGNED)
         FROM saas_operations FORCE INDEX (idx_open)
         WHERE due_at IS NOT NULL AND (NOT FIND_IN_SET(lane, ?) OR attempts >= 2 AND NOT FIND_IN_SET(kind, ?))",
    )
    // A job that only waits in its queue is not stuck; one that is tried again is, unless its server is away.
    .bind(kernel::jobs::lanes_that_queue())
    .bind(kernel::jobs::lanes_that_queue())
    .bind(kernel::jobs::kinds_that_wait_for_a_server())
    .fetch_one(store.pool())
    .await?;
    metrics::gauge!(names::JOBS_OVERDUE).set(overdue as f64);
    metrics::gauge!(names::JOBS_OLDEST_OPEN).set(oldest.unwrap_or(0).max(0) as f64);
    if !slow {
        return Ok(());
    }
    let idle = kernel::jobs::idle_lanes(store.pool()).await?;
    metrics::gauge!(names::JOB_LANES_IDLE).set(idle.len() as f64);
    if backups {
        measure_backups(store).await?;
    }
    let tenants: Vec<(String, i64)> =
        sqlx::query_as("SELECT state, COUNT(*) FROM saas_tenant_snapshots GROUP BY state")
            .fetch_all(store.pool())
            .await?;
    for state in TenantState::ALL {
        let count = tenants.iter().find(|(name, _)| name == state.as_str()).map_or(0, |(_, count)| *count);
        metrics::gauge!(names::TENANTS, "state" => state.as_str()).set(count as f64);
    }
    let (_, behind) = crate::schema::count(&mut *store.pool().acquire().await?).await?;
    metrics::gauge!(names::TENANTS_BEHIND).set(behind as f64);
    let (alive, gone): (i64, i64) = sqlx::query_as(&format!(
        "SELECT CAST(COALESCE(SUM(seen_at >= UTC_TIMESTAMP(6) - INTERVAL {GONE_SECONDS} SECOND), 0) AS SIGNED),
                CAST(COALESCE(SUM(seen_at < UTC_TIMESTAMP(6) - INTERVAL {GONE_SECONDS} SECOND), 0) AS SIGNED)
         FROM saas_nodes WHERE seen_at > UTC_TIMESTAMP(6) - INTERVAL {FORGOTTEN_MINUTES} MINUTE"
    ))
    .fetch_one(store.pool())
    .await?;
    metrics::gauge!(names::DATA_NODES, "status" => "alive").set(alive as f64);
    metrics::gauge!(names::DATA_NODES, "status" => "gone").set(gone as f64);
    Ok(())
}
