//! Every service is restarted, one after the other, under constant load. No request fails.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::balancer::Balancer;
use harness::load::{Answered, Asker, Load};
use harness::stack::{self, Env, Role, Service};
use harness::stack::{Stack, StackOptions, service_dir};
use harness::{paths, wait};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const HOST: &str = "acme.example.com";

/// Seconds between the signal and the end of accepting: several polls of the balancer.
const NOTICE: &str = "2";

/// Clients of the data plane.
const CLIENTS: usize = 4;

/// The oldest version that this one must be able to run beside, and whose event log, tables and messages it reads and
/// writes. `UPGRADE_FROM` names another commit, or a folder with the programs of another version.
const OLDEST_SUPPORTED: &str = "042f966";

#[tokio::test]
async fn a_rolling_restart_fails_no_request() -> Result<()> {
    let stack = Stack::start(replicated("rolling")?).await?;
    roll(stack, 1, |_, _| Ok(())).await
}

#[tokio::test]
#[ignore = "long: compiles another version of the services first"]
async fn an_upgrade_and_its_rollback_fail_no_request() -> Result<()> {
    let old = other_version().await?;
    let new = paths::binaries(paths::own_profile())?;
    let mut options = replicated("upgrade")?;
    options.profile = old.display().to_string();
    let stack = Stack::start(options).await?;
    // Migrations come first. Each of them preserves what the version before it needs.
    let (dir, env) = (service_dir(stack.dir()), vec![("SYSTEM_DB_URL".to_owned(), stack.urls.system.migrator.clone())]);
    stack::run(Role::ControlPlane, paths::own_profile(), &dir, &env, &["migrate"]).await?;
    // The first round upgrades and the second one rolls back, so each kind of service meets other versions of all
    // others.
    roll(stack, 2, |service, round| {
        let program = if round == 0 { &new } else { &old };
        let program = program.join(service.binary());
        service.process().set_program(program);
        Ok(())
    })
    .await
}

fn replicated(name: &str) -> Result<StackOptions> {
    let mut options = StackOptions::for_test(name)?
        .with_env("data-plane", "SHUTDOWN_NOTICE", NOTICE)
        .with_env("control-plane", "SHUTDOWN_NOTICE", NOTICE)
        .with_env("provisioner", "JOB_LEASE", "4");
    (options.control_planes, options.provisioners, options.data_planes) = (2, 2, 2);
    Ok(options)
}

/// Restarts all services under load, `rounds` times. `change` sees each service between its end and its new start.
async fn roll(mut stack: Stack, rounds: usize, change: impl Fn(&mut Service, usize) -> Result<()>) -> Result<()> {
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (user, token) = world::user(&admin, "ann", &[("acme", "admin")]).await?;
    world::plant_order(&stack, "acme", &user, "o-1").await?;
    for node in 0..stack.data_planes.len() {
        let api = stack.tenant_api(node);
        world::served(&api, HOST, &token).await?;
    }
    let urls = |services: &[Service]| services.iter().map(|one| one.url().to_owned()).collect::<Vec<_>>();
    let nodes = Arc::new(Balancer::start(urls(&stack.data_planes))?);
    let controls = Arc::new(Balancer::start(urls(&stack.control_planes))?);

    let mut load = Load::with_pause(Duration::from_millis(5));
    for client in 0..CLIENTS {
        load.client(orders(client, &nodes, &token));
    }
    let mut creating = Load::with_pause(Duration::from_secs(2));
    creating.client({
        let (controls, token) = (Arc::clone(&controls), stack.admin_token.clone());
        move |n| {
            let (controls, token) = (Arc::clone(&controls), token.clone());
            async move {
                let body = json!({"tenant_id": format!("new-{n}"), "tenant_name": "T"});
                let reply = controls.send("POST", "/admin/tenants", &[("X-Admin-Token", &token)], Some(&body)).await?;
                ensure!(reply.status == 202, "tenant {n} was answered {}: {}", reply.status, reply.text);
                Ok(Answered::Served)
            }
        }
    });

    for round in 0..rounds {
        let before = nodes.answered();
        for service in stack.services() {
            let clean = service.stop().await?;
            ensure!(clean, "{} did not end by itself:\n{}", service.name(), harness::files::tail(&service.log(), 20));
            change(service, round)?;
            service.start_again(&[])?;
            service.wait_ready().await?;
            // The balancers poll in this time, and a first request reaches the service.
            tokio::time::sleep(Duration::from_millis(600)).await;
            for load in [&mut load, &mut creating] {
                load.check().with_context(|| format!("round {round}, {}", service.name()))?;
            }
        }
        let served = nodes.answered().iter().zip(before).all(|(now, before)| *now > before);
        ensure!(served, "every node has answered since the round began");
    }
    let (asked, created) = (load.end().await?.served, creating.end().await?.served);
    eprintln!("{asked} requests and {created} tenants during {rounds} rounds of restarts; none failed");
    ensure!(asked > 200 && created > 3, "{asked} requests, {created} tenants");
    let admin = stack.admin();
    for n in 0..created {
        admin.wait_for_state(&format!("new-{n}"), "active", SOON).await?;
    }
    invariants::check(&stack).await
}

