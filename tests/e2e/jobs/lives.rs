//! Random sequences of commands on real servers agree with a model while the provisioner is killed at random moments.
//!
//! `kernel/src/domain/life_tests.rs` checks the rules alone with thousands of sequences. This test checks everything
//! that follows from a command: rows, databases, users, rights, and the answers of a node. `LIVES_SEED` repeats a run.

use crate::invariants;
use crate::operations::audit;
use crate::world::{self, SOON};
use anyhow::{Context, Result, bail, ensure};
use harness::clients::{Admin, Reply};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use std::time::Duration;

const LENGTH: usize = 14;
/// Time in which a node must follow.
const FOLLOWED: Duration = Duration::from_secs(5);

/// A command.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ask {
    Suspend,
    Resume,
    Maintain(bool),
    Rename(u8),
    Plan(&'static str),
    AddDomain(u8),
    RemoveDomain(u8),
    Primary(u8),
    Rotate,
    Delete,
    Restore,
    Purge,
    Retry,
    Audit,
}

const ASKS: [Ask; 20] = [
    Ask::Suspend,
    Ask::Suspend,
    Ask::Resume,
    Ask::Resume,
    Ask::Maintain(true),
    Ask::Maintain(false),
    Ask::Rename(0),
    Ask::Rename(1),
    Ask::Plan("basic"),
    Ask::Plan("standard"),
    Ask::AddDomain(0),
    Ask::AddDomain(1),
    Ask::RemoveDomain(0),
    Ask::Primary(1),
    Ask::Rotate,
    Ask::Rotate,
    Ask::Delete,
    Ask::Restore,
    Ask::Purge,
    Ask::Audit,
];

/// A tenant in the model.
#[derive(Clone, Debug)]
struct Model {
    state: &'static str,
    before: &'static str,
    name: String,
    plan: &'static str,
    domains: Vec<String>,
    primary: Option<String>,
    /// The purge was accepted. Once its job has ended, the tenant is purged.
    purging: bool,
}

impl Model {
    fn alive(&self) -> bool {
        matches!(self.state, "active" | "suspended" | "maintenance" | "failed")
    }

    /// The tenant after a command. `None` if the command is refused.
    fn after(&self, id: &str, ask: Ask) -> Option<Self> {
        let mut next = self.clone();
        let domain = |number: u8| format!("{id}-{number}.example.com");
        let is = |states: &[&str]| states.contains(&self.state);
        match ask {
            Ask::Suspend if is(&["active", "maintenance"]) => next.state = "suspended",
            Ask::Resume if is(&["suspended"]) => next.state = "active",
            Ask::Maintain(true) if is(&["active"]) => next.state = "maintenance",
            Ask::Maintain(false) if is(&["maintenance"]) => next.state = "active",
            Ask::Rename(number) if self.alive() => next.name = format!("Name {number}"),
            Ask::Plan(plan) if self.alive() => next.plan = plan,
            Ask::AddDomain(number) if self.alive() && !self.domains.contains(&domain(number)) => {
                next.domains.push(domain(number));
                next.primary = self.primary.clone().or_else(|| Some(domain(number)));
            }
            Ask::RemoveDomain(number) if self.alive() && self.domains.contains(&domain(number)) => {
                next.domains.retain(|other| *other != domain(number));
                if self.primary.as_ref() == Some(&domain(number)) {
                    next.primary = next.domains.first().cloned();
                }
            }
            Ask::Primary(number) if self.alive() && self.domains.contains(&domain(number)) => {
                next.primary = Some(domain(number));
            }
            Ask::Rotate if is(&["active", "maintenance"]) => {}
            Ask::Delete if self.alive() => (next.state, next.before) = ("deleted", self.state),
            Ask::Restore if is(&["deleted"]) && !self.purging => next.state = self.before,
            Ask::Purge if is(&["deleted", "failed"]) && !self.purging => next.purging = true,
            Ask::Audit => {}
            _ => return None,
        }
        Some(next)
    }

