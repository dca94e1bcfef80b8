//! Statistics equal an independent recount, for today and for past days, whatever fails or is killed meanwhile.

mod rows;

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use chrono::{Days, NaiveDate};
use harness::clients::Admin;
use harness::kill;
use harness::load::MostConnections;
use harness::servers::Server;
use harness::stack::Role;
use harness::stack::Stack;
use harness::wait;
use redis::AsyncCommands;
use rows::{check, make_cheaply, plant, recount};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TENANTS: [&str; 3] = ["big", "small", "empty"];

#[tokio::test]
async fn statistics_equal_a_recount_despite_faults() -> Result<()> {
    let options = world::without_nodes("stats-recount")?
        .with_env("provisioner", "STATISTICS_CONNECTIONS", "1")
        .with_env("provisioner", "FAILPOINTS", "collect.before_keep=slow:300");
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    for id in TENANTS.iter().chain(&["broken"]) {
        admin.create_active_tenant(id, None, SOON).await?;
    }
    let today = today(&stack).await?;
    plant(&stack, "big", 400, today).await?;
    plant(&stack, "small", 30, today).await?;
    let mut root = world::root(&stack).await?;
    sqlx::raw_sql("DROP TABLE ai_shifu_tenant_broken.learn_progress_records").execute(&mut root).await?;

    // Past days, with Redis killed in the middle.
    let (from, to) = (today - Days::new(40), today - Days::new(1));
    let body = json!({"from": from, "to": to});
    let asked = admin.post("/admin/stats/collections", body).await?;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let request = asked.json["request_id"].as_str().context("a request")?.to_owned();
    let mut system = world::system(&stack).await?;
    let rows = "SELECT COUNT(*) FROM saas_tenant_daily_statistics";
    wait::until(SOON, "the first tenant", async || world::number(&mut system, rows).await.ok().filter(|n| *n > 0))
        .await?;
    stack.redis.as_mut().context("an own Redis")?.kill9()?;
    let ended = ended(&admin, &request).await?;
    // Only the broken tenant fails. The default tenant is counted as well.
    assert_eq!(
        (&ended["status"], &ended["collected"], &ended["failed"]),
        (&json!("failed"), &json!(4), &json!(1)),
        "{ended}"
    );
    assert_eq!(ended["failures"][0]["tenant_id"], "broken", "{ended}");
    for tenant in TENANTS {
        for day in from.iter_days().take_while(|day| *day <= to) {
            check(&stack, tenant, day).await?;
        }
    }

    // Today, by the schedule, with Redis back and empty.
    stack.redis.as_mut().context("an own Redis")?.restart().await?;
    let run = stack.run(Role::ControlPlane, &["schedule", "run", "daily-statistics"], &Vec::new()).await?;
    let run: Value = serde_json::from_str(&run)?;
    self::ended(&admin, run["run_id"].as_str().context("a run")?).await?;
    for tenant in TENANTS {
        check(&stack, tenant, today).await?;
    }
    let mut redis = redis::Client::open(stack.urls.redis.as_str())?.get_multiplexed_async_connection().await?;
    let (notice, left): (String, i64) =
        (redis.get(format!("daily_stats:{today}")).await?, redis.ttl(format!("daily_stats:{today}")).await?);
    let notice: Value = serde_json::from_str(&notice)?;
    ensure!((604_000..=604_800).contains(&left), "{left} s");
    let figures = history(&admin, &format!("from={today}&to={today}&tenant_id=big")).await?;
    assert_eq!(notice["tenants"]["big"]["total_revenue"], figures["tenants"][0]["total_revenue"]);
    ensure!(notice["tenants"].get("broken").is_none() && notice["system"]["active_tenants"] == 5, "{notice}");

    // The live statistics contain what was written a moment ago.
    sqlx::raw_sql(
        "INSERT INTO ai_shifu_tenant_small.order_orders (order_bid, user_id, paid_price, status)
         VALUES ('now', 'new', 0.10, 502)",
    )
    .execute(&mut root)
    .await?;
    let live: Value = admin.get("/admin/tenants/small/stats").await?;
    assert_eq!((&live["tenant_id"], &live["live"]), (&json!("small"), &json!(true)), "{live}");
    let counted = recount(&mut root, "small", today).await?;
    let names = ["total_users", "active_users", "total_orders", "paid_orders", "total_revenue", "total_study_records"];
    for (name, counted) in names.iter().zip(&counted) {
        assert_eq!(live["stats"][name].to_string().trim_matches('"'), counted, "{name}: {live}");
    }
    let broken = admin.request("GET", "/admin/tenants/broken/stats", None, &[]).await?;
    assert_eq!((broken.status, broken.error()), (503, "tenant_unavailable"), "{}", broken.text);
    let unknown = admin.request("GET", "/admin/tenants/nobody/stats", None, &[]).await?;
    assert_eq!((unknown.status, unknown.error()), (404, "tenant_not_found"), "{}", unknown.text);

    history_is_complete(&admin, from, to).await?;
    for (query, code) in [
        ("from=2026-02-30", "invalid_from"),
        ("from=2026-02-02&to=2026-02-01", "invalid_from"),
        ("from=2020-01-01&to=2026-02-01", "invalid_from"),
        ("to=x", "invalid_to"),
        ("format=xml", "invalid_format"),
        ("cursor=x", "invalid_cursor"),
        ("tenant_id=A", "invalid_tenant_id"),
    ] {
        let reply = admin.request("GET", &format!("/admin/stats?{query}"), None, &[]).await?;
        assert_eq!((reply.status, reply.error()), (422, code), "{query}: {}", reply.text);
    }
    let future = json!({"from": today, "to": today + Days::new(1)});
    let reply = admin.post("/admin/stats/collections", future).await?;
    assert_eq!((reply.status, reply.error()), (422, "invalid_to"), "{}", reply.text);
    // Without the provisioner, the answer has the newest stored figures and says that they are old.
    stack.provisioners[0].stop().await?;
    let live: Value = admin.get("/admin/tenants/small/stats").await?;
    assert_eq!((&live["live"], &live["stats"]["paid_orders"].to_string()), (&json!(false), &counted[3]), "{live}");
    Ok(())
}

