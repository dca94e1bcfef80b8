//! Every answer is checked while tenants are created, renamed, suspended, rotated, deleted, restored and purged.
//!
//! One user is an admin of every tenant, so a request that is led to a wrong tenant gets its rows and no refusal. An
//! answer is *wrong* if it shows a row of another tenant, or if it serves a request that began more than [`BOUND`]
//! after a suspension or deletion was accepted. Tenants that are only renamed and rotated must always be served.

mod tenant;

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, bail, ensure};
use harness::clients::Admin;
use harness::clients::wire;
use harness::load::{Answered, Load, Progress, Question};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tenant::Tenant;

/// Time after the acceptance of a command in which a node may not know of it.
const BOUND: Duration = Duration::from_secs(2);
/// Clients at each node.
const CLIENTS: usize = 6;
const STEADY: usize = 4;
const CHANGING: usize = 3;
/// The number of tenants that live at once among those that come and go.
const PASSING: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_answers_show_no_other_tenants_row() -> Result<()> {
    answers("answers", 2, 20_000).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a million answers"]
async fn a_million_answers_show_no_other_tenants_row() -> Result<()> {
    answers("answers-long", 3, 1_000_000).await
}

/// A change of a tenant.
#[derive(Clone, Copy)]
enum Change {
    Rename,
    Rotate,
    Suspend,
    ComeAndGo,
}

/// The counts besides those of the load.
#[derive(Default)]
struct Tally {
    /// Requests that had to be refused, and were.
    refused: AtomicU64,
    created: AtomicU64,
    renamed: AtomicU64,
    suspended: AtomicU64,
    rotated: AtomicU64,
    deleted: AtomicU64,
    restored: AtomicU64,
    purged: AtomicU64,
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::SeqCst);
}

/// What all tasks of a run share.
struct Run {
    admin: Admin,
    root: String,
    user: String,
    token: String,
    tenants: RwLock<Vec<Arc<Tenant>>>,
    tally: Tally,
    progress: Progress,
}

async fn answers(name: &str, nodes: usize, goal: u64) -> Result<()> {
    let mut options = StackOptions::for_test(name)?;
    options.data_planes = nodes;
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    let (user, token) = world::user(&admin, "ann", &[("default", "admin")]).await?;
    let mut load = Load::new();
    let run = Arc::new(Run {
        admin,
        root: stack.urls.root.clone(),
        user,
        token,
        tenants: RwLock::default(),
        tally: Tally::default(),
        progress: load.progress(),
    });
    for n in 0..STEADY + CHANGING {
        let steady = n < STEADY;
        let id = if steady { format!("steady-{n}") } else { format!("changing-{n}") };
        run.create(Tenant::new(id, steady)).await?;
    }
    for node in 0..nodes {
        let last = format!("changing-{}.x.example", STEADY + CHANGING - 1);
        world::served(&stack.tenant_api(node), &last, &run.token).await?;
    }
    for client in 0..nodes * CLIENTS {
        let (run, mut dice) = (Arc::clone(&run), client as u64 + 1);
        load.wire(stack.data_planes[client % nodes].url(), move |_| run.question(&mut dice));
    }
    let tally = &run.tally;
    let enough = || {
        run.progress.answers() >= goal
            && read(&tally.renamed) >= 10
            && [&tally.created, &tally.suspended, &tally.rotated, &tally.deleted, &tally.restored, &tally.purged]
                .iter()
                .all(|count| read(count) >= 2)
    };
    let watching = async {
        let mut printed = 0;
        while !enough() && !run.progress.is_over() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if run.progress.answers() / 100_000 > printed {
                printed = run.progress.answers() / 100_000;
                eprintln!("{printed}00,000 answers");
            }
        }
        run.progress.end();
    };
    let (renames, rotations, suspensions, lives, ()) = tokio::join!(
        run.until_over(Change::Rename),
        run.until_over(Change::Rotate),
        run.until_over(Change::Suspend),
        run.until_over(Change::ComeAndGo),
        watching,
    );
    let ended = load.end().await?;
    for changes in [renames, rotations, suspensions, lives] {
        changes?;
    }
    eprintln!(
        "{} answers, 0 wrong; {} served, {} had to be refused and were; {} tenants created, {} suspended, {} deleted, \
         {} restored, {} purged, {} renamed, {} rotated",
        run.progress.answers(),
        ended.served,
        read(&tally.refused),
        read(&tally.created),
        read(&tally.suspended),
        read(&tally.deleted),
        read(&tally.restored),
        read(&tally.purged),
        read(&tally.renamed),
        read(&tally.rotated),
    );
    ensure!(enough(), "the load ended too early");
    ensure!(read(&tally.refused) > 100, "too few requests had to be refused");
    ensure!(ended.served > goal / 4, "too few requests were served");
    world::idle(&stack).await?;
    invariants::check(&stack).await
}