    /// The tenant after all jobs have ended.
    fn settled(mut self) -> Self {
        if self.purging {
            (self.state, self.purging) = ("purged", false);
            (self.domains, self.primary) = (Vec::new(), None);
        }
        self
    }
}

async fn ask(admin: &Admin, id: &str, ask: Ask) -> Result<Reply> {
    let base = format!("/admin/tenants/{id}");
    let domain = |number: u8| format!("{id}-{number}.example.com");
    let (method, path, body) = match ask {
        Ask::Suspend => ("POST", format!("{base}/suspend"), json!({"reason": "unpaid"})),
        Ask::Resume => ("POST", format!("{base}/resume"), json!({})),
        Ask::Maintain(enabled) => ("POST", format!("{base}/maintenance"), json!({"enabled": enabled})),
        Ask::Rename(number) => ("PATCH", base, json!({"tenant_name": format!("Name {number}")})),
        Ask::Plan(plan) => ("PATCH", base, json!({"plan_type": plan})),
        Ask::AddDomain(number) => ("POST", format!("{base}/domains"), json!({"domain": domain(number)})),
        Ask::RemoveDomain(number) => ("DELETE", format!("{base}/domains/{}", domain(number)), Value::Null),
        Ask::Primary(number) => ("PUT", format!("{base}/domains/{}/primary", domain(number)), Value::Null),
        Ask::Rotate => ("POST", format!("{base}/database/rotate"), json!({})),
        Ask::Delete => ("DELETE", base, Value::Null),
        Ask::Restore => ("POST", format!("{base}/restore"), json!({})),
        Ask::Purge => ("POST", format!("{base}/purge"), json!({})),
        Ask::Retry => ("POST", format!("{base}/retry"), json!({})),
        Ask::Audit => ("POST", "/admin/audit".to_owned(), json!({"repair": true})),
    };
    admin.request(method, &path, Some(body).filter(|body| !body.is_null()), &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_random_lives_agree_with_the_model() -> Result<()> {
    lives("lives-few", 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: random lives of tenants, with kills"]
async fn many_random_lives_agree_with_the_model() -> Result<()> {
    lives("lives", 25).await
}

async fn lives(name: &str, sequences: u64) -> Result<()> {
    let first: u64 = match std::env::var("LIVES_SEED") {
        Ok(seed) => seed.parse().context("LIVES_SEED is a number")?,
        Err(_) => rand::random::<u32>().into(),
    };
    let options = StackOptions::for_test(name)?.with_env("provisioner", "JOB_LEASE", "4");
    let mut stack = Stack::start(options).await?;
    let (user, token) = world::user(&stack.admin(), "ann", &[]).await?;
    let (mut asked, mut refused, mut kills) = (0, 0, 0);
    for seed in first..first + sequences {
        println!("LIVES_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let id = format!("life-{seed}");
        let life = live(&mut stack, &mut random, &id, &user, &mut kills).await;
        let (model, counts) = life.with_context(|| format!("LIVES_SEED={seed}"))?;
        (asked, refused) = (asked + counts.0, refused + counts.1);
        agree(&stack, &id, &model, &token).await.with_context(|| format!("LIVES_SEED={seed}: {model:?}"))?;
    }
    println!("{sequences} lives: {asked} commands, {refused} refused, {kills} kills");
    ensure!(asked > refused && refused > 0 && kills > 0, "too few refusals or kills occurred");
    Ok(())
}

async fn live(
    stack: &mut Stack,
    random: &mut StdRng,
    id: &str,
    user: &str,
    kills: &mut u32,
) -> Result<(Model, (u32, u32))> {
    let admin = stack.admin();
    let fails = random.random_bool(0.2);
    if fails {
        stack.provisioners[0].restart(&[("FAILPOINTS", Some("provision.verify_login=error"))]).await?;
    }
    let created = admin.create_tenant(id, "Name", None).await?;
    admin.wait_for_end(&created.operation_id, SOON).await?;
    if fails {
        stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    }
    let mut model = Model {
        state: if fails { "failed" } else { "active" },
        before: "",
        name: "Name".into(),
        plan: "basic",
        domains: Vec::new(),
        primary: None,
        purging: false,
    };
    admin.put_member(id, user, "admin").await?;
    if fails && random.random_bool(0.6) {
        ensure!(ask(&admin, id, Ask::Retry).await?.status == 202);
        world::idle(stack).await?;
        model.state = "active";
    }
    let (mut asked, mut refused) = (0, 0);
    for _ in 0..LENGTH {
        let command = *ASKS.choose(random).context("asks")?;
        if command == Ask::Delete && random.random_bool(0.5) {
            continue;
        }
        let reply = ask(&admin, id, command).await?;
        asked += 1;
        // Only these can be refused because of an unfinished job, which the model does not know.
        let may_wait = matches!(command, Ask::Rotate | Ask::Restore | Ask::Purge | Ask::Delete);
        match (model.after(id, command), reply.status) {
            (Some(next), 200..=204) => model = next,
            (_, 409) if may_wait && reply.error() == "operation_in_progress" => refused += 1,
            (None, 404 | 409) => refused += 1,
            // A purge that was accepted may have ended by now.
            (Some(_), 409) if model.purging && reply.json["state"] == "purged" => refused += 1,
            (expected, status) => {
                bail!("{command:?} of {model:?}: expected {expected:?}, got {status}: {}", reply.text)
            }
        }
        if random.random_bool(0.25) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
            stack.provisioners[0].kill9()?;
            stack.provisioners[0].restart(&[]).await?;
            *kills += 1;
        }
        if random.random_bool(0.4) {
            world::idle(stack).await?;
            model = model.settled();
        }
    }
    world::idle(stack).await?;
    Ok((model.settled(), (asked, refused)))
}

/// Everything that can be seen of the tenant agrees with the model.
async fn agree(stack: &Stack, id: &str, model: &Model, token: &str) -> Result<()> {
    let admin = stack.admin();
    let tenant = admin.tenant(id).await?;
    ensure!(tenant.state == model.state && tenant.tenant_name == model.name, "{tenant:?}");
    ensure!(tenant.plan_type.as_deref() == Some(model.plan), "{tenant:?}");
    ensure!(tenant.domains == model.domains.iter().map(|name| json!(name)).collect::<Vec<_>>(), "{tenant:?}");
    ensure!(tenant.tenant_domain == model.primary, "{tenant:?}");
    let state = if model.state == "deleted" { model.before } else { model.state };
    if matches!(state, "failed" | "purged") {
        let mut system = world::system(stack).await?;
        let stored = "SELECT COUNT(*) FROM saas_tenant_databases WHERE tenant_id = ? AND db_username <> ''";
        let stored: i64 = sqlx::query_scalar(stored).bind(id).fetch_one(&mut system).await?;
        ensure!(stored == 0, "a credential of the tenant is still stored");
    } else {
        let logs_in = world::login(stack, id).await?.connect().await.is_ok();
        ensure!(logs_in == matches!(model.state, "active" | "maintenance"), "logs in: {logs_in}");
    }
    let wanted: &[u16] = match model.state {
        "active" => &[200],
        "maintenance" | "failed" => &[503],
        "suspended" => &[403],
        _ => &[404],
    };
    let mut hosts = vec![format!("{id}.saas.example")];
    hosts.extend(model.domains.iter().cloned());
    let api = stack.tenant_api(0);
    for host in hosts {
        wait::until_ok(FOLLOWED, "the node to follow", async || {
            let reply = api.get(&host, token, "/api/orders").await?;
            ensure!(wanted.contains(&reply.status), "{host}: {} instead of {wanted:?}: {}", reply.status, reply.text);
            Ok(())
        })
        .await?;
    }
    audit::finds_nothing(&admin).await?;
    invariants::check(stack).await
}
