//! A claim costs the same, whatever waits and whatever is over.

use crate::world;
use anyhow::{Context, Result, ensure};
use harness::stack::{Stack, StackOptions};
use kernel::jobs::{self, CLAIM, Claimant, Lane};
use kernel::store::Store;
use secrecy::SecretString;
use sqlx::{Executor, MySqlConnection, MySqlPool, Row};
use std::time::{Duration, Instant};

/// The workers that claim at once, and how many jobs each takes.
const WORKERS: usize = 8;
const EACH: usize = 25;
const LEASE: Duration = Duration::from_secs(60);

fn claimant(owner: &str) -> Claimant<'_> {
    Claimant { owner, duration: LEASE, has_backup_store: true }
}

/// Inserts so many jobs, each of a tenant of its own.
async fn plant(system: &mut MySqlConnection, prefix: &str, count: u32, ended: bool) -> Result<()> {
    let digits = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
                   UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let (status, finished) = if ended { ("succeeded", "UTC_TIMESTAMP(6)") } else { ("pending", "NULL") };
    let insert = format!(
        "INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, status, lane, next_attempt_at,
                                      give_up_at, created_at, finished_at)
         SELECT UUID(), CONCAT('{prefix}-', n), 'main', 'enforce', '{status}', 'access',
                UTC_TIMESTAMP(6) - INTERVAL 1 HOUR + INTERVAL n MOD 10 SECOND, UTC_TIMESTAMP(6) + INTERVAL 1 HOUR,
                UTC_TIMESTAMP(6) - INTERVAL 1 HOUR, {finished}
         FROM (SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d + 100000 * g.d AS n
               FROM {digits} a JOIN {digits} b JOIN {digits} c JOIN {digits} e JOIN {digits} f
               JOIN (SELECT 0 d UNION ALL SELECT 1) g) numbers WHERE n < {count}"
    );
    Ok(system.execute(insert.as_str()).await.map(drop)?)
}

/// The middle time of a claim, while eight workers claim at once.
async fn time_of_claims(pool: &MySqlPool) -> Result<Duration> {
    let workers = (0..WORKERS).map(|worker| async move {
        let store = Store::new(pool.clone());
        let mut times = Vec::new();
        for _ in 0..EACH {
            let began = Instant::now();
            let owner = format!("worker {worker}");
            let lease = jobs::claim(pool, "main", Lane::Access, claimant(&owner)).await?.context("a due job")?;
            times.push(began.elapsed());
            let mut unit = lease.begin(&store).await?;
            unit.finish(&[], None).await?;
            unit.commit().await?;
        }
        Ok::<_, anyhow::Error>(times)
    });
    let mut times: Vec<Duration> = futures::future::try_join_all(workers).await?.into_iter().flatten().collect();
    times.sort();
    Ok(times[times.len() / 2])
}

/// The rows that the choice of a job reads, by the session's own counters.
async fn rows_read(connection: &mut MySqlConnection) -> Result<i64> {
    let reads = async |connection: &mut MySqlConnection| -> Result<i64> {
        // Not those of SHOW itself, which reads a list in memory.
        let counters = "SHOW SESSION STATUS WHERE Variable_name IN
            ('Handler_read_first', 'Handler_read_key', 'Handler_read_next', 'Handler_read_prev')";
        let rows = connection.fetch_all(counters).await?;
        rows.iter().map(|row| Ok(kernel::database::text(row, 1)?.parse::<i64>()?)).sum()
    };
    let before = reads(connection).await?;
    let chosen = sqlx::query(CLAIM)
        .bind("main")
        .bind(Lane::Access.as_str())
        .bind("enforce")
        .bind(1_u32)
        .fetch_all(&mut *connection)
        .await?;
    ensure!(chosen.len() == 1, "{} jobs were chosen", chosen.len());
    Ok(reads(connection).await? - before)
}

/// Every session of a pool has the server's own limit on statements, and a session of its own can be given another.
async fn the_server_ends_statements(session: &mut MySqlConnection) -> Result<()> {
    let limits = "SHOW SESSION VARIABLES WHERE Variable_name IN ('max_statement_time', 'max_execution_time')";
    let rows = session.fetch_all(limits).await?;
    let limits = rows.iter().map(|row| Ok(kernel::database::text(row, 1)?.parse::<f64>()?));
    ensure!(limits.collect::<Result<Vec<f64>>>()?.iter().any(|limit| *limit > 0.0), "a pool has no limit");
    kernel::database::limit_statements(session, Duration::from_millis(100)).await?;
    let tables = (0..9).map(|number| format!("saas_schema_migrations t{number}")).collect::<Vec<_>>().join(", ");
    let endless = session.execute(format!("SELECT MAX(CONCAT(t0.version, t8.version)) FROM {tables}").as_str()).await;
    let ended = endless.err().context("the server let a statement go on")?;
    ensure!(kernel::database::is_contention(&ended), "{ended}");
    Ok(kernel::database::limit_statements(session, Duration::from_secs(30)).await?)
}

