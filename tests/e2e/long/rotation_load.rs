//! Rotation of twenty tenants under constant load, and with nodes and workers that fail in the middle of it. Long.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::admin::{Admin, TenantApi};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::mysql::MySqlConnectOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const TENANTS: usize = 20;
const CLIENTS: usize = 8;
const REQUESTS: u64 = 100_000;
/// A node that is gone is waited for 10 s, for each of the rotations that ran when it went.
const ENDS: Duration = Duration::from_secs(120);

/// Tenants with one order each, and clients that ask some of the nodes for it without a pause.
struct Load {
    stack: Stack,
    running: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Result<()>>>,
    begun: Instant,
}

fn id(number: usize) -> String {
    format!("t-{number:02}")
}

impl Load {
    /// `nodes` are asked; others run beside them.
    async fn begin(options: StackOptions, nodes: usize) -> Result<Self> {
        let stack = Stack::start(options).await?;
        let admin = stack.admin();
        let (user, token) = world::user(&admin, "ann", &[]).await?;
        for number in 0..TENANTS {
            let id = id(number);
            admin.create_active_tenant(&id, None, SOON).await?;
            admin.put_member(&id, &user, "admin").await?;
            world::plant_order(&stack, &id, &user, &id).await?;
        }
        let apis: Vec<TenantApi> = (0..stack.data_planes.len()).map(|node| stack.tenant_api(node)).collect();
        for api in &apis {
            serves_all(api, &token).await?;
        }
        let (running, answered) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let clients = (0..CLIENTS)
            .map(|client| {
                let (api, token) = (apis[client % nodes].clone(), token.clone());
                let (on, answered) = (Arc::clone(&running), Arc::clone(&answered));
                tokio::spawn(async move {
                    let mut number = client;
                    while on.load(Ordering::SeqCst) {
                        let id = id(number % TENANTS);
                        let reply = api.get(&format!("{id}.saas.example"), &token, "/api/orders").await?;
                        ensure!(
                            reply.status == 200 && world::order_bids(&reply) == [id.as_str()],
                            "{id}: {}",
                            reply.text
                        );
                        answered.fetch_add(1, Ordering::SeqCst);
                        number += 1;
                    }
                    Ok(())
                })
            })
            .collect();
        Ok(Self { stack, running, answered, clients, begun: Instant::now() })
    }

    async fn rotate_all(&self) -> Result<Vec<Rotation>> {
        let admin = self.stack.admin();
        let mut rotations = Vec::new();
        for number in 0..TENANTS {
            let id = id(number);
            let former = world::login(&self.stack, &id).await?;
            rotations.push(Rotation { operation: rotate(&admin, &id).await?, tenant: id, former });
        }
        Ok(rotations)
    }

    /// Each has ended, with nothing left of the former credential.
    async fn check(&self, rotations: &[Rotation]) -> Result<()> {
        let mut root = world::root(&self.stack).await?;
        for Rotation { operation, tenant, former } in rotations {
            self.stack.admin().wait_for_operation(operation, ENDS).await?;
            let now = world::login(&self.stack, tenant).await?;
            ensure!(now.get_username() != former.get_username(), "{tenant} has its former user");
            // Before the login that is refused: it shows in the list for a moment.
            let left = world::sessions_of(&mut root, former.get_username()).await?;
            ensure!(left == 0, "the former user of {tenant} has {left} sessions");
            ensure!(former.connect().await.is_err(), "the former credential of {tenant} logs in");
        }
        Ok(())
    }

    /// Ends the load: not one request has failed.
    async fn end(self, what: &str) -> Result<Stack> {
        self.running.store(false, Ordering::SeqCst);
        for client in self.clients {
            client.await??;
        }
        let (answered, seconds) = (self.answered.load(Ordering::SeqCst), self.begun.elapsed().as_secs_f64());
        println!("{what}: {answered} requests in {seconds:.0} s, 0 failed");
        Ok(self.stack)
    }
}

struct Rotation {
    tenant: String,
    operation: String,
    former: MySqlConnectOptions,
}

