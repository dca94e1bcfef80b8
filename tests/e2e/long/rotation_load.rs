//! Twenty tenants are rotated under constant load, with nodes and workers that fail in the middle.

use crate::invariants;
use crate::world;
use anyhow::{Result, ensure};
use harness::kill;
use harness::load::Load;
use harness::stack::{Role, Stack, StackOptions};
use sqlx::ConnectOptions;
use sqlx::mysql::MySqlConnectOptions;
use std::time::{Duration, Instant};

const TENANTS: usize = 20;
const CLIENTS: usize = 8;
const REQUESTS: u64 = 100_000;
/// The provisioner waits 10 s for a lost node, for each rotation that runs at that moment.
const ENDS: Duration = Duration::from_secs(120);

/// Tenants under load: clients request their orders from one of the nodes without a pause.
struct Busy {
    stack: Stack,
    load: Load,
    begun: Instant,
}

fn id(number: usize) -> String {
    format!("t-{number:02}")
}

fn ids() -> Vec<String> {
    (0..TENANTS).map(id).collect()
}

impl Busy {
    /// The clients use the first node; the others run beside it.
    async fn begin(options: StackOptions) -> Result<Self> {
        let stack = Stack::start(options).await?;
        let token = world::fleet(&stack, &ids()).await?;
        for node in 0..stack.data_planes.len() {
            world::serves_all(&stack.tenant_api(node), &ids(), &token).await?;
        }
        let mut load = Load::new();
        for client in 0..CLIENTS {
            load.client(world::orders(
                &stack.tenant_api(0),
                &token,
                move |turn| id((client + turn as usize) % TENANTS),
            ));
        }
        Ok(Self { stack, load, begun: Instant::now() })
    }

    async fn rotate_all(&self) -> Result<Vec<Rotation>> {
        let admin = self.stack.admin();
        let mut rotations = Vec::new();
        for number in 0..TENANTS {
            let id = id(number);
            let former = world::login(&self.stack, &id).await?;
            rotations.push(Rotation { operation: world::rotate(&admin, &id).await?, tenant: id, former });
        }
        Ok(rotations)
    }

    /// Checks that each rotation has ended and nothing of the former credential is left.
    async fn check(&self, rotations: &[Rotation]) -> Result<()> {
        let mut root = world::root(&self.stack).await?;
        for Rotation { operation, tenant, former } in rotations {
            self.stack.admin().wait_for_operation(operation, ENDS).await?;
            let now = world::login(&self.stack, tenant).await?;
            ensure!(now.get_username() != former.get_username(), "{tenant} has its former user");
            // This is counted before the refused login, which shows in the list for a moment.
            let left = world::sessions_of(&mut root, former.get_username()).await?;
            ensure!(left == 0, "the former user of {tenant} has {left} sessions");
            ensure!(former.connect().await.is_err(), "the former credential of {tenant} logs in");
        }
        Ok(())
    }

    /// Ends the load, of which no request may have failed.
    async fn end(self, what: &str) -> Result<Stack> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let served = self.load.end().await?.served;
        println!("{what}: {served} requests in {seconds:.0} s, 0 failed");
        Ok(self.stack)
    }
}

struct Rotation {
    tenant: String,
    operation: String,
    former: MySqlConnectOptions,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a hundred thousand requests"]
async fn rotations_fail_none_of_a_hundred_thousand_requests() -> Result<()> {
    let mut busy = Busy::begin(StackOptions::for_test("rotation-load")?).await?;
    let mut rounds = 0;
    while rounds == 0 || busy.load.answers() < REQUESTS {
        busy.load.check()?;
        let rotations = busy.rotate_all().await?;
        busy.check(&rotations).await?;
        rounds += 1;
    }
    let stack = busy.end(&format!("{rounds} rotations of each of {TENANTS} tenants")).await?;
    invariants::check(&stack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: waits for nodes that are gone"]
async fn a_killed_or_paused_node_delays_rotations_only() -> Result<()> {
    let mut options = StackOptions::for_test("rotation-nodes")?;
    options.data_planes = 3;
    let mut busy = Busy::begin(options).await?;
    // Some tenants have switched at this moment and others have not.
    let rotations = busy.rotate_all().await?;
    busy.stack.data_planes[1].kill9()?;
    busy.check(&rotations).await?;
    busy.stack.data_planes[1].restart(&[]).await?;

    let rotations = busy.rotate_all().await?;
    busy.stack.data_planes[2].pause()?;
    busy.check(&rotations).await?;
    busy.stack.data_planes[2].resume()?;
    let (woken, admin) = (busy.stack.tenant_api(2), busy.stack.admin());
    let stack = busy.end("a node killed, a node paused").await?;
    // The server has ended the node's sessions. The node serves the first request of each tenant nevertheless.
    let (user, token) = world::user(&admin, "bob", &[]).await?;
    for number in 0..TENANTS {
        admin.put_member(&id(number), &user, "admin").await?;
    }
    world::serves_all(&woken, &ids(), &token).await?;
    for number in 0..TENANTS {
        let reply = woken.get(&world::host(&id(number)), &token, "/api/orders").await?;
        ensure!(reply.status == 200, "{}: {}", id(number), reply.text);
    }
    invariants::check(&stack).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: the worker is killed fifteen times under load"]
async fn a_rotation_killed_at_every_step_fails_no_request() -> Result<()> {
    let options = StackOptions::for_test("rotation-worker")?.with_env("provisioner", "JOB_LEASE", "4");
    let mut busy = Busy::begin(options).await?;
    let steps = ["prepare_user", "verify_next", "switch", "await_nodes", "retire_user", "enforce"];
    let points = kill::around_all("rotate", &steps);
    for (number, point) in points.iter().enumerate() {
        let (admin, tenant) = (busy.stack.admin(), id(number));
        let former = world::login(&busy.stack, &tenant).await?;
        let begin = async |_: &mut Stack| world::rotate(&admin, &tenant).await;
        let operation = kill::at(&mut busy.stack, Role::Provisioner, point, begin).await?;
        let rotation = Rotation { operation, tenant, former };
        // The rotation ends before the next one begins, so that the next one meets its own point.
        busy.stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
        busy.check(&[rotation]).await?;
    }
    let stack = busy.end(&format!("the worker killed at {} points", points.len())).await?;
    invariants::check(&stack).await
}
