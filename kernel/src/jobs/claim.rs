//! Claiming a job, and asking which lanes have one that is due.
//!
//! **Bound.** A claim reads one range of the index `idx_claim`, from its beginning to the first job that it may take.
//! How many jobs wait behind that one, or have ended, makes no difference. It passes over jobs of tenants that another
//! worker works for at the moment, and over those that only a newer program knows.

use super::kind::known_kinds;
use super::{Lane, Lease};
use crate::database::migrate;
use sqlx::{MySqlConnection, MySqlPool};
use std::time::{Duration, Instant};
use uuid::Uuid;

type Row = (String, String, String, u32, u32, bool, Option<String>, bool, Option<String>);

/// The columns of a [`Row`], with a condition after them.
macro_rules! select_job {
    ($index:literal, $condition:literal) => {
        concat!(
            "SELECT operation_id, tenant_id, kind, epoch, attempts, undoing <> 0, error,
                    attempts > 0 AND give_up_at <= UTC_TIMESTAMP(6), traceparent
             FROM saas_operations o ",
            $index,
            " WHERE ",
            $condition,
            " AND due_at <= UTC_TIMESTAMP(6) AND FIND_IN_SET(kind, ?) AND COALESCE(schema_version, 0) <= ?
              AND (SELECT COUNT(*) FROM saas_operations busy FORCE INDEX (idx_busy)
                   WHERE busy.busy_tenant = o.tenant_id AND busy.lease_until > UTC_TIMESTAMP(6)) = 0
              ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED"
        )
    };
}

/// The statement that chooses the job of [`claim`].
pub const CLAIM: &str = select_job!("FORCE INDEX (idx_claim)", "server_id = ? AND lane = ?");

/// Takes the job of `server` that has been due for longest in `lane`, if there is one. Jobs whose owner's lease has run
/// out are due again. A tenant's jobs are done one at a time, because each needs the tenant's lock at the database
/// server; those of no tenant do not wait for each other. Jobs of a kind, or for a tenant schema, that this program
/// does not know are left to the newer ones that asked for them. A worker without a backup store leaves the jobs that
/// need one to the others: an older control plane enqueues them in the ordinary lane.
pub async fn claim(
    pool: &MySqlPool,
    server: &str,
    lane: Lane,
    claimant: Claimant<'_>,
) -> Result<Option<Lease>, sqlx::Error> {
    take(pool, CLAIM, &[server, lane.as_str()], claimant).await
}

/// Who claims a job.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// The name of the worker.
    pub owner: &'a str,
    /// How long the lease lasts.
    pub duration: Duration,
    /// Whether the worker can do what needs the backup store.
    pub has_backup_store: bool,
}

/// Takes one job, if it is due: for a command that asked for it and waits for its end.
pub async fn claim_one(
    pool: &MySqlPool,
    server: &str,
    operation_id: Uuid,
    claimant: Claimant<'_>,
) -> Result<Option<Lease>, sqlx::Error> {
    let chosen = select_job!("", "operation_id = ? AND server_id = ?");
    take(pool, chosen, &[&operation_id.to_string(), server], claimant).await
}

/// A claim that met another one for the same tenant chooses again so often.
const CHOICES: u32 = 3;

/// What became of a choice.
enum Chosen {
    Taken(Lease),
    Nothing,
    /// Another worker has taken a job of the same tenant in the same moment.
    TenantBusy,
}

async fn take(
    pool: &MySqlPool,
    choice: &str,
    which: &[&str],
    claimant: Claimant<'_>,
) -> Result<Option<Lease>, sqlx::Error> {
    for _ in 0..CHOICES {
        match choose(pool, choice, which, claimant).await? {
            Chosen::Taken(lease) => return Ok(Some(lease)),
            Chosen::Nothing => return Ok(None),
            Chosen::TenantBusy => {}
        }
    }
    Ok(None)
}

