//! Tenants get a newer schema while they are in service, one by one: beside older programs, over kills, and with one
//! that fails.

use crate::invariants;
use crate::operations::audit;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::Admin;
use harness::files::private_dir;
use harness::kill;
use harness::load::Load;
use harness::stack::{Role, Stack, StackOptions};
use harness::wait;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor};
use std::time::Duration;

const HOST: &str = "t-busy.example.com";

/// The migrations of a version that is two schemas newer: a table with a column, and an index that not all data
/// permits.
const NEWER: [(&str, &str); 2] = [
    (
        "0002_notes.sql",
        "CREATE TABLE IF NOT EXISTS order_notes (
    id BIGINT NOT NULL PRIMARY KEY,
    note VARCHAR(100) NOT NULL DEFAULT ''
);
SET @change = (SELECT IF(COUNT(*) = 0, 'ALTER TABLE order_orders ADD COLUMN note VARCHAR(100) NULL', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'order_orders' AND COLUMN_NAME = 'note');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;
",
    ),
    (
        "0003_one_order_of_a_bid.sql",
        "SET @change = (SELECT IF(COUNT(*) = 0, 'ALTER TABLE order_orders ADD UNIQUE INDEX one_of_a_bid (order_bid)', 'DO 0')
    FROM information_schema.STATISTICS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'order_orders' AND INDEX_NAME = 'one_of_a_bid');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;
",
    ),
];

/// Writes the migrations of the newer version into a folder.
fn newer_version(stack: &Stack) -> Result<String> {
    let directory = stack.dir().join("newer");
    private_dir(&directory)?;
    for (name, sql) in NEWER {
        std::fs::write(directory.join(name), sql)?;
    }
    Ok(directory.display().to_string())
}

const VERSION: &str = "NEWER_TENANT_MIGRATIONS";

/// Requests a run of the schedule, and returns how many tenants it has requested a migration for.
async fn run_schedule(admin: &Admin) -> Result<u64> {
    let asked: Value = admin.post("/admin/schedules/schema-migration/run", json!({})).await?.expect(202)?;
    let ended = wait::until_ok(SOON, "the schedule to run", async || {
        let shown: Value = admin.get("/admin/schedules").await?;
        let schedules = shown["schedules"].as_array().context("schedules")?;
        let schedule =
            schedules.iter().find(|schedule| schedule["name"] == "schema-migration").context("the schedule")?;
        ensure!(
            schedule["last_run"]["run_id"] == asked["run_id"] && schedule["last_run"]["status"] == "succeeded",
            "{schedule}"
        );
        Ok(schedule["last_run"]["items"].as_u64())
    })
    .await?;
    ended.context("the number of migrations that the run asked for")
}

async fn schema_of(admin: &Admin, tenant: &str) -> Result<u64> {
    let shown: Value = admin.get(&format!("/admin/tenants/{tenant}")).await?;
    shown["database"]["schema_version"].as_u64().context("a schema")
}

/// The former and the new schema in each of the tenant's migration events.
async fn migrations(admin: &Admin, tenant: &str) -> Result<Vec<(u64, u64)>> {
    let events = admin.events(tenant).await?;
    let migrated = events.iter().filter(|event| event.kind == "tenant.schema_migrated");
    migrated
        .map(|event| Some((event.data["former_version"].as_u64()?, event.data["schema_version"].as_u64()?)))
        .collect::<Option<_>>()
        .context("former_version, schema_version")
}

