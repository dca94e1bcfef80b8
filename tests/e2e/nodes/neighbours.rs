//! What one tenant or a stranger can do to the other tenants: a tenant whose database hangs, unknown hosts, and a
//! database server that is killed under two hundred busy tenants.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::wire::{self, Wire};
use harness::load::{Answered, Load, Question};
use harness::servers::Server;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use sqlx::{Executor, MySqlConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Concurrent requests to the hanging tenant.
const HANGING: usize = 200;
/// The hanging tenant's share of the node's connections.
const SHARE: i64 = 10;
const OTHERS: usize = 5;
/// Answers to each of the other tenants while one hangs.
const ANSWERS: u64 = 60;
/// The most statements of a node at the system database in a second, whatever strangers request.
const LOOK_UPS_PER_SECOND: f64 = 10.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_tenant_fails_no_other_tenant() -> Result<()> {
    let stack = world::start("hanging").await?;
    let token = world::fleet(&stack, &["slow", "n-0", "n-1", "n-2", "n-3", "n-4"]).await?;
    let url = stack.data_planes[0].url();
    let mut root = world::root(&stack).await?;
    root.execute("LOCK TABLES `ai_shifu_tenant_slow`.order_orders WRITE").await?;
    let request = wire::get("/api/orders", &world::host("slow"), &token);
    let mut hanging = Load::with_pause(Duration::from_millis(50));
    for _ in 0..HANGING {
        let request = request.clone();
        hanging.wire(url, move |_| {
            Question::new(request.clone(), |answer| {
                ensure!(matches!(answer.status, 429 | 503), "the hanging tenant answered {}", answer.body);
                Ok(Answered::Refused)
            })
        });
    }
    let mut watcher = world::root(&stack).await?;
    let waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST
                   WHERE DB = 'ai_shifu_tenant_slow' AND STATE LIKE 'Waiting for table%'";
    wait::until(SOON, "requests to hang in the database", async || {
        world::number(&mut watcher, waiting).await.ok().filter(|waiting| *waiting > 3)
    })
    .await?;
    // The answers are spread over several rounds of the hanging requests: a statement is given up after 5 s.
    let mut others = Load::with_pause(Duration::from_millis(100));
    for n in 0..OTHERS {
        let id = format!("n-{n}");
        let request = wire::get("/api/orders", &world::host(&id), &token);
        others.wire_for(ANSWERS, url, move |_| served_its_own(&id, request.clone()));
    }
    assert_eq!(others.done().await?.served, OTHERS as u64 * ANSWERS);
    let of_slow = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER LIKE 'ten\\_%'
                   AND DB = 'ai_shifu_tenant_slow'";
    let open = world::number(&mut watcher, of_slow).await?;
    ensure!((1..=SHARE).contains(&open), "the hanging tenant has {open} connections");
    // Until here every request of the hanging tenant was refused, and all its clients still ask.
    hanging.check()?;
    root.execute("UNLOCK TABLES").await?;
    let progress = hanging.progress();
    // A request that was in the database at the end of the lock is served, which is right.
    if let Err(served) = hanging.end().await {
        ensure!(format!("{served:#}").contains("answered"), "{served:#}");
    }
    ensure!(progress.refused() > HANGING as u64, "too few requests hung");
    let api = stack.tenant_api(0);
    world::served(&api, &world::host("slow"), &token).await?;
    invariants::check(&stack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_hosts_do_not_reach_the_system_database() -> Result<()> {
    unknown_hosts("unknown-hosts", 10_000).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: fifty thousand hosts at two thousand a second"]
async fn fifty_thousand_unknown_hosts_cost_no_look_ups() -> Result<()> {
    unknown_hosts("unknown-hosts-long", 50_000).await
}

/// Requests unknown hosts, a hundred times a second.
async fn stranger(mut wire: Wire, client: usize, hosts: usize, token: String) -> Result<()> {
    let mut clock = tokio::time::interval(Duration::from_millis(10));
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for n in 0..hosts {
        clock.tick().await;
        let host = format!("h{n}-{client}.unknown-{n}-{client}.example");
        // The callers are a member of other tenants, one without a token, and one who names a tenant that does not
        // exist.
        let (request, expected) = match n % 3 {
            0 => (wire::get("/api/orders", &host, &token), 403),
            1 => (format!("GET /api/orders HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(), 401),
            _ => (wire::get("/api/orders", &format!("{host}\r\nX-Tenant-ID: h{n}"), &token), 404),
        };
        let answer = wire.send(&request).await?;
        ensure!(answer.status == expected, "{host}: {}", answer.body);
    }
    Ok(())
}

/// A request to a tenant of the fleet, which must be answered with its own order.
fn served_its_own(id: &str, request: Vec<u8>) -> Question {
    let id = id.to_owned();
    Question::new(request, move |answer| {
        ensure!(answer.status == 200 && answer.body.contains(&format!("\"{id}\"")), "{id}: {}", answer.body);
        Ok(Answered::Served)
    })
}

async fn unknown_hosts(name: &str, hosts: usize) -> Result<()> {
    const CLIENTS: usize = 20;
    let stack = world::start(name).await?;
    let token = world::fleet(&stack, &["acme"]).await?;
    let url = stack.data_planes[0].url();
    let mut root = world::root(&stack).await?;
    root.execute("TRUNCATE mysql.general_log; SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON").await?;
    let begun = Instant::now();
    let mut known = Load::with_pause(Duration::from_millis(10));
    let request = wire::get("/api/orders", &world::host("acme"), &token);
    known.wire(url, move |_| served_its_own("acme", request.clone()));
    let mut strangers = JoinSet::new();
    for client in 0..CLIENTS {
        strangers.spawn(stranger(Wire::new(url), client, hosts / CLIENTS, token.clone()));
    }
    while let Some(stranger) = strangers.join_next().await {
        stranger??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let served = known.end().await?.served;
    root.execute("SET GLOBAL general_log = OFF").await?;
    let asked = "SELECT COUNT(*) FROM mysql.general_log
                 WHERE user_host LIKE 'node[%' AND command_type IN ('Query', 'Execute')";
    let asked = world::number(&mut root, asked).await?;
    let rate = asked as f64 / seconds;
    eprintln!(
        "{hosts} unknown hosts in {seconds:.1} s: {rate:.1} statements a second at the system database; \
         the known tenant was served {served} times"
    );
    ensure!(asked > 0, "the log shows nothing of the node, not even that it follows the events");
    ensure!(rate <= LOOK_UPS_PER_SECOND, "{rate:.1} statements a second reached the system database");
    ensure!(served > 10, "the known tenant was served too rarely");
    invariants::check(&stack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: two hundred tenants on three nodes"]
async fn a_restarted_database_server_is_not_overrun() -> Result<()> {
    const TENANTS: usize = 200;
    const NODES: usize = 3;
    const CLIENTS: usize = 16;
    let mut options = StackOptions::for_test("restart-hot")?;
    options.data_planes = NODES;
    let mut stack = Stack::start(options).await?;
    let ids: Vec<String> = (0..TENANTS).map(|n| format!("t{n:03}")).collect();
    let token = world::fleet(&stack, &ids).await?;
    // When each node last served each tenant, in milliseconds since the beginning of the run.
    let served: Arc<Vec<AtomicU64>> = Arc::new((0..NODES * TENANTS).map(|_| AtomicU64::new(0)).collect());
    let begun = Instant::now();
    let mut load = Load::new();
    for client in 0..NODES * CLIENTS {
        let node = client % NODES;
        let (token, served) = (token.clone(), Arc::clone(&served));
        load.wire(stack.data_planes[node].url(), move |turn| {
            let n = (client * 7 + 1 + turn as usize) % TENANTS;
            let (id, served) = (format!("t{n:03}"), Arc::clone(&served));
            Question::new(wire::get("/api/orders", &world::host(&id), &token), move |answer| {
                ensure!(matches!(answer.status, 200 | 503), "{id}: {} {}", answer.status, answer.body);
                if answer.status == 503 {
                    return Ok(Answered::Refused);
                }
                ensure!(answer.body.contains(&format!("\"{id}\"")), "{id} got {}", answer.body);
                served[node * TENANTS + n].store(u64::try_from(begun.elapsed().as_millis())?, Ordering::SeqCst);
                Ok(Answered::Served)
            })
        });
    }
    let all_since = async |since: u64, limit: Duration| {
        wait::until(limit, "every node to serve every tenant", async || {
            served.iter().all(|last| last.load(Ordering::SeqCst) > since).then_some(())
        })
        .await
    };
    all_since(0, SOON * 2).await?;
    let mut connections = 0;
    for round in 1..=3 {
        load.check()?;
        let server = stack.mariadb.as_mut().context("an own server")?;
        server.kill9()?;
        // Every client meets the outage in this time.
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.restart().await?;
        let back = Instant::now();
        all_since(u64::try_from(begun.elapsed().as_millis())?, SOON).await?;
        let mut root = world::root(&stack).await?;
        connections = status(&mut root, "Max_used_connections").await?;
        let refused = status(&mut root, "Connection_errors_max_connections").await?;
        eprintln!(
            "round {round}: every node served every tenant {:.1} s after the server was back; {} connections at most, \
             {refused} refused for want of room",
            back.elapsed().as_secs_f64(),
            connections,
        );
        ensure!(refused == 0, "round {round}: too many connections, {refused} times");
    }
    ensure!(connections > 50, "there was no load");
    load.end().await?;
    world::idle(&stack).await?;
    invariants::check(&stack).await
}

async fn status(root: &mut MySqlConnection, name: &str) -> Result<u64> {
    let show = format!("SHOW GLOBAL STATUS LIKE '{name}'");
    let (_, value): (String, String) = sqlx::query_as(&show).fetch_one(root).await?;
    Ok(value.parse()?)
}