async fn choose(pool: &MySqlPool, choice: &str, which: &[&str], claimant: Claimant<'_>) -> Result<Chosen, sqlx::Error> {
    let Claimant { owner, duration, has_backup_store } = claimant;
    let claimed_at = Instant::now();
    let mut tx = pool.begin().await?;
    let choosing = which.iter().fold(sqlx::query_as(choice), |query, value| query.bind(*value));
    let kinds = known_kinds(has_backup_store);
    let row: Option<Row> = choosing.bind(kinds).bind(migrate::tenant_schema()).fetch_optional(&mut *tx).await?;
    let Some((operation_id, tenant_id, kind, epoch, attempts, undoing, error, last_attempt, traceparent)) = row else {
        return Ok(Chosen::Nothing);
    };
    if !tenant_id.is_empty() && another_is_running(&mut tx, &tenant_id).await? {
        return Ok(Chosen::TenantBusy);
    }
    let broken = |what: &str| sqlx::Error::Decode(format!("job {operation_id} has an unreadable {what}").into());
    let lease = Lease {
        operation_id: operation_id.parse().map_err(|_| broken("id"))?,
        tenant_id: match tenant_id.as_str() {
            "" => None,
            id => Some(id.parse().map_err(|_| broken("tenant"))?),
        },
        kind: kind.parse().map_err(|()| broken("kind"))?,
        epoch: epoch + 1,
        attempts: attempts + 1,
        undoing,
        error,
        last_attempt,
        traceparent,
        claimed_at,
        duration,
    };
    sqlx::query(
        "UPDATE saas_operations SET status = 'running', owner = ?, epoch = ?,
                give_up_at = IF(attempts = 0,
                    UTC_TIMESTAMP(6) + INTERVAL TIMESTAMPDIFF(SECOND, created_at, give_up_at) SECOND, give_up_at),
                attempts = ?, lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND WHERE operation_id = ?",
    )
    .bind(owner)
    .bind(lease.epoch)
    .bind(lease.attempts)
    .bind(duration.as_micros() as u64)
    .bind(&operation_id)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Chosen::Taken(lease))
}

/// Asked again under the tenant's row, which lets one claim for the tenant through at a time: two that chose different
/// jobs of it in the same moment did not see each other.
async fn another_is_running(connection: &mut MySqlConnection, tenant_id: &str) -> Result<bool, sqlx::Error> {
    sqlx::query("SELECT version FROM saas_tenant_snapshots WHERE tenant_id = ? FOR UPDATE")
        .bind(tenant_id)
        .execute(&mut *connection)
        .await?;
    let (running,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM saas_operations WHERE busy_tenant = ? AND lease_until > UTC_TIMESTAMP(6)")
            .bind(tenant_id)
            .fetch_one(connection)
            .await?;
    Ok(running > 0)
}

/// What waits in one lane of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whether a job is due now. It may be one that only a newer program knows, or whose tenant is being worked for.
    pub now: bool,
    /// How long until the next job is due.
    pub next: Option<Duration>,
}

/// What waits in each of these lanes of servers, in their order, by one statement.
pub async fn due(pool: &MySqlPool, lanes: &[(String, Lane)]) -> Result<Vec<Due>, sqlx::Error> {
    let of_lane = |(place, _): (usize, _)| {
        format!(
            "SELECT {place} AS place,
               EXISTS (SELECT 1 FROM saas_operations FORCE INDEX (idx_claim)
                       WHERE server_id = ? AND lane = ? AND due_at <= UTC_TIMESTAMP(6)) AS due_now,
               TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6),
                 (SELECT due_at FROM saas_operations FORCE INDEX (idx_claim)
                  WHERE server_id = ? AND lane = ? AND due_at > UTC_TIMESTAMP(6) ORDER BY due_at LIMIT 1)) AS due_next"
        )
    };
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let parts: Vec<String> = lanes.iter().enumerate().map(of_lane).collect();
    let query = format!("{} ORDER BY place", parts.join(" UNION ALL "));
    let mut asking = sqlx::query_as(&query);
    for (server, lane) in lanes {
        asking = asking.bind(server).bind(lane.as_str()).bind(server).bind(lane.as_str());
    }
    let rows: Vec<(i64, bool, Option<i64>)> = asking.fetch_all(pool).await?;
    let due = |(_, now, next): (i64, bool, Option<i64>)| Due {
        now,
        next: next.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs())),
    };
    Ok(rows.into_iter().map(due).collect())
}
