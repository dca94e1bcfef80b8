//! A domain serves once a DNS record proves that it is the tenant's. The test has a real DNS server.

use crate::invariants;
use crate::tenants::dns::{Dns, Says};
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::{Admin, Reply};
use harness::stack::Role;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};
use std::time::Duration;

/// The bound for all knowledge of nodes, plus what a busy machine may take.
const BOUND: Duration = Duration::from_millis(2500);

async fn start(name: &str, nodes: usize) -> Result<(Stack, Dns)> {
    let dns = Dns::start().await?;
    let mut options = StackOptions::for_test(name)?;
    options.data_planes = nodes;
    for (setting, value) in [
        ("DOMAIN_VERIFICATION", "required"),
        ("DOMAIN_VERIFICATION_EXEMPT", "saas.example"),
        ("DNS_RESOLVER", &dns.address.to_string()),
        ("DNS_TIMEOUT", "1"),
        ("SCHEDULE_DOMAIN_VERIFICATION", ""),
    ] {
        options = options.with_env("control-plane", setting, value);
    }
    Ok((Stack::start(options).await?, dns))
}

async fn ask(admin: &Admin, tenant: &str, domain: &str) -> Result<Reply> {
    admin.post(&format!("/admin/tenants/{tenant}/domains"), json!({"domain": domain})).await
}

async fn verify(admin: &Admin, tenant: &str, domain: &str) -> Result<Reply> {
    admin.post(&format!("/admin/tenants/{tenant}/domains/{domain}/verify"), json!({})).await
}