#[tokio::test]
async fn kills_of_leader_and_worker_count_nothing_twice() -> Result<()> {
    let options = world::without_nodes("stats-killed")?
        .with_env("control-plane", "FAILPOINTS", "schedule.asked=kill")
        .with_env("provisioner", "STATISTICS_CONNECTIONS", "1")
        .with_env("provisioner", "FAILPOINTS", "collect.recorded=kill")
        .with_env("provisioner-2", "FAILPOINTS", "");
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    for id in TENANTS {
        admin.create_active_tenant(id, None, SOON).await?;
    }
    let today = today(&stack).await?;
    plant(&stack, "big", 200, today).await?;
    let reply = admin.post("/admin/schedules/daily-statistics/run", json!({})).await?;
    let run = reply.json["run_id"].as_str().context("a run")?.to_owned();
    kill::happened(&mut stack.control_planes[0], "schedule.asked").await?;
    kill::happened(&mut stack.provisioners[0], "collect.recorded").await?;
    stack.add(Role::Provisioner).await?;
    stack.control_planes[0].restart(&[("FAILPOINTS", None)]).await?;
    let ended = ended(&admin, &run).await?;
    assert_eq!((&ended["status"], &ended["collected"]), (&json!("succeeded"), &json!(4)), "{ended}");
    ensure!(ended["attempts"].as_u64() > Some(1), "no provisioner was killed: {ended}");
    wait::until_ok(SOON, "the run to end", async || {
        let report: Value = admin.get("/admin/schedules").await?;
        let schedules = report["schedules"].as_array().context("schedules")?;
        let daily = schedules.iter().find(|schedule| schedule["name"] == "daily-statistics");
        let last = &daily.context("the schedule daily-statistics")?["last_run"];
        ensure!(last["run_id"] == run && last["status"] == "succeeded" && last["attempts"] == 2, "{last}");
        Ok(())
    })
    .await?;
    let mut system = world::system(&stack).await?;
    assert_eq!(world::number(&mut system, "SELECT COUNT(*) FROM saas_collections").await?, 1);
    let mut root = world::root(&stack).await?;
    for tenant in TENANTS {
        check(&stack, tenant, today).await?;
        let days =
            format!("SELECT COUNT(*) FROM ai_shifu_tenant_{tenant}.tenant_statistics WHERE stat_date = UTC_DATE()");
        assert_eq!(world::number(&mut root, &days).await?, 1, "{tenant}");
    }
    invariants::check(&stack).await
}