#[tokio::test]
async fn a_claim_costs_the_same_whatever_waits_or_is_over() -> Result<()> {
    let mut options = StackOptions::for_test("claims")?;
    (options.control_planes, options.provisioners, options.data_planes) = (0, 0, 0);
    let stack = Stack::start_servers(options).await?;
    let mut system = world::system(&stack).await?;
    let pool = kernel::database::pool(&SecretString::from(stack.urls.system.migrator.clone()), WORKERS as u32 + 2)?;
    let mut session = pool.acquire().await?;
    the_server_ends_statements(&mut session).await?;
    plant(&mut system, "few", 1_000, false).await?;
    time_of_claims(&pool).await?;
    let few = (time_of_claims(&pool).await?, rows_read(&mut session).await?);
    plant(&mut system, "over", 200_000, true).await?;
    plant(&mut system, "waiting", 10_000, false).await?;
    system.execute("ANALYZE TABLE saas_operations").await?;
    time_of_claims(&pool).await?;
    let many = (time_of_claims(&pool).await?, rows_read(&mut session).await?);
    eprintln!(
        "a claim: {:?}, {} rows read; with 200,000 ended and 10,000 due jobs: {:?}, {} rows",
        few.0, few.1, many.0, many.1
    );
    ensure!(many.1 <= few.1 + 10 && many.1 < 30, "{} rows are read for one claim", many.1);
    // The rows prove the bound. The time is a coarse second look, because other tests share the processors: a claim that
    // reads what waits takes a hundred times as long.
    ensure!(many.0 < 4 * few.0, "{:?} instead of {:?}", many.0, few.0);

    let plan = sqlx::query(&format!("EXPLAIN {CLAIM}"))
        .bind("main")
        .bind(Lane::Access.as_str())
        .bind("enforce")
        .bind(1_u32)
        .fetch_all(&mut *session)
        .await?;
    let of_row = |row: &sqlx::mysql::MySqlRow| -> Result<(String, String, String)> {
        let text = |name: &str| row.try_get_unchecked::<Option<String>, _>(name).map(Option::unwrap_or_default);
        Ok((text("type")?, text("key")?, text("Extra")?))
    };
    let plan = plan.iter().map(of_row).collect::<Result<Vec<_>>>()?;
    ensure!(plan.len() == 2 && plan[0].0 == "range" && plan[0].1 == "idx_claim", "{plan:?}");
    ensure!(plan[1].1 == "idx_busy" && plan.iter().all(|(_, _, extra)| !extra.contains("filesort")), "{plan:?}");

    // Jobs of a tenant that is being worked for are passed over, and the others are taken.
    system.execute("UPDATE saas_operations SET status = 'succeeded' WHERE status IN ('pending', 'running')").await?;
    for (tenant, age) in [("busy", 9), ("busy", 8), ("busy", 7), ("idle", 1)] {
        let insert = format!(
            "INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, lane, status, next_attempt_at,
                                          give_up_at, created_at)
             VALUES (UUID(), '{tenant}', 'main', 'enforce', 'access', 'pending',
                     UTC_TIMESTAMP(6) - INTERVAL {age} SECOND,
                     UTC_TIMESTAMP(6) + INTERVAL 1 HOUR, UTC_TIMESTAMP(6))"
        );
        system.execute(insert.as_str()).await?;
    }
    let mut tenants = Vec::new();
    while let Some(lease) = jobs::claim(&pool, "main", Lane::Access, claimant("worker")).await? {
        tenants.push(lease.tenant_id.map(|id| id.to_string()).unwrap_or_default());
    }
    assert_eq!(tenants, ["busy", "idle"]);
    let lanes: Vec<_> = Lane::ALL.iter().map(|lane| ("main".to_owned(), *lane)).collect();
    let due = jobs::due(&pool, &lanes).await?;
    let waits = |due: &jobs::Due| due.now || due.next.is_some();
    ensure!(due[0].now && due[0].next.is_some() && !due[1..].iter().any(waits), "{due:?}");
    Ok(())
}