#[tokio::test]
async fn tenants_migrate_in_service_and_one_fails_alone() -> Result<()> {
    let options = StackOptions::for_test("schema-newer")?.with_env("provisioner", "JOB_LEASE", "4").with_env(
        "control-plane",
        "SCHEDULE_SCHEMA_MIGRATION",
        "",
    );
    let mut stack = Stack::start(options).await?;
    let admin = stack.admin();
    let all = ["t-busy", "t-bad", "t-off", "t-gone", "default"];
    for id in &all[..4] {
        admin.create_active_tenant(id, Some(&format!("{id}.example.com")), SOON).await?;
    }
    let (user, token) = world::user(&admin, "ann", &[("t-busy", "user")]).await?;
    world::plant_order(&stack, "t-busy", &user, "t-busy").await?;
    for _ in 0..2 {
        world::plant_order(&stack, "t-bad", &user, "twice").await?;
    }
    ensure!(admin.post("/admin/tenants/t-off/suspend", json!({"reason": "unpaid"})).await?.status == 200);
    ensure!(admin.request("DELETE", "/admin/tenants/t-gone", None, &[]).await?.status == 202);
    world::idle(&stack).await?;
    ensure!(run_schedule(&admin).await? == 0, "no tenant is behind");
    let api = stack.tenant_api(0);
    world::served(&api, HOST, &token).await?;

    // A newer control plane runs beside an older provisioner. The provisioner leaves jobs that it does not know, and
    // such a job does not block those that it knows.
    let newer = newer_version(&stack)?;
    stack.control_planes[0].restart(&[(VERSION, Some(&newer))]).await?;
    let mut load = Load::new();
    load.client(world::orders(&stack.tenant_api(0), &token, |_| "t-busy".to_owned()));
    let admin = stack.admin();
    ensure!(
        run_schedule(&admin).await? == 5 && run_schedule(&admin).await? == 0,
        "the control plane asks once for each tenant"
    );
    let reply = admin.post("/admin/tenants/t-busy/database/migrate", json!({})).await?;
    ensure!((reply.status, reply.error()) == (409, "operation_in_progress"), "{}", reply.text);
    admin.wait_for_operation(&world::rotate(&admin, "t-busy").await?, SOON).await?;
    let shown: Value = admin.get("/admin/schema").await?;
    ensure!(shown == json!({"schema_version": 3, "tenants": 5, "behind": 5, "migrating": 5, "failed": []}), "{shown}");

    // A session is in the middle of a transaction. The migration waits for its end, and no session waits for the
    // migration.
    let mut reader = world::login(&stack, "t-busy").await?.connect().await?;
    reader.execute("START TRANSACTION; SELECT COUNT(*) FROM order_orders").await?;
    stack.provisioners[0].restart(&[(VERSION, Some(&newer))]).await?;
    let mut system = world::system(&stack).await?;
    let waits = "SELECT COUNT(*) FROM saas_operations WHERE tenant_id = 't-busy' AND kind = 'migrate' AND attempts >= 2
         AND status IN ('pending', 'running') AND error LIKE '%is busy with the same rows or tables'";
    wait::until(SOON, "the schema change to wait for the lock", async || {
        world::number(&mut system, waits).await.ok().filter(|n| *n == 1)
    })
    .await?;
    reader.execute("ROLLBACK").await?;
    for id in all.iter().filter(|id| **id != "t-bad") {
        wait::until(SOON, &format!("{id} to have the newest schema"), async || {
            schema_of(&admin, id).await.ok().filter(|version| *version == 3)
        })
        .await?;
        ensure!(migrations(&admin, id).await? == [(1, 2), (2, 3)], "{id}: {:?}", migrations(&admin, id).await?);
    }
    let mut busy = world::login(&stack, "t-busy").await?.connect().await?;
    busy.execute("SELECT note FROM order_orders; SELECT note FROM order_notes").await?;

    // The tenant whose data does not permit the index has come as far as it can, is served, and is migrated again on
    // request. The error may be temporary, so the job was tried until its patience ended, which the test shortens.
    let give_up = "UPDATE saas_operations SET give_up_at = UTC_TIMESTAMP(6), next_attempt_at = UTC_TIMESTAMP(6)
         WHERE tenant_id = 't-bad' AND kind = 'migrate'";
    system.execute(give_up).await?;
    world::idle(&stack).await?;
    let shown: Value = admin.get("/admin/schema").await?;
    let failed = &shown["failed"][0];
    ensure!(
        shown["behind"] == 1 && shown["migrating"] == 0 && shown["failed"].as_array().map(Vec::len) == Some(1),
        "{shown}"
    );
    ensure!(failed["tenant_id"] == "t-bad" && failed["schema_version"] == 2, "{shown}");
    let error = failed["error"].as_str().unwrap_or_default();
    ensure!(error.contains("two rows have the same value of the unique key"), "{shown}");
    ensure!(error.contains("database server main (error 1062)"), "{shown}");
    ensure!(migrations(&admin, "t-bad").await? == [(1, 2)] && admin.tenant("t-bad").await?.state == "active", "t-bad");
    ensure!(run_schedule(&admin).await? == 0, "the tenant's migration has just failed");
    world::login(&stack, "t-bad").await?.connect().await?;
    audit::finds_nothing(&admin).await?;
    let delete = "DELETE FROM `ai_shifu_tenant_t-bad`.order_orders ORDER BY id DESC LIMIT 1";
    world::root(&stack).await?.execute(delete).await?;
    let asked: Value = admin.post("/admin/tenants/t-bad/database/migrate", json!({})).await?.expect(202)?;
    ensure!(asked["kind"] == "migrate" && asked["tenant"]["tenant_id"] == "t-bad", "{asked}");
    admin.wait_for_operation(asked["operation_id"].as_str().context("an operation")?, SOON).await?;
    ensure!(migrations(&admin, "t-bad").await? == [(1, 2), (2, 3)], "t-bad");

    // New tenants get the newest schema at once. Tenants out of service stay so, and come back with it.
    admin.create_active_tenant("t-new", None, SOON).await?;
    ensure!(schema_of(&admin, "t-new").await? == 3 && migrations(&admin, "t-new").await?.is_empty(), "t-new");
    for id in ["t-off", "t-gone"] {
        ensure!(world::login(&stack, id).await?.connect().await.is_err(), "{id} is out of service and logs in");
    }
    ensure!(admin.post("/admin/tenants/t-gone/restore", json!({})).await?.status == 202);
    world::idle(&stack).await?;
    world::login(&stack, "t-gone").await?.connect().await?.execute("SELECT note FROM order_notes").await?;

    // The rollback: the older version continues with the newer schema and reports nothing of it as wrong.
    stack.provisioners[0].restart(&[(VERSION, None)]).await?;
    stack.control_planes[0].restart(&[(VERSION, None)]).await?;
    let admin = stack.admin();
    audit::finds_nothing(&admin).await?;
    ensure!(run_schedule(&admin).await? == 0, "a tenant with a newer schema does not count as behind");
    let nothing: Value = admin.post("/admin/tenants/t-busy/database/migrate", json!({})).await?.expect(202)?;
    admin.wait_for_operation(nothing["operation_id"].as_str().context("an operation")?, SOON).await?;
    ensure!(schema_of(&admin, "t-busy").await? == 3, "the tenant's schema version fell");
    admin.create_active_tenant("t-older", None, SOON).await?;
    ensure!(schema_of(&admin, "t-older").await? == 1, "t-older");
    for (id, code) in [("t-none", "tenant_not_found"), ("T", "invalid_tenant_id")] {
        let reply = admin.post(&format!("/admin/tenants/{id}/database/migrate"), json!({})).await?;
        ensure!(reply.error() == code, "{}", reply.text);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let answers = load.end().await?.served;
    ensure!(answers > 100, "only {answers} answers");
    println!("{answers} answers while the schema changed");
    invariants::check(&stack).await
}

#[tokio::test]
async fn a_migration_killed_at_every_point_is_recorded_once() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("schema-killed")?).await?;
    let admin = stack.admin();
    let mut points = ["migrate_schema.before", "applied", "marked", "migrate_schema.after", "recorded"]
        .map(|point| format!("migrate.{point}"))
        .to_vec();
    points.extend(["append.before_commit", "append.after_commit"].map(String::from));
    for number in 0..points.len() {
        admin.create_active_tenant(&format!("t-{number}"), None, SOON).await?;
    }
    let newer = newer_version(&stack)?;
    stack.control_planes[0].restart(&[(VERSION, Some(&newer)), ("SCHEDULE_SCHEMA_MIGRATION", Some(""))]).await?;
    let admin = stack.admin();
    stack.provisioners[0].restart(&[(VERSION, Some(&newer))]).await?;
    kill::at_each(
        &mut stack,
        Role::Provisioner,
        &points,
        async |_: &mut Stack, number: usize| {
            let reply = admin.post(&format!("/admin/tenants/t-{number}/database/migrate"), json!({})).await?;
            ensure!(reply.status == 202, "{}", reply.text);
            Ok(())
        },
        kill::later,
    )
    .await?;
    world::idle(&stack).await?;
    for (number, point) in points.iter().enumerate() {
        let id = format!("t-{number}");
        let changes = migrations(&admin, &id).await?;
        ensure!(changes == [(1, 2), (2, 3)], "{point}: {changes:?}");
        world::login(&stack, &id).await?.connect().await?.execute("SELECT note FROM order_notes").await?;
    }
    audit::finds_nothing(&admin).await?;
    invariants::check(&stack).await
}
