//! The isolation matrix: every form of naming a tenant × every route × every kind of caller, with the exact answer to
//! each, and nobody reads another tenant's row.
//!
//! Every tenant's database holds rows about *every* user, also about users of other tenants, and each row bears the name
//! of its tenant: whoever is led to the wrong database reads something there, and is found out.

mod forms;

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use forms::{Form, Means, forms};
use harness::clients::wire::{Answer, Wire};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};
use sqlx::Executor;
use std::collections::BTreeSet;

const TENANTS: [&str; 3] = ["t1", "t2", "default"];

/// Whose answer it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// The tenant: any member may ask.
    Tenant,
    /// The user in the path: themselves, admins and viewers may ask.
    User,
    /// The tenant: members who may change something make an order, whose course names the tenant they belong to.
    NewOrder,
    /// The default tenant, whatever the request names, in the envelope of the old application.
    Old,
    /// No tenant at all: the process itself.
    Process,
}

struct Route {
    method: &'static str,
    path: &'static str,
    about: About,
    /// Whether rows of the tenant's database are in the answer.
    rows: bool,
}

const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/api/orders", about: About::Tenant, rows: true },
    Route { method: "POST", path: "/api/orders", about: About::NewOrder, rows: true },
    Route { method: "GET", path: "/api/config", about: About::Tenant, rows: true },
    Route { method: "GET", path: "/api/me", about: About::Tenant, rows: false },
    Route { method: "GET", path: "/api/users/{user_id}", about: About::User, rows: false },
    Route { method: "GET", path: "/api/users/{user_id}/orders", about: About::User, rows: true },
    Route { method: "GET", path: "/api/users/{user_id}/shifus", about: About::User, rows: true },
    Route { method: "GET", path: "/api/users/{user_id}/activities", about: About::User, rows: true },
    Route { method: "GET", path: "/api/users/{user_id}/coupons", about: About::User, rows: true },
    Route { method: "POST", path: "/api/legacy/orders", about: About::Old, rows: false },
    Route { method: "GET", path: "/api/legacy/user/{user_id}/orders", about: About::Old, rows: true },
    Route { method: "GET", path: "/api/legacy/user/{user_id}/study_progress", about: About::Old, rows: false },
    Route { method: "GET", path: "/api/legacy/coupons/user/{user_id}", about: About::Old, rows: true },
    Route { method: "GET", path: "/api/legacy/shifu/{shifu_id}", about: About::Old, rows: true },
    Route { method: "GET", path: "/livez", about: About::Process, rows: false },
    Route { method: "GET", path: "/readyz", about: About::Process, rows: false },
    Route { method: "GET", path: "/metrics", about: About::Process, rows: false },
];

impl Route {
    /// An order of the caller's own tenant: wherever it is written, it says who wrote it.
    fn body(&self, caller: &Caller) -> String {
        let course = format!("{}made", canary(caller.member.as_ref().map_or("t1", |member| member.tenant)));
        match (self.method, self.about) {
            ("POST", About::Old) => json!({"shifu_id": course, "price": 1}).to_string(),
            ("POST", _) => json!({"shifu_bid": course, "payable_price": "1.00"}).to_string(),
            _ => String::new(),
        }
    }
}

/// Who asks.
struct Caller {
    name: &'static str,
    /// `None`: a token that nobody has, or none.
    member: Option<Member>,
    token: Option<String>,
}

#[derive(Clone)]
struct Member {
    tenant: &'static str,
    user_id: String,
    sees_all: bool,
    changes: bool,
}

