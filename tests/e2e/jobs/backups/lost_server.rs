//! A database server of tenants is lost. Its tenants are restored on another server, which alone serves them even when
//! the lost one turns up again.

use super::{REFUSED, assert_equal, back_up, database, killed_at, run, sums, with_store};
use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::servers::Server;
use harness::stack::Stack;
use harness::wait;
use serde_json::{Value, json};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Executor};

/// Writes a row as the tenant, on whatever server it is.
async fn note(stack: &Stack, tenant: &str, key: &str) -> Result<()> {
    let mut own = world::login(stack, tenant).await?.connect().await?;
    let insert = "INSERT INTO tenant_config (config_key, config_value) VALUES (?, 'x')";
    sqlx::query(insert).bind(key).execute(&mut own).await?;
    Ok(())
}

#[tokio::test]
async fn tenants_of_a_lost_server_are_restored_on_another() -> Result<()> {
    let mut options = with_store(world::with_second_server("backup-lost")?)?;
    options.data_planes = 1;
    let mut stack = Stack::start(options).await?;
    let mut system = world::system(&stack).await?;
    let place = "UPDATE saas_database_servers SET accepts_tenants = (server_id = ?)";
    wait::until(SOON, "both servers to be known", async || {
        sqlx::query(place).bind("eu2").execute(&mut system).await.ok().filter(|changed| changed.rows_affected() > 0)?;
        let open = "SELECT COUNT(*) FROM saas_database_servers WHERE accepts_tenants = 1 AND server_id = 'eu2'";
        (world::number(&mut system, open).await.ok()? == 1).then_some(())
    })
    .await?;
    let admin = stack.admin();
    for id in ["acme", "beta", "gone", "bare"] {
        admin.create_active_tenant(id, Some(&format!("{id}.example.com")), SOON).await?;
        note(&stack, id, "kept").await?;
    }
    sqlx::query(place).bind("main").execute(&mut system).await?;
    ensure!(admin.post("/admin/tenants/beta/suspend", json!({"reason": "unpaid"})).await?.status == 200);
    ensure!(admin.request("DELETE", "/admin/tenants/gone", None, &[]).await?.status == 202);
    world::idle(&stack).await?;
    for id in ["acme", "beta", "gone"] {
        back_up(&stack, id).await?;
    }
    let before = sums(&stack.more_servers["eu2"].url(), "acme").await?;
    let former = world::login(&stack, "acme").await?;
    note(&stack, "acme", "after the backup").await?;
    let (_, token) = world::user(&admin, "ann", &[("acme", "admin")]).await?;
    let api = stack.tenant_api(0);
    let ask = async || api.get("acme.example.com", &token, "/api/orders").await.map(|reply| reply.status);
    wait::until(SOON, "acme to be served", async || ask().await.ok().filter(|status| *status == 200)).await?;
    let refused = run(&stack, &["restore", "acme", "--server", "main"], &[]).await?.expect(REFUSED)?;
    ensure!(refused.errors.contains("eu2 answers") && refused.errors.contains("move"), "{}", refused.errors);

    stack.more_servers.get_mut("eu2").context("eu2")?.kill9()?;
    // This job can neither finish nor be undone while the server is away.
    let stuck = world::rotate(&admin, "acme").await?;
    stack.provisioners[0].stop().await?;
    for point in ["load_backup.before", "load_backup.after", "relocate.before", "relocate.after", "settle.after"] {
        let args = ["restore", "acme", "--server", "main"];
        killed_at(&stack, &args, &format!("restore_elsewhere.{point}")).await?;
        let tenant: Value = admin.get("/admin/tenants/acme").await?;
        let there = matches!(point, "relocate.after" | "settle.after");
        ensure!(tenant["database"]["server"] == if there { "main" } else { "eu2" }, "{point}: {tenant}");
        ensure!(there || tenant["database"]["moving_to"] == "main", "{point}: {tenant}");
    }
    let done = run(&stack, &["restore", "acme", "--server", "main", "--json"], &[]).await?.expect(0)?;
    ensure!(done.json["state"] == "active", "{}", done.json);
    assert_equal(&before, &sums(&stack.urls.root, "acme").await?, "on the other server")?;
    wait::until(SOON, "acme to be served again", async || ask().await.ok().filter(|status| *status == 200)).await?;
    let ended = admin.operation(&stuck).await?;
    ensure!(ended.status == "failed" && ended.error.as_deref().unwrap_or_default().contains("given up"), "{ended:?}");
    let again = run(&stack, &["restore", "acme", "--server", "main"], &[]).await?.expect(REFUSED)?;
    ensure!(again.errors.contains("is on main already"), "{}", again.errors);

    stack.provisioners[0].start_again(&[])?;
    let all = run(&stack, &["restore", "--all-of", "eu2", "--server", "main", "--json"], &[]).await?.expect(1)?;
    let outcome = |id: &str| all.json.as_array().and_then(|all| all.iter().find(|one| one["tenant_id"] == id)).cloned();
    for id in ["beta", "gone"] {
        ensure!(outcome(id).is_some_and(|one| one["error"].is_null() && one["taken_at"].is_string()), "{}", all.json);
    }
    let bare = outcome("bare").context("bare")?;
    ensure!(bare["error"].as_str().unwrap_or_default().contains("no backup"), "{bare}");
    for (id, state) in [("beta", "suspended"), ("gone", "deleted")] {
        ensure!(admin.tenant(id).await?.state == state);
        ensure!(world::login(&stack, id).await?.connect().await.is_err(), "{id} logs in");
    }
    ensure!(admin.post("/admin/tenants/beta/resume", json!({})).await?.status == 200);
    ensure!(admin.post("/admin/tenants/gone/restore", json!({})).await?.status < 300);
    world::idle(&stack).await?;
    for id in ["beta", "gone"] {
        note(&stack, id, "on the other server").await?;
    }

    // The server comes back. It serves none of these tenants, and the audit names what it still holds.
    stack.more_servers.get_mut("eu2").context("eu2")?.restart().await?;
    let mut lost = stack.more_servers["eu2"].url().parse::<MySqlConnectOptions>()?.connect().await?;
    let key = "SELECT COUNT(*) FROM ai_shifu_tenant_acme.tenant_config WHERE config_key = 'after the backup'";
    ensure!(world::number(&mut lost, key).await? == 1, "the tenant's login reads the former data on the lost server");
    ensure!(ask().await? == 200);
    let mut here = world::login(&stack, "acme").await?.connect().await?;
    let key = "SELECT COUNT(*) FROM tenant_config WHERE config_key = 'after the backup'";
    ensure!(world::number(&mut here, key).await? == 0, "old and new data are mixed");
    world::idle(&stack).await?;
    let report = crate::operations::audit::findings(&admin, true).await?;
    for id in ["acme", "beta", "gone"] {
        ensure!(report.iter().any(|(kind, of)| kind == "database_orphan" && *of == database(id)), "{report:?}");
    }
    ensure!(!report.iter().any(|(_, of)| of.contains("bare")), "{report:?}");
    ensure!(former.connect().await.is_err(), "the tenant's account on the lost server still exists");
    world::login(&stack, "bare").await?.connect().await?;
    for id in ["acme", "beta", "gone"] {
        lost.execute(sqlx::raw_sql(&format!("DROP DATABASE `{}`", database(id)))).await?;
    }
    crate::operations::audit::finds_nothing(&admin).await?;
    invariants::check(&stack).await
}