/// The name and value of the record to set.
fn record(asked: &Value) -> (String, String) {
    let text = |name: &str| asked["record"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(asked["record"]["type"], "TXT", "{asked}");
    (text("name"), text("value"))
}

#[tokio::test]
async fn a_domain_serves_once_its_dns_record_is_seen() -> Result<()> {
    let (stack, dns) = start("domain-proof", 1).await?;
    let admin = stack.admin();
    assert_eq!(
        admin.tenant("default").await?.domains.len(),
        1,
        "a domain that an administrator adds as proven needs no proof"
    );

    // The domain is requested at creation. The tenant is made, and its domain waits.
    let body = json!({"tenant_id": "acme", "tenant_name": "Acme", "tenant_domain": "Learn.ACME.com."});
    let created: Value = admin.post("/admin/tenants", body).await?.expect(202)?;
    let (name, value) = record(&created["pending_domain"]);
    assert_eq!((name.as_str(), value.len()), ("_ai-shifu-challenge.learn.acme.com", 32));
    assert_eq!((&created["tenant"]["tenant_domain"], &created["tenant"]["domains"]), (&Value::Null, &json!([])));
    admin.wait_for_state("acme", "active", SOON).await?;
    let (_, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    let api = stack.tenant_api(0);
    let status = async |host: &str| api.get(host, &token, "/api/orders").await.map(|reply| reply.status);
    assert_eq!(status("learn.acme.com").await?, 403, "the unproven domain does not serve yet");

    let unproven = async |reason: &str| -> Result<Reply> {
        let refused = verify(&admin, "acme", "learn.acme.com").await?;
        let answer = (refused.status, refused.error(), refused.json["reason"].as_str());
        ensure!(answer == (409, "domain_unverified", Some(reason)), "{}", refused.text);
        Ok(refused)
    };
    unproven("no_record").await?;
    dns.say(&name, Says::NoSuchRecord);
    unproven("no_record").await?;
    dns.say_text(&name, &value.to_uppercase());
    let refused = unproven("wrong_value").await?;
    assert_eq!(refused.json["found"], json!([value.to_uppercase()]), "a record that differs in case proves nothing");
    assert_eq!(refused.json["record"]["value"], json!(value));
    for silence in [Says::Failure, Says::Nothing] {
        dns.say(&name, silence.clone());
        let refused = verify(&admin, "acme", "learn.acme.com").await?;
        let answer = (refused.status, refused.error(), refused.json["reason"].as_str());
        assert_eq!(answer, (503, "unavailable", Some("unanswered")), "{silence:?}: {}", refused.text);
        assert!(refused.header("retry-after").is_some());
    }
    // The record stands beside another one and is split into two strings.
    let halves = vec![value[..10].to_owned(), value[10..].to_owned()];
    dns.say(&name, Says::Texts(vec![vec!["v=spf1 -all".into()], halves]));
    for spelling in ["LEARN.acme.com.", "learn.acme.com"] {
        let proven = verify(&admin, "acme", spelling).await?;
        let answer = (proven.status, &proven.json["verified"], &proven.json["primary"]);
        assert_eq!(answer, (200, &json!(true), &json!(true)), "{}", proven.text);
    }
    assert_eq!(admin.tenant("acme").await?.tenant_domain.as_deref(), Some("learn.acme.com"));
    wait::until(BOUND, "the node to serve it", async || {
        status("learn.acme.com").await.ok().filter(|status| *status == 200)
    })
    .await?;

    // The former tenant takes its reserved domain back without a proof.
    let removed = admin.request("DELETE", "/admin/tenants/acme/domains/learn.acme.com", None, &[]).await?;
    assert_eq!(removed.status, 204);
    let back = ask(&admin, "acme", "learn.acme.com").await?;
    assert_eq!((back.status, &back.json["verified"]), (201, &json!(true)), "{}", back.text);
    // A tenant's own name below the installation's domain needs no proof. Another tenant's name does.
    assert_eq!(ask(&admin, "acme", "acme.saas.example").await?.status, 201);
    for domain in ["beta.saas.example", "beta.acme.saas.example"] {
        assert_eq!(ask(&admin, "acme", domain).await?.status, 202, "{domain}");
    }
    assert_eq!(ask(&admin, "acme", "saas.example").await?.status, 202);
    invariants::check(&stack).await
}

#[tokio::test]
async fn spellings_share_a_request_and_the_first_proof_wins() -> Result<()> {
    let (stack, dns) = start("domain-race", 0).await?;
    let admin = stack.admin();
    for tenant in ["acme", "beta"] {
        let created = admin.create_tenant(tenant, tenant, None).await?;
        admin.wait_for_operation(&created.operation_id, SOON).await?;
    }
    let events = async || -> Result<Vec<String>> {
        Ok(admin.events("acme").await?.into_iter().map(|event| event.kind).collect())
    };

    // A repeated request in any spelling keeps the record to set.
    let first = ask(&admin, "acme", "shop.example.com").await?;
    assert_eq!((first.status, &first.json["verified"]), (202, &json!(false)), "{}", first.text);
    for twin in ["SHOP.example.com", "shop.example.com.", "ｓｈｏｐ．example．com"] {
        assert_eq!(ask(&admin, "acme", twin).await?.json["record"], first.json["record"], "{twin}");
    }
    assert_eq!(events().await?.iter().filter(|kind| *kind == "tenant.domain_requested").count(), 1);
    let foreign = ask(&admin, "acme", "学校.example").await?;
    assert_eq!(record(&foreign.json).0, "_ai-shifu-challenge.xn--48s290a.example");
    let listed: Value = admin.get("/admin/tenants/acme/domains").await?;
    assert_eq!(listed["pending"].as_array().map(Vec::len), Some(2), "{listed}");
    let removed = admin.request("DELETE", "/admin/tenants/acme/domains/学校.example", None, &[]).await?;
    assert_eq!(removed.status, 204);
    assert_eq!(verify(&admin, "acme", "学校.example").await?.error(), "domain_not_found");
    assert_eq!(verify(&admin, "acme", "never.example").await?.error(), "domain_not_found");

    // Two tenants request one domain, both records exist, and both verify at once.
    let second = ask(&admin, "beta", "shop.example.com").await?;
    let ((name, of_acme), (_, of_beta)) = (record(&first.json), record(&second.json));
    assert_ne!(of_acme, of_beta);
    dns.say(&name, Says::Texts(vec![vec![of_acme], vec![of_beta]]));
    let (one, other) =
        tokio::join!(verify(&admin, "acme", "shop.example.com"), verify(&admin, "beta", "shop.example.com"));
    let (one, other) = (one?, other?);
    let (winner, loser) = if one.status == 200 { (&one, &other) } else { (&other, &one) };
    assert_eq!((winner.status, loser.status, loser.error()), (200, 409, "domain_taken"), "{} {}", one.text, other.text);
    let lost = if one.status == 200 { "beta" } else { "acme" };
    assert_eq!(ask(&admin, lost, "shop.example.com").await?.error(), "domain_taken");

    // The schedule finds records itself, and continues past the request that lost.
    let asked = ask(&admin, "acme", "later.example.com").await?;
    let (name, value) = record(&asked.json);
    dns.say_text(&name, &value);
    run_schedule(&admin).await?;
    let registered =
        admin.events("acme").await?.into_iter().rev().find(|event| {
            event.kind == "tenant.domain_registered" && event.data["domain"] == json!("later.example.com")
        });
    assert_eq!(registered.context("the domain was registered")?.actor, "schedule:domain-verification");

    // The test makes the requests a week older in the log and rebuilds all rows from it.
    ask(&admin, "acme", "old.example.com").await?;
    let shorter = "UPDATE saas_events SET data = REPLACE(data, '\"valid_days\":7', '\"valid_days\":0')";
    sqlx::query(shorter).execute(&mut world::system(&stack).await?).await?;
    let migrator = vec![("SYSTEM_DB_URL".to_owned(), stack.urls.system.migrator.clone())];
    stack.run(Role::ControlPlane, &["rebuild"], &migrator).await?;
    assert_eq!(verify(&admin, "acme", "old.example.com").await?.error(), "domain_not_found");
    let second = ask(&admin, "acme", "old.example.com").await?;
    assert_eq!(second.status, 202, "{}", second.text);
    run_schedule(&admin).await?;
    let all = events().await?;
    assert!(all.iter().any(|kind| kind == "tenant.domain_request_expired"), "{all:?}");
    let pending: Value = admin.get("/admin/tenants/acme/domains").await?;
    let (mut waiting, domains) = (Vec::new(), pending["pending"].as_array().cloned().unwrap_or_default());
    waiting.extend(domains.iter().filter_map(|domain| domain["domain"].as_str()));
    assert_eq!(waiting, ["old.example.com"], "only the domain that was requested again");
    let of_beta: Value = admin.get("/admin/tenants/beta/domains").await?;
    assert_eq!(of_beta["pending"], json!([]));
    stack.run(Role::ControlPlane, &["rebuild", "--check"], &migrator).await.map(drop)
}

async fn run_schedule(admin: &Admin) -> Result<()> {
    let asked: Value = admin.post("/admin/schedules/domain-verification/run", json!({})).await?.expect(202)?;
    wait::until_ok(SOON, "the run to end", async || {
        let report: Value = admin.get("/admin/schedules").await?;
        let schedules = report["schedules"].as_array().cloned().unwrap_or_default();
        let ours = schedules.iter().find(|schedule| schedule["name"] == "domain-verification");
        let last = ours.map(|schedule| schedule["last_run"].clone()).unwrap_or_default();
        ensure!(last["run_id"] == asked["run_id"] && !last["ended_at"].is_null(), "{last}");
        ensure!(last["status"] == "succeeded", "{last}");
        Ok(())
    })
    .await
}
