//! What must hold after every test. The checks read the databases directly and share no code with the services.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::servers::Server;
use harness::servers::mysql;
use harness::stack::Role;
use harness::stack::Stack;
use harness::wait;
use sqlx::{Connection, MySqlConnection};
use std::collections::{BTreeMap, BTreeSet};

/// Checks all invariants. It waits for jobs and for the relay; everything else must hold at once.
pub async fn check(stack: &Stack) -> Result<()> {
    // The job that enforces a state has no operation that a test could have waited for.
    world::idle(stack).await?;
    let mut system = world::system(stack).await?;

    // Positions are 1..N, versions are 1..k, and the head is N.
    let (count, least, most, head): (i64, Option<u64>, Option<u64>, u64) = sqlx::query_as(
        "SELECT COUNT(*), MIN(position), MAX(position), (SELECT position FROM saas_heads WHERE name = 'events')
         FROM saas_events",
    )
    .fetch_one(&mut system)
    .await?;
    ensure!(
        count as u64 == head && least.unwrap_or(1) == 1 && most.unwrap_or(0) == head,
        "positions are not 1..{head}: {count} events from {least:?} to {most:?}"
    );
    let gaps: Vec<(String,)> = sqlx::query_as(
        "SELECT tenant_id FROM saas_events GROUP BY tenant_id HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    )
    .fetch_all(&mut system)
    .await?;
    ensure!(gaps.is_empty(), "streams with gaps: {gaps:?}");

    // No tenant is in an intermediate state, and every failure has a reason.
    let tenants: Vec<(String, i16, String)> =
        sqlx::query_as("SELECT tenant_id, status, snapshot FROM saas_tenant_snapshots").fetch_all(&mut system).await?;
    let mut without_data = BTreeSet::new();
    let mut server_of = BTreeMap::new();
    for (tenant_id, status, snapshot) in &tenants {
        ensure!(*status != 3, "{tenant_id} is still being provisioned");
        let snapshot: serde_json::Value = serde_json::from_str(snapshot)?;
        ensure!(snapshot["database"]["moving_to"].is_null(), "{tenant_id} still has an unfinished move");
        server_of.insert(tenant_id.clone(), snapshot["database"]["server"].as_str().unwrap_or_default().to_owned());
        let reason = snapshot["reason"].as_str().unwrap_or_default();
        ensure!(*status != 4 || !reason.is_empty(), "{tenant_id} failed without a reason");
        let was = snapshot["before_deletion"]["state"].as_str().unwrap_or_default();
        if *status == 4 || was == "failed" || snapshot["state"] == "purged" {
            without_data.insert(tenant_id.clone());
        }
    }

    // Each tenant that is neither failed nor purged has exactly one database and one user, on its server. There are no
    // others.
    let with_data = |tenant_id: &String| !without_data.contains(tenant_id);
    let stored: Vec<(String, String, i8)> =
        sqlx::query_as("SELECT tenant_id, db_username, is_active FROM saas_tenant_databases")
            .fetch_all(&mut system)
            .await?;
    let stored: BTreeMap<String, (String, i8)> = stored.into_iter().map(|(id, user, on)| (id, (user, on))).collect();
    let mut users_of = BTreeMap::new();
    for (tenant_id, ..) in &tenants {
        let (username, is_active) = stored.get(tenant_id).cloned().unwrap_or_default();
        if without_data.contains(tenant_id) {
            ensure!(
                username.is_empty() && is_active == 0,
                "{tenant_id} is failed or purged, and its credential is stored"
            );
        } else {
            ensure!(!username.is_empty() && is_active == 1, "{tenant_id} has no credential");
            users_of.insert(tenant_id.clone(), username);
        }
    }
    let more = stack.more_servers.iter().map(|(name, server)| (name.clone(), server.url()));
    for (server, url) in std::iter::once(("main".to_owned(), stack.urls.root.clone())).chain(more) {
        let here = |tenant_id: &&String| with_data(tenant_id) && server_of.get(*tenant_id) == Some(&server);
        let tenants: Vec<&String> = tenants.iter().map(|(tenant_id, ..)| tenant_id).filter(here).collect();
        let users = tenants.iter().filter_map(|tenant_id| users_of.get(*tenant_id).cloned()).collect();
        let databases = tenants.iter().map(|tenant_id| format!("ai_shifu_tenant_{tenant_id}")).collect();
        check_server(&url, &databases, &users).await.with_context(|| format!("on the server {server}"))?;
    }

    // The projections equal the event log to the byte, and the hashes of the log hold.
    let migrator = vec![("SYSTEM_DB_URL".to_owned(), stack.urls.system.migrator.clone())];
    for command in [["rebuild", "--check"].as_slice(), &["verify-log"]] {
        stack.run(Role::ControlPlane, command, &migrator).await?;
    }

    // The relay has published every event.
    let head = i64::try_from(head)?;
    wait::until(SOON, "the relay to reach the head", async || {
        let cursor =
            world::number(&mut system, "SELECT CAST(position AS SIGNED) FROM saas_leases WHERE name = 'relay'");
        cursor.await.ok().filter(|cursor| *cursor == head)
    })
    .await?;
    Ok(())
}

async fn check_server(url: &str, expected: &BTreeSet<String>, expected_users: &BTreeSet<String>) -> Result<()> {
    let mut root = MySqlConnection::connect(url).await?;
    let markers = if mysql::selected().is_some() {
        "SELECT CONVERT(TABLE_SCHEMA USING utf8mb4), CONVERT(TABLE_COMMENT USING utf8mb4) FROM information_schema.TABLES
         WHERE TABLE_NAME = '_ownership' AND TABLE_COMMENT LIKE 'installation=%'"
    } else {
        "SELECT SCHEMA_NAME, SCHEMA_COMMENT FROM information_schema.SCHEMATA
         WHERE SCHEMA_NAME LIKE 'ai\\_shifu\\_tenant\\_%' AND SCHEMA_COMMENT LIKE 'installation=%'"
    };
    let marked: Vec<(String, String)> = sqlx::query_as(markers).fetch_all(&mut root).await?;
    let databases: BTreeSet<String> = marked.iter().map(|(name, _)| name.clone()).collect();
    ensure!(databases == *expected, "databases {databases:?}, expected {expected:?}");
    for (name, mark) in &marked {
        let tenant = name.trim_start_matches("ai_shifu_tenant_");
        ensure!(mark.contains(&format!("tenant={tenant};")), "{name} is marked {mark}");
        ensure!(!mark.contains("sum=copy"), "{name} is marked as a copy");
    }
    let users: Vec<(String,)> =
        sqlx::query_as("SELECT CONVERT(User USING utf8mb4) FROM mysql.user WHERE User LIKE 'ten\\_%'")
            .fetch_all(&mut root)
            .await?;
    let users: BTreeSet<String> = users.into_iter().map(|(user,)| user).collect();
    ensure!(users == *expected_users, "users {users:?}, expected {expected_users:?}");

    // No grant to a tenant has a wildcard in it.
    let wild: Vec<(String, String)> = sqlx::query_as(
        "SELECT CONVERT(User USING utf8mb4), CONVERT(Db USING utf8mb4) FROM mysql.db
             WHERE User LIKE 'ten\\_%' AND Db REGEXP '(^|[^\\\\\\\\])[_%]'",
    )
    .fetch_all(&mut root)
    .await?;
    ensure!(wild.is_empty(), "grants with wildcards: {wild:?}");
    Ok(())
}
