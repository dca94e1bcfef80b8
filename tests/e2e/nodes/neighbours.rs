//! What one tenant, or a stranger, does to the others: a tenant whose database hangs, hosts that nobody has, and a
//! database server that is killed under two hundred busy tenants.

use crate::invariants;
use crate::wire::{self, Wire};
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use sqlx::{Executor, MySqlConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Requests to the hanging tenant at once.
const HANGING: usize = 200;
/// Its share of the node's connections.
const SHARE: i64 = 10;
const OTHERS: usize = 5;
/// Answers of each of the others, while one hangs.
const ANSWERS: usize = 60;
/// Statements of a node at the system database, whatever strangers ask.
const LOOK_UPS_PER_SECOND: f64 = 10.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_tenant_fails_nobody_else() -> Result<()> {
    let stack = world::start("hanging").await?;
    let token = tenants(&stack, &["slow", "n-0", "n-1", "n-2", "n-3", "n-4"]).await?;
    let url = stack.data_planes[0].url();
    let mut root = world::root(&stack).await?;
    root.execute("LOCK TABLES `ai_shifu_tenant_slow`.order_orders WRITE").await?;
    let (over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let hanging: Vec<_> = (0..HANGING)
        .map(|_| {
            let (mut wire, over, refused) = (Wire::new(url), Arc::clone(&over), Arc::clone(&refused));
            let request = wire::get("/api/orders", "slow.x.example", &token);
            tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    let answer = wire.send(&request).await?;
                    ensure!(matches!(answer.status, 429 | 503), "the hanging tenant answered {}", answer.body);
                    refused.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(())
            })
        })
        .collect();
    let mut look = world::root(&stack).await?;
    let waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST
                   WHERE DB = 'ai_shifu_tenant_slow' AND STATE LIKE 'Waiting for table%'";
    wait::until(SOON, "requests to hang in the database", async || {
        world::number(&mut look, waiting).await.ok().filter(|waiting| *waiting > 3)
    })
    .await?;
    let others: Vec<_> = (0..OTHERS)
        .map(|n| {
            let (mut wire, id) = (Wire::new(url), format!("n-{n}"));
            let request = wire::get("/api/orders", &format!("{id}.x.example"), &token);
            tokio::spawn(async move {
                for _ in 0..ANSWERS {
                    let answer = wire.send(&request).await?;
                    ensure!(
                        answer.status == 200 && answer.body.contains(&format!("\"{id}\"")),
                        "{id}: {}",
                        answer.body
                    );
                    // Spread over several rounds of the hanging ones: a statement is given up after 5 s.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Ok(())
            })
        })
        .collect();
    for other in others {
        other.await??;
    }
    let of_slow = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER LIKE 'ten\\_%'
                   AND DB = 'ai_shifu_tenant_slow'";
    let open = world::number(&mut look, of_slow).await?;
    ensure!((1..=SHARE).contains(&open), "the hanging tenant has {open} connections");
    root.execute("UNLOCK TABLES").await?;
    over.store(true, Ordering::SeqCst);
    for client in hanging {
        // One that was in the database when the lock ended is served, as it should be.
        let _ = client.await?;
    }
    ensure!(refused.load(Ordering::SeqCst) > HANGING as u64, "hardly anything hung");
    let api = stack.tenant_api(0);
    wait::until(SOON, "the tenant to be served again", async || {
        api.get("slow.x.example", &token, "/api/orders").await.ok().filter(|reply| reply.status == 200)
    })
    .await?;
    invariants::check(&stack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_hosts_do_not_reach_the_system_database() -> Result<()> {
    unknown_hosts("unknown-hosts", 10_000).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: fifty thousand hosts at two thousand a second"]
async fn fifty_thousand_unknown_hosts() -> Result<()> {
    unknown_hosts("unknown-hosts-long", 50_000).await
}

async fn unknown_hosts(name: &str, hosts: usize) -> Result<()> {
    const CLIENTS: usize = 20;
    let stack = world::start(name).await?;
    let token = tenants(&stack, &["acme"]).await?;
    let url = stack.data_planes[0].url();
    let mut root = world::root(&stack).await?;
    root.execute("TRUNCATE mysql.general_log; SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON").await?;
    let (begun, over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let known = {
        let (mut wire, over) = (Wire::new(url), Arc::clone(&over));
        let request = wire::get("/api/orders", "acme.x.example", &token);
        tokio::spawn(async move {
            let mut served = 0;
            while !over.load(Ordering::SeqCst) {
                let answer = wire.send(&request).await?;
                ensure!(answer.status == 200, "the known tenant: {}", answer.body);
                served += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(served)
        })
    };
    let strangers: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (mut wire, token) = (Wire::new(url), token.clone());
            tokio::spawn(async move {
                // Each asks a hundred times a second.
                let mut clock = tokio::time::interval(Duration::from_millis(10));
                clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
                for n in 0..hosts / CLIENTS {
                    clock.tick().await;
                    let host = format!("h{n}-{client}.unknown-{n}-{client}.example");
                    // A member of other tenants, nobody, and somebody who names a tenant that there is not.
                    let (request, expected) = match n % 3 {
                        0 => (wire::get("/api/orders", &host, &token), 403),
                        1 => (format!("GET /api/orders HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(), 401),
                        _ => (wire::get("/api/orders", &format!("{host}\r\nX-Tenant-ID: h{n}"), &token), 404),
                    };
                    let answer = wire.send(&request).await?;
                    ensure!(answer.status == expected, "{host}: {}", answer.body);
                }
                Ok(())
            })
        })
        .collect();
    for stranger in strangers {
        stranger.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    over.store(true, Ordering::SeqCst);
    let served = known.await??;
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
    ensure!(served > 10, "the known tenant was hardly served");
    invariants::check(&stack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: two hundred tenants on three nodes"]
async fn a_killed_database_server_is_not_stormed() -> Result<()> {
    const TENANTS: usize = 200;
    const NODES: usize = 3;
    const CLIENTS: usize = 16;
    let mut options = StackOptions::for_test("restart-hot")?;
    options.data_planes = NODES;
    let mut stack = Stack::start(options).await?;
    let ids: Vec<String> = (0..TENANTS).map(|n| format!("t{n:03}")).collect();
    let token = tenants(&stack, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    // Milliseconds of the run at which each tenant was last served by each node.
    let served: Arc<Vec<AtomicU64>> = Arc::new((0..NODES * TENANTS).map(|_| AtomicU64::new(0)).collect());
    let (begun, over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..NODES * CLIENTS)
        .map(|client| {
            let node = client % NODES;
            let (mut wire, token) = (Wire::new(stack.data_planes[node].url()), token.clone());
            let (served, over) = (Arc::clone(&served), Arc::clone(&over));
            tokio::spawn(async move {
                let mut n = client * 7;
                while !over.load(Ordering::SeqCst) {
                    n = (n + 1) % TENANTS;
                    let id = format!("t{n:03}");
                    let answer = wire.send(&wire::get("/api/orders", &format!("{id}.x.example"), &token)).await?;
                    ensure!(matches!(answer.status, 200 | 503), "{id}: {} {}", answer.status, answer.body);
                    if answer.status == 200 {
                        ensure!(answer.body.contains(&format!("\"{id}\"")), "{id} got {}", answer.body);
                        let now = u64::try_from(begun.elapsed().as_millis())?;
                        served[node * TENANTS + n].store(now, Ordering::SeqCst);
                    }
                }
                Ok(())
            })
        })
        .collect();
    let all_since = async |since: u64, limit: Duration| {
        wait::until(limit, "every node to serve every tenant", async || {
            served.iter().all(|last| last.load(Ordering::SeqCst) > since).then_some(())
        })
        .await
    };
    all_since(0, SOON * 2).await?;
    let mut connections = 0;
    for round in 1..=3 {
        let server = stack.mariadb.as_mut().context("an own server")?;
        server.kill9()?;
        // Long enough for every client to meet it.
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
    over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await??;
    }
    world::idle(&stack).await?;
    invariants::check(&stack).await
}

async fn status(root: &mut MySqlConnection, name: &str) -> Result<u64> {
    let show = format!("SHOW GLOBAL STATUS LIKE '{name}'");
    let (_, value): (String, String) = sqlx::query_as(&show).fetch_one(root).await?;
    Ok(value.parse()?)
}

/// Active tenants with one user, their admin, and one row each that names them; known to every node. The user's token.
async fn tenants(stack: &Stack, ids: &[&str]) -> Result<String> {
    let admin = stack.admin();
    let (user, token) = world::user(&admin, "ann", &[]).await?;
    let mut operations = Vec::new();
    for id in ids {
        operations.push(admin.create_tenant(id, id, None).await?.operation_id);
    }
    for operation in &operations {
        admin.wait_for_operation(operation, SOON * 5).await?;
    }
    for id in ids {
        admin.put_member(id, &user, "admin").await?;
        world::plant_order(stack, id, &user, id).await?;
    }
    for node in 0..stack.data_planes.len() {
        let (api, host) = (stack.tenant_api(node), format!("{}.x.example", ids[ids.len() - 1]));
        wait::until(SOON, "the nodes to know the last tenant", async || {
            api.get(&host, &token, "/api/orders").await.ok().filter(|reply| reply.status == 200)
        })
        .await?;
    }
    Ok(token)
}