#[tokio::test]
async fn nobody_reads_another_tenants_row_however_they_ask() -> Result<()> {
    let mut options = StackOptions::for_test("matrix")?.with_env("data-plane-2", "TRUSTED_PROXIES", "127.0.0.1");
    options.data_planes = 2;
    let stack = Stack::start(options).await?;
    every_route_is_listed(&stack).await?;
    let callers = callers(&stack).await?;
    for tenant in TENANTS {
        plant(&stack, tenant, &callers).await?;
    }
    let forms = forms();
    let different: BTreeSet<_> = forms.iter().map(|form| form.name.as_str()).collect();
    ensure!(different.len() == forms.len() && forms.len() >= 60, "{} forms, some of them twice", forms.len());
    let mut wires = [0, 1].map(|node| Wire::new(stack.data_planes[node].url()));
    let (mut asked, mut with_rows, mut wrong) = (0, 0, Vec::new());
    for (switch, default) in [("default", Some("default")), ("reject", None)] {
        switch_unknown_hosts(&stack, switch, &callers).await?;
        // What does not depend on the switch is asked once.
        for form in forms.iter().filter(|form| default.is_some() || form.means == Means::Nobody) {
            for route in ROUTES {
                for caller in &callers {
                    for target in targets(route, caller, &callers) {
                        let path = route
                            .path
                            .replace("{shifu_id}", "s")
                            .replace("{user_id}", target.map_or("", |target| &target.user_id));
                        let request = form.request(route.method, &path, caller.token.as_deref(), &route.body(caller));
                        let answer = wires[usize::from(form.by_proxy)]
                            .send(&request)
                            .await
                            .with_context(|| format!("{} {path}", form.name))?;
                        asked += 1;
                        let expected = expected(form, route, caller, target, default);
                        with_rows += usize::from(expected.rows_of.is_some());
                        if let Err(error) = expected.check(&answer) {
                            wrong.push(format!("{} as {}, {path}: {error}", form.name, caller.name));
                        }
                    }
                }
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {asked} answers are wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
    ensure!(with_rows > 500, "only {with_rows} of {asked} answers had rows that could have been the wrong ones");
    Ok(())
}

/// The answer as it must be.
struct Expected {
    status: u16,
    code: &'static str,
    /// The tenant that it names.
    tenant: Option<&'static str>,
    /// The tenant whose rows are in it.
    rows_of: Option<&'static str>,
}

fn expected(
    form: &Form,
    route: &Route,
    caller: &Caller,
    target: Option<&Member>,
    default: Option<&'static str>,
) -> Expected {
    let refused = |status, code| Expected { status, code, tenant: None, rows_of: None };
    if form.means == Means::Broken {
        return refused(400, "");
    }
    if route.about == About::Process {
        return refused(200, "");
    }
    if route.about == About::Old {
        return match &caller.member {
            None => refused(200, if caller.token.is_some() { "1005" } else { "1004" }),
            Some(member) if member.tenant != "default" => refused(200, "1001"),
            Some(_) => Expected { status: 200, code: "", tenant: None, rows_of: route.rows.then_some("default") },
        };
    }
    if let Means::Refused(status, code) = form.means {
        return refused(status, code);
    }
    let Some(member) = &caller.member else { return refused(401, "unauthenticated") };
    let tenant = match form.means {
        Means::Tenant(tenant) => Some(tenant),
        Means::Nobody => default,
        _ => None,
    };
    let Some(tenant) = tenant else { return refused(404, "tenant_not_found") };
    if member.tenant != tenant {
        return refused(403, "user_not_in_tenant");
    }
    if let Some(target) = target {
        if target.user_id != member.user_id && !member.sees_all {
            return refused(403, "admin_required");
        }
        if target.tenant != tenant {
            return refused(403, "user_not_in_tenant");
        }
    }
    let status = match route.about {
        About::NewOrder if !member.changes => return refused(403, "admin_required"),
        About::NewOrder => 201,
        _ => 200,
    };
    Expected { status, code: "", tenant: Some(tenant), rows_of: route.rows.then_some(tenant) }
}

impl Expected {
    fn check(&self, answer: &Answer) -> Result<()> {
        let Answer { status, body } = answer;
        let json = answer.json();
        let number = json["code"].as_i64().filter(|number| *number != 0).map(|number| number.to_string());
        let code = number.as_deref().or(json["error"].as_str()).unwrap_or_default();
        ensure!((*status, code) == (self.status, self.code), "{status} {code}, not {} {}", self.status, self.code);
        let tenant = json["tenant_id"].as_str();
        ensure!(tenant == self.tenant, "it names {tenant:?}, not {:?}", self.tenant);
        for tenant in TENANTS {
            let shown = body.contains(&canary(tenant));
            ensure!(shown == (self.rows_of == Some(tenant)), "rows of {tenant} in it: {shown}: {body}");
        }
        Ok(())
    }
}

/// What every row of a tenant bears.
fn canary(tenant: &str) -> String {
    format!("canary-{tenant}-")
}

/// Whom a caller asks about: every user of the path's kind is tried, of their own tenant and of another one.
fn targets<'c>(route: &Route, caller: &Caller, callers: &'c [Caller]) -> Vec<Option<&'c Member>> {
    if !route.path.contains("{user_id}") {
        return vec![None];
    }
    let members = || callers.iter().filter_map(|caller| caller.member.as_ref());
    let of = |tenant: &str| members().find(|member| member.tenant == tenant);
    let own = caller.member.as_ref().map_or("t1", |member| member.tenant);
    let other = if own == "t2" { "t1" } else { "t2" };
    vec![of(own), of(other)]
}

async fn callers(stack: &Stack) -> Result<Vec<Caller>> {
    let admin = stack.admin();
    for (tenant, domains) in
        [("t1", ["t1.example.com", "bücher.example"]), ("t2", ["t2.example.com", "bucher.example"])]
    {
        // The largest plan: it is not its limits that are looked at.
        let body = json!({"tenant_id": tenant, "tenant_name": tenant, "tenant_domain": domains[0],
                          "plan_type": "enterprise"});
        ensure!(admin.post("/admin/tenants", body).await?.status == 202);
        admin.wait_for_state(tenant, "active", SOON).await?;
        let path = format!("/admin/tenants/{tenant}/domains");
        ensure!(admin.post(&path, json!({"domain": domains[1]})).await?.status == 201);
    }
    let mut callers = vec![
        Caller { name: "nobody", member: None, token: None },
        Caller { name: "somebody with a forged token", member: None, token: Some("0".repeat(64)) },
    ];
    for (name, tenant, role) in [
        ("a user of t1", "t1", "user"),
        ("a viewer of t1", "t1", "viewer"),
        ("an admin of t1", "t1", "admin"),
        ("an admin of t2", "t2", "admin"),
        ("an admin of the default tenant", "default", "admin"),
    ] {
        let (user_id, token) = world::user(&admin, &format!("{tenant}-{role}"), &[(tenant, role)]).await?;
        let member = Member { tenant, user_id, sees_all: role != "user", changes: role != "viewer" };
        for node in 0..stack.data_planes.len() {
            let (api, host) = (stack.tenant_api(node), format!("{tenant}.x.example"));
            wait::until(SOON, "a member to be known to a node", async || {
                api.get(&host, &token, "/api/me").await.ok().filter(|reply| reply.status == 200)
            })
            .await?;
        }
        callers.push(Caller { name, member: Some(member), token: Some(token) });
    }
    Ok(callers)
}

/// Rows of every table that is read, about every user.
async fn plant(stack: &Stack, tenant: &str, callers: &[Caller]) -> Result<()> {
    let (mut root, canary) = (world::root(stack).await?, canary(tenant));
    root.execute(format!("USE `ai_shifu_tenant_{tenant}`").as_str()).await?;
    let course = format!(
        "INSERT INTO shifu_published_shifus (shifu_bid, title, description) VALUES ('s', '{canary}course', '');
         INSERT INTO active (active_id, active_name, active_desc, active_type) VALUES ('a', '{canary}promotion', '', 1);
         UPDATE tenant_config SET config_value = '{canary}name' WHERE config_key = 'tenant.name'"
    );
    root.execute(course.as_str()).await?;
    for (number, member) in callers.iter().filter_map(|caller| caller.member.as_ref()).enumerate() {
        let user = &member.user_id;
        let rows = format!(
            "INSERT INTO order_orders (order_bid, shifu_bid, user_id, payable_price, paid_price, status)
                 VALUES ('{canary}{number}', 's', '{user}', 1.00, 1.00, 502);
             INSERT INTO active_user_record (active_id, user_id, status) VALUES ('a', '{user}', 1);
             INSERT INTO promo_coupon_usages (coupon_bid, name, user_bid, code, value, status)
                 VALUES ('c', '{canary}coupon', '{user}', 'CODE', 1.00, 902)"
        );
        root.execute(rows.as_str()).await?;
    }
    Ok(())
}

/// Sets what answers for a host nobody owns, and waits until every node does it.
async fn switch_unknown_hosts(stack: &Stack, to: &str, callers: &[Caller]) -> Result<()> {
    sqlx::query("UPDATE saas_system_config SET config_value = ? WHERE config_key = 'routing.unknown_host'")
        .bind(to)
        .execute(&mut world::system(stack).await?)
        .await?;
    let of_default = callers.iter().rev().find_map(|caller| caller.token.as_deref()).unwrap_or_default();
    let status = if to == "default" { 200 } else { 404 };
    for node in 0..stack.data_planes.len() {
        let api = stack.tenant_api(node);
        wait::until(SOON, "the switch to reach a node", async || {
            api.get("nobody.example", of_default, "/api/orders").await.ok().filter(|reply| reply.status == status)
        })
        .await?;
    }
    Ok(())
}

/// A route that is not in [`ROUTES`] is a route that nobody has thought about here. They are read from the node's own
/// document of its API, which the router makes from the routes.
async fn every_route_is_listed(stack: &Stack) -> Result<()> {
    let reply = stack.tenant_api(0).request("GET", "/openapi.json", &[]).await?;
    let document: Value = reply.expect(200)?;
    let mut served = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().context("paths")? {
        for method in methods.as_object().context("methods")?.keys() {
            served.insert((method.to_uppercase(), path.clone()));
        }
    }
    let listed: BTreeSet<_> = ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    let of_tenants = served.iter().filter(|(_, path)| path.starts_with("/api/")).count();
    ensure!(of_tenants >= 8, "the document has hardly any routes");
    let missing: Vec<_> = served.difference(&listed).collect();
    ensure!(missing.is_empty(), "not in the matrix: {missing:?}");
    Ok(())
}
