//! A round of checks logs in to the databases that no node is served from, and to a tenth of the others.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::stack::{Stack, StackOptions};
use harness::wait;
use sqlx::{Executor, MySqlConnection};
use std::time::Duration;

/// A tenant in use has one turn in so many rounds.
const SHARES: i64 = 10;
/// For a number of rounds on a busy machine.
const ROUNDS: Duration = Duration::from_secs(120);

async fn rounds(system: &mut MySqlConnection) -> Result<i64> {
    world::number(system, "SELECT CAST(rounds_ended AS SIGNED) FROM saas_health_rounds WHERE server_id = 'main'").await
}

async fn account(system: &mut MySqlConnection, tenant: &str) -> Result<String> {
    let account = "SELECT db_username FROM saas_tenant_databases WHERE tenant_id = ?";
    Ok(sqlx::query_scalar(account).bind(tenant).fetch_one(system).await?)
}

/// Lets the reports of nodes stay fresh for as long as the test needs, as they do while requests come.
async fn stay_served(system: &mut MySqlConnection) -> Result<()> {
    system.execute("UPDATE saas_served_tenants SET served_at = UTC_TIMESTAMP(6)").await?;
    Ok(())
}

/// How many rounds end until the tenant's check says this.
async fn rounds_until(system: &mut MySqlConnection, tenant: &str, reason: &str) -> Result<i64> {
    let begun = rounds(system).await?;
    wait::until_ok(ROUNDS, &format!("{tenant}: {reason:?}"), async || {
        stay_served(system).await?;
        let found: Option<(String, Option<String>)> =
            sqlx::query_as("SELECT status, reason FROM saas_tenant_health WHERE tenant_id = ?")
                .bind(tenant)
                .fetch_optional(&mut *system)
                .await?;
        let (status, found) = found.with_context(|| format!("{tenant} was not checked"))?;
        ensure!((status == "healthy") == reason.is_empty(), "{status}");
        let found = found.unwrap_or_default();
        ensure!(found.contains(reason) && found.is_empty() == reason.is_empty(), "{found:?}");
        Ok(rounds(system).await? - begun)
    })
    .await
}

#[tokio::test]
async fn tenants_in_use_are_logged_in_to_in_every_tenth_round() -> Result<()> {
    let options = StackOptions::for_test("health-share")?.with_env("provisioner", "HEALTH_EVERY", "1");
    let stack = Stack::start(options).await?;
    let (admin, api, mut system, mut root) =
        (stack.admin(), stack.tenant_api(0), world::system(&stack).await?, world::root(&stack).await?);
    let used = ["used-1", "used-2", "used-3"];
    for id in used.into_iter().chain(["idle-1", "idle-2"]) {
        admin.create_active_tenant(id, Some(&format!("{id}.example.com")), SOON).await?;
    }
    world::idle(&stack).await?;
    let (_, token) = world::user(&admin, "ann", &used.map(|id| (id, "admin"))).await?;
    for id in used {
        world::served(&api, &format!("{id}.example.com"), &token).await?;
    }
    // The node reports by itself which tenants it served, as they are now, with the members that have just joined.
    let reported = "SELECT COUNT(*) FROM saas_served_tenants v JOIN saas_tenant_snapshots s
                    ON s.tenant_id = v.tenant_id AND s.position <= v.position";
    wait::until(SOON, "the node to report the tenants that it serves", async || {
        for id in used {
            world::served(&api, &format!("{id}.example.com"), &token).await.ok()?;
        }
        world::number(&mut system, reported).await.ok().filter(|count| *count == 3)
    })
    .await?;
    for id in used {
        rounds_until(&mut system, id, "").await?;
    }

    root.execute("SET GLOBAL log_output = 'TABLE'").await?;
    root.execute("TRUNCATE TABLE mysql.general_log").await?;
    root.execute("SET GLOBAL general_log = 1").await?;
    let begun = rounds(&mut system).await?;
    wait::until_ok(ROUNDS, "ten rounds", async || {
        stay_served(&mut system).await?;
        ensure!(rounds(&mut system).await? >= begun + SHARES, "too few");
        Ok(())
    })
    .await?;
    root.execute("SET GLOBAL general_log = 0").await?;
    for id in used.into_iter().chain(["idle-1", "idle-2"]) {
        let logins = "SELECT COUNT(*) FROM mysql.general_log
                      WHERE command_type = 'Connect' AND CONVERT(argument USING utf8mb4) LIKE CONCAT(?, '@%')";
        let of_tenant = account(&mut system, id).await?;
        let logins: i64 = sqlx::query_scalar(logins).bind(of_tenant).fetch_one(&mut root).await?;
        // The rounds at both ends of the time that is logged may count in part.
        let expected = if id.starts_with("used") { 1..=2 } else { SHARES - 1..=SHARES + 2 };
        ensure!(expected.contains(&logins), "{logins} logins to {id} within {SHARES} rounds");
    }
    let answered: i64 = world::number(
        &mut system,
        "SELECT COUNT(*) FROM saas_tenant_health WHERE status = 'healthy' AND response_us IS NOT NULL",
    )
    .await?;
    ensure!(answered >= 5, "the time of the last login stays: {answered}");

    // What is not in use is checked in each round: here an account with an expired password.
    let idle = account(&mut system, "idle-1").await?;
    root.execute(format!("ALTER USER '{idle}'@'%' PASSWORD EXPIRE").as_str()).await?;
    let rounds = rounds_until(&mut system, "idle-1", "password of the tenant's user has expired").await?;
    ensure!(rounds <= 2, "found after {rounds} rounds");
    // What is in use is checked in its turn, and stays unhealthy although nodes are served on open sessions.
    let locked = account(&mut system, "used-1").await?;
    root.execute(format!("ALTER USER '{locked}'@'%' ACCOUNT LOCK").as_str()).await?;
    let rounds = rounds_until(&mut system, "used-1", "is locked").await?;
    ensure!(rounds <= SHARES + 1, "found after {rounds} rounds");
    for _ in 0..2 {
        let next = self::rounds(&mut system).await? + 1;
        wait::until_ok(ROUNDS, "the next round", async || {
            stay_served(&mut system).await?;
            ensure!(self::rounds(&mut system).await? >= next, "not yet");
            Ok(())
        })
        .await?;
        ensure!(rounds_until(&mut system, "used-1", "is locked").await? <= 1, "it was called healthy again");
    }
    root.execute(format!("ALTER USER '{locked}'@'%' ACCOUNT UNLOCK").as_str()).await?;
    rounds_until(&mut system, "used-1", "").await?;
    // A tenant that has changed since the report is checked, whatever its turn.
    root.execute(format!("ALTER USER '{}'@'%' ACCOUNT LOCK", account(&mut system, "used-2").await?).as_str()).await?;
    system.execute("UPDATE saas_served_tenants SET position = 0 WHERE tenant_id = 'used-2'").await?;
    let rounds = rounds_until(&mut system, "used-2", "is locked").await?;
    ensure!(rounds <= 2, "found after {rounds} rounds");
    Ok(())
}
