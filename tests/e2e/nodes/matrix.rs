//! The isolation matrix: every form of naming a tenant × every route × every kind of caller. The test knows the exact
//! answer to each, and no caller reads another tenant's row.
//!
//! Every tenant's database holds rows about *every* user, also about users of other tenants, and each row names its
//! tenant. So a request that is led to the wrong database shows it.

mod callers;
mod forms;
mod routes;

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use callers::{Caller, Member, callers, plant};
use forms::{Form, Means, forms};
use harness::clients::wire::{Answer, Wire};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use routes::{About, ROUTES, Route, every_route_is_listed};
use serde_json::json;
use std::collections::BTreeSet;

const TENANTS: [&str; 3] = ["t1", "t2", "default"];

impl Route {
    /// An order of the caller's own tenant. Wherever it is written, it shows who wrote it.
    fn body(&self, caller: &Caller) -> String {
        let course = format!("{}made", canary(caller.member.as_ref().map_or("t1", |member| member.tenant)));
        match (self.method, self.about) {
            ("POST", About::Old) => json!({"shifu_id": course, "price": 1}).to_string(),
            ("POST", _) => json!({"shifu_bid": course, "payable_price": "1.00"}).to_string(),
            _ => String::new(),
        }
    }
}

#[tokio::test]
async fn no_form_of_request_reads_another_tenants_row() -> Result<()> {
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
        // Forms that do not depend on the switch are asked once.
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

/// The answer that a request must get.
struct Expected {
    status: u16,
    code: &'static str,
    /// The tenant that the answer names.
    tenant: Option<&'static str>,
    /// The tenant whose rows the answer contains.
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

/// The text in every row of a tenant.
fn canary(tenant: &str) -> String {
    format!("canary-{tenant}-")
}

/// The users that a caller asks about: one of the caller's own tenant and one of another.
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

/// Sets the answer to unknown hosts, and waits until every node gives it.
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
