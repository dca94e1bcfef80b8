//! The switches of the installation take effect on every node within 2 s and without a restart. A forwarded host
//! counts only from a trusted proxy.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::{Reply, TenantApi};
use harness::load;
use harness::stack::{Stack, StackOptions};
use serde_json::json;
use sqlx::MySqlConnection;
use std::time::{Duration, Instant};

const DEFAULT_HOST: &str = "app.ai-shifu.com";
const ACME_HOST: &str = "acme.example.com";
const UNKNOWN_HOST: &str = "unheard.of.example.com";

/// The bound of the design, plus what a request may take on a busy test machine.
const BOUND: Duration = Duration::from_millis(2500);

struct Two {
    stack: Stack,
    /// The token of a user of both tenants.
    token: String,
    /// The token of a user of acme only.
    guest: String,
    nodes: [TenantApi; 2],
}

/// Two nodes, of which the second trusts proxies on this machine.
async fn two(name: &str) -> Result<Two> {
    let mut options =
        StackOptions::for_test(name)?.with_env("data-plane-2", "TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1");
    options.data_planes = 2;
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(ACME_HOST), SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("default", "user"), ("acme", "user")]).await?;
    let (_, guest) = world::user(&admin, "guest", &[("acme", "user")]).await?;
    let nodes = [stack.tenant_api(0), stack.tenant_api(1)];
    for node in &nodes {
        for (host, token) in [(DEFAULT_HOST, &token), (ACME_HOST, &token), (ACME_HOST, &guest)] {
            world::served(node, host, token).await?;
        }
    }
    Ok(Two { stack, token, guest, nodes })
}

/// The tenant that answered, or the code of the error.
fn who(reply: &Reply) -> String {
    reply.json["tenant_id"].as_str().unwrap_or(reply.error()).to_owned()
}

impl Two {
    async fn ask(&self, node: usize, token: &str, headers: &[(&str, &str)]) -> Result<String> {
        let bearer = format!("Bearer {token}");
        let all = [&[("Authorization", bearer.as_str())], headers].concat();
        Ok(who(&self.nodes[node].request("GET", "/api/orders", &all).await?))
    }

    /// Turns a switch. From [`BOUND`] on, every node gives the new answer, and until then the old one.
    async fn turn(&self, key: &str, value: &str, headers: &[(&str, &str)], from: &str, to: &str) -> Result<()> {
        let mut system: MySqlConnection = world::system(&self.stack).await?;
        ensure!(self.ask(0, &self.token, headers).await? == from);
        sqlx::query("UPDATE saas_system_config SET config_value = ? WHERE config_key = ?")
            .bind(value)
            .bind(key)
            .execute(&mut system)
            .await?;
        let turned = Instant::now();
        for node in 0..2 {
            let (before, after) = (from.to_owned(), to.to_owned());
            let ask = async || self.ask(node, &self.token, headers).await;
            let seen = load::changes((before, after), turned, BOUND, ask);
            seen.await.with_context(|| format!("{key} = {value}, node {node}"))?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_switch_takes_effect_on_every_node_in_two_seconds() -> Result<()> {
    let two = two("switches").await?;
    let unknown: &[(&str, &str)] = &[("Host", UNKNOWN_HOST)];
    let acme: &[(&str, &str)] = &[("Host", ACME_HOST)];

    // Hosts that no tenant has.
    two.turn("routing.unknown_host", "reject", unknown, "default", "tenant_not_found").await?;
    assert_eq!(two.ask(0, &two.token, &[("Host", "127.0.0.1")]).await?, "tenant_not_found");
    assert_eq!(two.ask(0, &two.token, acme).await?, "acme");
    assert_eq!(two.ask(0, &two.token, &[("Host", DEFAULT_HOST)]).await?, "default");
    two.turn("routing.unknown_host", "default", unknown, "tenant_not_found", "default").await?;
    assert_eq!(two.ask(0, &two.token, &[("Host", "127.0.0.1")]).await?, "default");
    // With an invalid value of the switch, nodes refuse and do not guess.
    two.turn("routing.unknown_host", "perhaps", unknown, "default", "tenant_not_found").await?;

    // With one tenant only, the default tenant answers whatever the request names, although unknown hosts are refused.
    two.turn("system.multi_tenant_enabled", "false", acme, "acme", "default").await?;
    for node in 0..2 {
        for headers in [
            acme,
            unknown,
            &[("Host", DEFAULT_HOST)],
            &[("Host", UNKNOWN_HOST), ("X-Tenant-ID", "acme")],
            &[("Host", UNKNOWN_HOST), ("Tenant-ID", "nobody")],
        ] {
            assert_eq!(two.ask(node, &two.token, headers).await?, "default", "{headers:?}");
            assert_eq!(two.ask(node, &two.guest, headers).await?, "user_not_in_tenant", "{headers:?}");
        }
    }
    two.turn("system.multi_tenant_enabled", "true", acme, "default", "acme").await?;
    assert_eq!(two.ask(1, &two.guest, acme).await?, "acme");
    Ok(())
}

#[tokio::test]
async fn a_forwarded_host_counts_from_trusted_proxies_alone() -> Result<()> {
    let two = two("trusted-proxies").await?;
    let ask = async |node: usize, headers: &[(&str, &str)]| two.ask(node, &two.token, headers).await;
    let forwarded = |host| [("Host", DEFAULT_HOST), ("X-Forwarded-Host", host)];
    // This node trusts no proxy, so it ignores the header whatever it contains.
    for host in [ACME_HOST, UNKNOWN_HOST, "a b", "", "a.example.com, b.example.com"] {
        assert_eq!(ask(0, &forwarded(host)).await?, "default", "{host:?}");
    }
    for (host, expected) in [
        (ACME_HOST, "acme"),
        ("ACME.Example.com:8443", "acme"),
        (DEFAULT_HOST, "default"),
        (UNKNOWN_HOST, "default"),
        ("a b", "invalid_host"),
        ("", "invalid_host"),
        ("acme.example.com, acme.example.com", "invalid_host"),
    ] {
        assert_eq!(ask(1, &forwarded(host)).await?, expected, "{host:?}");
    }
    let twice = [("Host", DEFAULT_HOST), ("X-Forwarded-Host", ACME_HOST), ("X-Forwarded-Host", ACME_HOST)];
    assert_eq!(ask(1, &twice).await?, "invalid_host");
    let named = [("Host", DEFAULT_HOST), ("X-Forwarded-Host", ACME_HOST), ("X-Tenant-ID", "default")];
    assert_eq!(ask(1, &named).await?, "default", "a tenant that the request names comes first");
    // Nodes ignore other headers of proxies, also from a trusted one.
    for header in ["Forwarded", "X-Host", "X-Original-Host", "X-Forwarded-Server", "X-HTTP-Host-Override"] {
        let value = if header == "Forwarded" { "host=acme.example.com" } else { ACME_HOST };
        assert_eq!(ask(1, &[("Host", DEFAULT_HOST), (header, value)]).await?, "default", "{header}");
    }
    // A trusted header does not open a tenant to a user who is not its member.
    let bearer = format!("Bearer {}", two.guest);
    let headers = [("Host", ACME_HOST), ("X-Forwarded-Host", DEFAULT_HOST), ("Authorization", bearer.as_str())];
    let reply = two.nodes[1].request("GET", "/api/orders", &headers).await?;
    assert_eq!((reply.status, &reply.json["error"]), (403, &json!("user_not_in_tenant")), "{}", reply.text);
    Ok(())
}