async fn rotate(admin: &Admin, tenant: &str) -> Result<String> {
    let reply = admin.post(&format!("/admin/tenants/{tenant}/database/rotate"), json!({})).await?;
    ensure!(reply.status == 202, "{tenant}: {}", reply.text);
    Ok(reply.json["operation_id"].as_str().context("an operation")?.to_owned())
}

async fn serves_all(api: &TenantApi, token: &str) -> Result<()> {
    for number in 0..TENANTS {
        wait::until(SOON, "the node to serve every tenant", async || {
            let reply = api.get(&format!("{}.saas.example", id(number)), token, "/api/orders").await;
            reply.ok().filter(|reply| reply.status == 200)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a hundred thousand requests"]
async fn twenty_rotations_under_load_fail_none_of_a_hundred_thousand_requests() -> Result<()> {
    let load = Load::begin(StackOptions::for_test("rotation-load")?, 1).await?;
    let mut rounds = 0;
    while rounds == 0 || load.answered.load(Ordering::SeqCst) < REQUESTS {
        let rotations = load.rotate_all().await?;
        load.check(&rotations).await?;
        rounds += 1;
    }
    let stack = load.end(&format!("{rounds} rotations of each of {TENANTS} tenants")).await?;
    invariants::check(&stack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: waits for nodes that are gone"]
async fn a_node_that_is_killed_or_paused_delays_rotations_and_fails_none() -> Result<()> {
    let mut options = StackOptions::for_test("rotation-nodes")?;
    options.data_planes = 3;
    let mut load = Load::begin(options, 1).await?;
    // In the middle of it: some have switched, some have not.
    let rotations = load.rotate_all().await?;
    load.stack.data_planes[1].kill9()?;
    load.check(&rotations).await?;
    load.stack.data_planes[1].restart(&[]).await?;

    let rotations = load.rotate_all().await?;
    load.stack.data_planes[2].pause()?;
    load.check(&rotations).await?;
    load.stack.data_planes[2].resume()?;
    let (woken, admin) = (load.stack.tenant_api(2), load.stack.admin());
    let stack = load.end("a node killed, a node paused").await?;
    // What it held is gone; the first request of each tenant is served all the same.
    let (user, token) = world::user(&admin, "bob", &[]).await?;
    for number in 0..TENANTS {
        admin.put_member(&id(number), &user, "admin").await?;
    }
    serves_all(&woken, &token).await?;
    for number in 0..TENANTS {
        let reply = woken.get(&format!("{}.saas.example", id(number)), &token, "/api/orders").await?;
        ensure!(reply.status == 200, "{}: {}", id(number), reply.text);
    }
    invariants::check(&stack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: the worker is killed fifteen times under load"]
async fn a_worker_killed_at_every_step_fails_no_request() -> Result<()> {
    let options = StackOptions::for_test("rotation-worker")?.with_env("provisioner", "JOB_LEASE", "4");
    let mut load = Load::begin(options, 1).await?;
    let mut points: Vec<String> = ["prepare_user", "verify_next", "switch", "await_nodes", "retire_user", "enforce"]
        .iter()
        .flat_map(|step| ["before", "after"].map(|when| format!("rotate.{step}.{when}")))
        .collect();
    points.extend(["rotate.recorded", "append.before_commit", "append.after_commit"].map(String::from));
    for (number, point) in points.iter().enumerate() {
        let (admin, tenant) = (load.stack.admin(), id(number));
        let former = world::login(&load.stack, &tenant).await?;
        load.stack.provisioners[0].restart(&[("FAILPOINTS", Some(&format!("{point}=kill")))]).await?;
        let rotation = Rotation { operation: rotate(&admin, &tenant).await?, tenant, former };
        let provisioner = &mut load.stack.provisioners[0];
        wait::until(SOON, &format!("a kill at {point}"), async || (!provisioner.is_alive()).then_some(())).await?;
        // It ends before the next one begins, which might otherwise not be the one that is killed.
        load.stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
        load.check(&[rotation]).await?;
    }
    let stack = load.end(&format!("the worker killed at {} points", points.len())).await?;
    invariants::check(&stack).await
}