#[tokio::test]
#[ignore = "long: makes 1,000 tenants"]
async fn statistics_of_a_thousand_tenants_use_four_connections() -> Result<()> {
    let options = world::without_nodes("stats-thousand")?.with_env("provisioner", "STATISTICS_CONNECTIONS", "4");
    let stack = Stack::start(options).await?;
    let mut root = world::root(&stack).await?;
    make_cheaply(&mut root, 1000).await?;
    let every = Duration::from_millis(10);
    let sampler = MostConnections::sample(&stack.urls.root, "USER = 'provisioner'", every, 3).await?;
    let admin = stack.admin();
    let today = today(&stack).await?;
    for (what, days) in [("today", 0), ("31 days", 30)] {
        let begun = Instant::now();
        let body = json!({"from": today - Days::new(days), "to": today});
        let asked = admin.post("/admin/stats/collections", body).await?;
        let ended = ended(&admin, asked.json["request_id"].as_str().context("a request")?).await?;
        assert_eq!((&ended["collected"], &ended["failed"]), (&json!(1001), &json!(0)), "{ended}");
        eprintln!("1,001 tenants, {what}: {:.1} s", begun.elapsed().as_secs_f64());
    }
    // Besides the four, the provisioner has one connection for its checks and one for live statistics.
    let most = sampler.end().await?;
    ensure!((2..=6).contains(&most), "{most} connections");
    eprintln!("at most {most} connections of the administrator");
    let counted = format!("SELECT COUNT(*) FROM saas_tenant_daily_statistics WHERE stat_date = '{today}'");
    assert_eq!(world::number(&mut world::system(&stack).await?, &counted).await?, 1001);
    Ok(())
}

async fn today(stack: &Stack) -> Result<NaiveDate> {
    Ok(sqlx::query_scalar("SELECT UTC_DATE()").fetch_one(&mut world::system(stack).await?).await?)
}

/// Waits for the end of the only collection of a request.
async fn ended(admin: &Admin, request: &str) -> Result<Value> {
    wait::until_ok(Duration::from_secs(300), "the collection to end", async || {
        let found: Value = admin.get(&format!("/admin/stats/collections/{request}")).await?;
        let one = found["collections"][0].clone();
        ensure!(one["status"] == "succeeded" || one["status"] == "failed", "{one}");
        Ok(one)
    })
    .await
}

async fn history(admin: &Admin, query: &str) -> Result<Value> {
    admin.get(&format!("/admin/stats?{query}")).await
}

/// The pages of JSON and the CSV agree, and the days of the system are the sums of the tenants.
async fn history_is_complete(admin: &Admin, from: NaiveDate, to: NaiveDate) -> Result<()> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = history(admin, &format!("from={from}&to={to}&limit=7{cursor}")).await?;
        rows.extend(page["tenants"].as_array().cloned().unwrap_or_default());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    ensure!(rows.len() == 40 * 4, "{} rows", rows.len());
    let csv = admin.request("GET", &format!("/admin/stats?from={from}&to={to}&format=csv"), None, &[]).await?;
    ensure!(csv.header("content-type").is_some_and(|kind| kind.starts_with("text/csv")), "{:?}", csv.headers);
    let mut lines = csv.text.lines();
    let names: Vec<&str> = lines.next().context("a header")?.split(',').collect();
    for (row, line) in rows.iter().zip(lines.by_ref()) {
        for (name, value) in names.iter().zip(line.split(',')) {
            let same = row[name].to_string().trim_matches('"') == value || *name == "collected_at";
            ensure!(same, "{name}: {row} is not {line}");
        }
    }
    ensure!(lines.next().is_none(), "the CSV has more rows");
    let days = history(admin, &format!("from={from}&to={to}")).await?;
    let sum: u64 = rows.iter().filter_map(|row| row["daily_orders"].as_u64()).sum();
    let of_system = days["system"].as_array().context("days")?;
    let summed: u64 = of_system.iter().filter_map(|day| day["daily_orders"].as_u64()).sum();
    ensure!(of_system.len() == 40 && sum == summed && sum > 100, "{sum} is not {summed}");
    Ok(())
}