/// A client of the data plane that reads. Every tenth request writes.
fn orders(client: usize, nodes: &Arc<Balancer>, token: &str) -> impl Asker + use<> {
    let (nodes, bearer) = (Arc::clone(nodes), format!("Bearer {token}"));
    move |n| {
        let (nodes, bearer) = (Arc::clone(&nodes), bearer.clone());
        async move {
            let headers = [("Host", HOST), ("Authorization", bearer.as_str())];
            let reply = if n % 10 == 0 {
                let key = format!("order-{client}-{n}");
                let headers = [headers[0], headers[1], ("Idempotency-Key", key.as_str())];
                let order = json!({"shifu_bid": "s-1", "payable_price": "12.30"});
                nodes.send("POST", "/api/orders", &headers, Some(&order)).await?
            } else {
                nodes.send("GET", "/api/orders?limit=5", &headers, None).await?
            };
            ensure!(matches!(reply.status, 200 | 201), "the answer {n} was {}: {}", reply.status, reply.text);
            ensure!(reply.json["tenant_id"] == "acme", "{}", reply.text);
            Ok(Answered::Served)
        }
    }
}

/// Compiles the programs of the other version into a folder of their own.
async fn other_version() -> Result<PathBuf> {
    let commit = std::env::var("UPGRADE_FROM").unwrap_or_else(|_| OLDEST_SUPPORTED.to_owned());
    if Path::new(&commit).is_dir() {
        return Ok(PathBuf::from(commit));
    }
    let dir = paths::target().join("upgrade");
    std::fs::create_dir_all(&dir)?;
    let source = dir.join(format!("source-{commit}"));
    if !source.join("Cargo.toml").is_file() {
        let source = source.display().to_string();
        run("git", &["worktree", "prune"], &paths::workspace()).await?;
        run("git", &["worktree", "add", "--force", "--detach", &source, &commit], &paths::workspace()).await?;
    }
    let target = dir.join("target").display().to_string();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    run(&cargo, &["build", "--workspace", "--bins", "--locked", "--target-dir", &target], &source).await?;
    // Each commit has a folder of its own, because the next compilation replaces these programs.
    let programs = dir.join(format!("programs-{commit}"));
    std::fs::create_dir_all(&programs)?;
    for role in Role::ALL {
        std::fs::copy(dir.join("target/debug").join(role.binary()), programs.join(role.binary()))?;
    }
    Ok(programs)
}

async fn run(program: &str, args: &[&str], dir: &Path) -> Result<()> {
    let status = tokio::process::Command::new(program).args(args).current_dir(dir).status().await;
    ensure!(status.with_context(|| format!("start {program}"))?.success(), "{program} {args:?} failed");
    Ok(())
}

/// A balancer sees that a node will stop while the node still answers.
#[tokio::test]
async fn a_node_is_not_ready_before_it_stops_serving() -> Result<()> {
    let mut stack =
        Stack::start(StackOptions::for_test("leaving")?.with_env("data-plane", "SHUTDOWN_NOTICE", "3")).await?;
    let api = stack.tenant_api(0);
    assert_eq!(api.request("GET", "/readyz", &[]).await?.status, 200);
    let began = std::time::Instant::now();
    stack.data_planes[0].process().signal(nix::sys::signal::Signal::SIGTERM)?;
    wait::until(SOON, "the node to report that it is leaving", async || {
        api.request("GET", "/readyz", &[]).await.ok().filter(|reply| reply.status == 503)
    })
    .await?;
    let reply = api.request("GET", "/api/orders", &[]).await?;
    assert_eq!((reply.status, reply.error()), (401, "unauthenticated"), "the node that is leaving still answers");
    let output = stack.output(Role::DataPlane, &["ready"], &internal(&stack)).await?;
    ensure!(
        output.status.code() == Some(1) && String::from_utf8_lossy(&output.stderr).contains("not ready"),
        "{output:?}"
    );
    stack.data_planes[0].process().ended(SOON).await?;
    ensure!(began.elapsed() >= Duration::from_secs(3), "the service ended after {:?}", began.elapsed());
    stack.data_planes[0].restart(&[]).await?;
    let output = stack.output(Role::DataPlane, &["ready"], &internal(&stack)).await?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn internal(stack: &Stack) -> Env {
    let address = stack.data_planes[0].internal_url().trim_start_matches("http://").to_owned();
    vec![(Role::DataPlane.internal_listen_variable().to_owned(), address)]
}