impl Run {
    fn all(&self) -> Vec<Arc<Tenant>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Repeats a change until the run ends. The first failure ends the run.
    async fn until_over(&self, change: Change) -> Result<()> {
        let mut turn = 0;
        while !self.progress.is_over() {
            let changed = match change {
                Change::Rename => self.rename(turn).await,
                Change::Rotate => self.rotate(turn).await,
                Change::Suspend => self.suspend(turn).await,
                Change::ComeAndGo => self.come_and_go(turn).await,
            };
            if changed.is_err() {
                self.progress.end();
                return changed;
            }
            turn += 1;
        }
        Ok(())
    }

    /// The next question of a client, who asks for one tenant after the other in several ways.
    fn question(self: &Arc<Self>, dice: &mut u64) -> Question {
        let tenants = self.all();
        // A linear congruential generator makes the same questions in every run.
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = |bits: u32| Arc::clone(&tenants[(*dice >> bits) as usize % tenants.len()]);
        let (tenant, other) = (pick(33), pick(17));
        let request = match (*dice >> 60) % 3 {
            0 => wire::get("/api/orders", &format!("{}.example.com", tenant.id), &self.token),
            1 => wire::get("/api/orders", &format!("{}.some.other.example", tenant.id), &self.token),
            _ => {
                let host = format!("{}.example.com\r\nX-Tenant-ID: {}", other.id, tenant.id);
                wire::get("/api/orders", &host, &self.token)
            }
        };
        let (run, begun) = (Arc::clone(self), Instant::now());
        Question::new(request, move |answer| run.check(&tenant, answer, begun))
    }

    fn check(&self, tenant: &Tenant, answer: &wire::Answer, begun: Instant) -> Result<Answered> {
        let must_refuse = tenant.refuses(begun, Instant::now());
        let (id, json) = (tenant.id.as_str(), answer.json());
        if answer.status == 200 {
            ensure!(!must_refuse, "{id} was served {:?} after it had been stopped", begun.elapsed());
            let rows = json["orders"].as_array().filter(|rows| !rows.is_empty()).context("no rows")?;
            let own = |row: &Value| row["order_bid"] == id && row["shifu_bid"] == id && row["user_id"] == *self.user;
            ensure!(json["tenant_id"] == id && rows.iter().all(own), "{id} was asked, and answered: {}", answer.body);
            return Ok(Answered::Served);
        }
        ensure!(!answer.body.contains("order_bid"), "a refusal with rows: {}", answer.body);
        let code = json["error"].as_str().unwrap_or_default();
        if must_refuse {
            // The tenant is suspended or deleted, or was resumed a moment ago, which not every node knows yet.
            ensure!(
                matches!((answer.status, code), (403, "tenant_suspended") | (404, "tenant_not_found")),
                "{id}: {}",
                answer.body
            );
            add(&self.tally.refused);
            return Ok(Answered::Refused);
        }
        if tenant.steady || !matches!(answer.status, 403 | 404 | 503) {
            bail!("{id} answered {}: {}", answer.status, answer.body);
        }
        Ok(Answered::Refused)
    }

