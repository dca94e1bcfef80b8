//! A data node whose system database is slow refuses requests rather than serve what it has removed. If the system
//! database is silent, the node serves what it knows.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::TenantApi;
use harness::servers::Server;
use harness::servers::proxy::Proxy;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use std::time::{Duration, Instant};

const HOST: &str = "acme.example.com";

/// The bound of the design.
const BOUND: Duration = Duration::from_secs(2);
/// What a request may take on a busy test machine.
const SLACK: Duration = Duration::from_millis(1000);

/// A stack whose nodes reach the system database through a proxy. They reach the tenants' databases directly.
pub async fn behind_a_proxy(options: StackOptions) -> Result<(Stack, Proxy)> {
    let mut stack = Stack::start_servers(options).await?;
    let port = stack.mariadb.as_ref().context("a private server")?.port();
    let proxy = Proxy::start(port).await?;
    let node = &mut stack.urls.system.node;
    *node = node.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
    stack.start_services().await?;
    stack.admin().wait_for_state("default", "active", SOON).await?;
    Ok((stack, proxy))
}

async fn status(api: &TenantApi, token: &str) -> Result<u16> {
    Ok(api.get(HOST, token, "/api/orders").await?.status)
}

struct Served {
    stack: Stack,
    proxy: Proxy,
    api: TenantApi,
    ann: String,
    of_ann: String,
    of_bob: String,
}

/// A tenant with two members whom the node serves.
async fn served(name: &str) -> Result<Served> {
    let (stack, proxy) = behind_a_proxy(StackOptions::for_test(name)?).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (ann, of_ann) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    let (_, of_bob) = world::user(&admin, "bob", &[("acme", "user")]).await?;
    let api = stack.tenant_api(0);
    for token in [&of_ann, &of_bob] {
        world::served(&api, HOST, token).await?;
    }
    Ok(Served { stack, proxy, api, ann, of_ann, of_bob })
}

/// What happens before the removal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The database was fast until this moment.
    Nothing,
    /// The node has met the slow database.
    Met,
    /// The node has met it, and then its connections were killed.
    Killed,
}

/// How soon, and how often, a removed member and another member are asked for after the removal.
async fn removal_is_seen(served: &Served, delay: Duration, before: Before) -> Result<()> {
    let Served { stack, proxy, api, ann, of_ann, of_bob } = served;
    proxy.delay(delay);
    if before != Before::Nothing {
        tokio::time::sleep(BOUND + delay * 2).await;
    }
    if before == Before::Killed {
        let mut root = world::root(stack).await?;
        let of_node = "SELECT CAST(ID AS SIGNED) FROM information_schema.PROCESSLIST WHERE USER = 'node'";
        for id in sqlx::query_scalar::<_, i64>(of_node).fetch_all(&mut root).await? {
            // A connection may have ended meanwhile.
            let _ = sqlx::query(&format!("KILL {id}")).execute(&mut root).await;
        }
    }
    let path = format!("/admin/tenants/acme/users/{ann}");
    let removed = stack.admin().request("DELETE", &path, None, &[]).await?;
    ensure!(removed.status == 204, "{}", removed.text);
    let since = Instant::now();
    let mut refusals = 0;
    while since.elapsed() < BOUND + SLACK * 3 {
        let answer = status(api, of_ann).await?;
        let late = since.elapsed();
        ensure!(answer != 200 || late < BOUND + SLACK, "delay {delay:?}: served {late:?} after the removal");
        ensure!([200, 403, 503].contains(&answer), "delay {delay:?}: {answer}");
        refusals += u32::from(answer == 503);
        if delay < BOUND / 4 {
            ensure!(status(api, of_bob).await? == 200, "the node has no reason to refuse the other member");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(delay < BOUND || refusals > 0, "the node refuses, because it cannot know");
    proxy.delay(Duration::ZERO);
    for (token, expected) in [(of_ann, 403), (of_bob, 200)] {
        wait::until(SOON, "the node to know again", async || {
            status(api, token).await.ok().filter(|status| *status == expected)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_removed_member_is_refused_in_time_by_a_slow_database() -> Result<()> {
    let served = served("slow-system").await?;
    for millis in [300, 1200] {
        served.stack.admin().put_member("acme", &served.ann, "user").await?;
        world::served(&served.api, HOST, &served.of_ann).await?;
        removal_is_seen(&served, Duration::from_millis(millis), Before::Nothing).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_node_refuses_while_its_system_database_is_far_too_slow() -> Result<()> {
    let served = served("slower-system").await?;
    removal_is_seen(&served, Duration::from_millis(2500), Before::Met).await?;
    served.stack.admin().put_member("acme", &served.ann, "user").await?;
    world::served(&served.api, HOST, &served.of_ann).await?;
    removal_is_seen(&served, Duration::from_millis(2500), Before::Killed).await
}

#[tokio::test]
async fn a_node_serves_known_tenants_while_its_system_database_is_silent() -> Result<()> {
    let Served { stack, proxy, api, ann, of_ann, of_bob } = served("silent-system").await?;
    proxy.delay(Duration::from_secs(3600));
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(12) {
        let answer = status(&api, &of_bob).await?;
        ensure!(answer == 200, "{answer} {:?} after the database fell silent", since.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.delay(Duration::ZERO);
    let path = format!("/admin/tenants/acme/users/{ann}");
    let removed = stack.admin().request("DELETE", &path, None, &[]).await?;
    ensure!(removed.status == 204, "{}", removed.text);
    wait::until(SOON, "the node to follow again", async || {
        status(&api, &of_ann).await.ok().filter(|status| *status == 403)
    })
    .await
    .map(drop)
}