    /// Creates a tenant with one row that names it. From then on the clients request it.
    async fn create(&self, tenant: Arc<Tenant>) -> Result<()> {
        let id = &tenant.id;
        self.admin.create_active_tenant(id, Some(&format!("{id}.example.com")), SOON).await?;
        self.admin.put_member(id, &self.user, "admin").await?;
        let mut root = <sqlx::MySqlConnection as sqlx::Connection>::connect(&self.root).await?;
        let insert = format!(
            "INSERT INTO `ai_shifu_tenant_{id}`.order_orders
                 (order_bid, shifu_bid, user_id, payable_price, paid_price, status) VALUES (?, ?, ?, 1.00, 1.00, 502)"
        );
        sqlx::query(&insert).bind(id).bind(id).bind(&self.user).execute(&mut root).await?;
        add(&self.tally.created);
        self.tenants.write().unwrap_or_else(PoisonError::into_inner).push(tenant);
        Ok(())
    }

    async fn rename(&self, turn: u64) -> Result<()> {
        let all = self.all();
        let tenant = &all[turn as usize % (STEADY + CHANGING)];
        let body = json!({"tenant_name": format!("{} {turn}", tenant.id)});
        let reply = self.admin.request("PATCH", &format!("/admin/tenants/{}", tenant.id), Some(body), &[]).await?;
        // A suspended tenant can be renamed too.
        ensure!(reply.status == 200, "rename {}: {}", tenant.id, reply.text);
        add(&self.tally.renamed);
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(())
    }

    async fn rotate(&self, turn: u64) -> Result<()> {
        let id = format!("steady-{}", turn % STEADY as u64);
        let operation = world::rotate(&self.admin, &id).await?;
        self.admin.wait_for_operation(&operation, SOON).await?;
        add(&self.tally.rotated);
        Ok(())
    }

    async fn suspend(&self, turn: u64) -> Result<()> {
        let tenant = Arc::clone(&self.all()[STEADY + turn as usize % CHANGING]);
        self.command(&tenant, "POST", "/suspend", json!({"reason": "unpaid"})).await?;
        tenant.stopped();
        add(&self.tally.suspended);
        tokio::time::sleep(BOUND + Duration::from_millis(1500)).await;
        tenant.resuming();
        self.command(&tenant, "POST", "/resume", json!({})).await?;
        Ok(())
    }

    /// Creates a tenant. When there are enough, the oldest one is deleted, restored, deleted again and purged.
    async fn come_and_go(&self, turn: u64) -> Result<()> {
        self.create(Tenant::new(format!("passing-{turn}"), false)).await?;
        if self.all().len() <= STEADY + CHANGING + PASSING {
            return Ok(());
        }
        let tenant = Arc::clone(&self.all()[STEADY + CHANGING]);
        self.command(&tenant, "DELETE", "", Value::Null).await?;
        tenant.stopped();
        add(&self.tally.deleted);
        tokio::time::sleep(BOUND + Duration::from_millis(500)).await;
        tenant.resuming();
        self.command(&tenant, "POST", "/restore", json!({})).await?;
        add(&self.tally.restored);
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.command(&tenant, "DELETE", "", Value::Null).await?;
        tenant.stopped();
        let purge = self.command(&tenant, "POST", "/purge", json!({})).await?;
        let operation = purge["operation_id"].as_str().context("an operation")?;
        self.admin.wait_for_operation(operation, SOON).await?;
        add(&self.tally.purged);
        tokio::time::sleep(BOUND + Duration::from_millis(500)).await;
        self.tenants.write().unwrap_or_else(PoisonError::into_inner).retain(|known| !Arc::ptr_eq(known, &tenant));
        Ok(())
    }

    /// Gives a command, and repeats it while another operation of the tenant is in progress.
    async fn command(&self, tenant: &Tenant, method: &str, path: &str, body: Value) -> Result<Value> {
        let path = format!("/admin/tenants/{}{path}", tenant.id);
        wait::until_ok(SOON, &path, async || {
            let body = (!body.is_null()).then(|| body.clone());
            let reply = self.admin.request(method, &path, body, &[]).await?;
            ensure!(matches!(reply.status, 200 | 202), "{method} {path}: {}", reply.text);
            Ok(reply.json)
        })
        .await
    }
}
