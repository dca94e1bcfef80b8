//! What an administrator may have made in a tenant's database, and what a careless copy loses: each case comes back
//! exactly, over a backup, a restore, an export and a move, or a backup refuses it by name.

mod objects;

use self::objects::{COMES_BACK, HOSTILE, HOSTILE_MARIADB, HOSTILE_MYSQL, REFUSED_BY_NAME};
use super::{REFUSED, database, run, with_store};
use crate::world::{self, SOON};
use anyhow::{Context, Result, bail, ensure};
use harness::process::Process;
use harness::servers::{Server, mysql};
use harness::stack::{Role, Stack};
use harness::wait;
use serde_json::json;
use sqlx::{Connection, Executor, MySqlConnection, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

/// The tables, views and routines of a database: definitions, and rows as bytes.
async fn described(connection: &mut MySqlConnection, database: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let session = format!("SET SESSION time_zone = '+00:00', sql_mode = ''; SET NAMES utf8mb4; USE `{database}`");
    connection.execute(sqlx::raw_sql(&session)).await?;
    let query = format!(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4), CONVERT(COLUMN_NAME USING utf8mb4)
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{database}' ORDER BY TABLE_NAME, ORDINAL_POSITION"
    );
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in connection.fetch_all(sqlx::raw_sql(&query)).await? {
        columns.entry(row.try_get_unchecked(0)?).or_default().push(row.try_get_unchecked(1)?);
    }
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let mut all = BTreeMap::new();
    for (table, columns) in columns.into_iter().filter(|(table, _)| table != "_ownership") {
        let show = format!("SHOW CREATE TABLE {}", quoted(&table));
        let definition: String = connection.fetch_one(sqlx::raw_sql(&show)).await?.try_get_unchecked(1)?;
        // A view names its definer and its database.
        let definition = definition.replace(&format!("`{database}`."), "");
        let definition = match (definition.find("DEFINER="), definition.find("SQL SECURITY")) {
            (Some(from), Some(to)) if !definition.starts_with("CREATE TABLE") => {
                format!("{}{}", &definition[..from], &definition[to..])
            }
            _ => definition,
        };
        let values: Vec<String> =
            columns.iter().map(|name| format!("IFNULL(HEX(CAST({} AS BINARY)), 'NULL')", quoted(name))).collect();
        let query = format!("SELECT CONCAT_WS('|', {}) FROM {}", values.join(", "), quoted(&table));
        let rows = connection.fetch_all(sqlx::raw_sql(&query)).await.with_context(|| query.clone())?;
        let mut lines = rows.iter().map(|row| row.try_get_unchecked::<String, _>(0)).collect::<Result<Vec<_>, _>>()?;
        lines.sort();
        lines.insert(0, definition);
        all.insert(table, lines);
    }
    let query = format!(
        "SELECT CONVERT(ROUTINE_NAME USING utf8mb4), CONVERT(ROUTINE_DEFINITION USING utf8mb4)
         FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{database}'"
    );
    for row in connection.fetch_all(sqlx::raw_sql(&query)).await? {
        all.insert(format!("routine {}", row.try_get_unchecked::<String, _>(0)?), vec![row.try_get_unchecked(1)?]);
    }
    Ok(all)
}

fn equal(before: &BTreeMap<String, Vec<String>>, after: &BTreeMap<String, Vec<String>>, when: &str) -> Result<()> {
    for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let (was, is) = (before.get(name), after.get(name));
        ensure!(was == is, "{when}: {name:?} was\n{was:#?}\nand is\n{is:#?}");
    }
    Ok(())
}

/// Plants a case in a new tenant's database and describes the database.
async fn plant(stack: &Stack, tenant: &str, statements: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
    stack.admin().create_active_tenant(tenant, None, SOON).await?;
    let mut root = world::root(stack).await?;
    root.execute(sqlx::raw_sql(&format!("SET NAMES utf8mb4; USE `{}`", database(tenant)))).await?;
    for statement in statements {
        root.execute(sqlx::raw_sql(statement)).await.with_context(|| (*statement).to_owned())?;
    }
    described(&mut world::root(stack).await?, &database(tenant)).await
}

/// Takes a backup, removes all planted tables and restores.
async fn back_up_and_restore(stack: &Stack, root: &mut MySqlConnection, tenant: &str) -> Result<()> {
    run(stack, &["backup", tenant], &[]).await?.expect(0)?;
    if tenant == "events" {
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    }
    let spoil = format!(
        "SET SESSION autocommit = 1, sql_safe_updates = 0; SET SESSION TRANSACTION READ WRITE; USE `{}`;
         DELETE FROM tenant_config; CREATE TABLE stranger (id INT)",
        database(tenant)
    );
    root.execute(sqlx::raw_sql(&spoil)).await?;
    run(stack, &["restore", tenant], &[]).await?.expect(0)?;
    let state = stack.admin().tenant(tenant).await?.state;
    ensure!(state == "active", "the tenant is {state}");
    Ok(())
}

/// Loads an export with the command-line client of the server.
async fn export_and_load(stack: &Stack, root: &mut MySqlConnection, tenant: &str) -> Result<String> {
    let args = ["backup", "export", tenant];
    let exported = stack.output(Role::Provisioner, &args, &Vec::new()).await?;
    ensure!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let into = format!("exported_{tenant}");
    root.execute(sqlx::raw_sql(&format!("CREATE DATABASE {into} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")))
        .await?;
    let url = url::Url::parse(&stack.urls.root)?;
    let mut client = Command::new("mariadb")
        .args([
            "--no-defaults",
            "--protocol=tcp",
            "--binary-mode",
            "--comments",
            "--default-character-set=utf8mb4",
            "-h",
            "127.0.0.1",
        ])
        .args(["-u", url.username(), "-P", &url.port().unwrap_or(3306).to_string(), &into])
        .env("MYSQL_PWD", url.password().unwrap_or_default())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    client.stdin.take().context("a pipe")?.write_all(&exported.stdout)?;
    let output = client.wait_with_output()?;
    ensure!(output.status.success(), "the client: {}", String::from_utf8_lossy(&output.stderr));
    Ok(into)
}

async fn come_back(
    stack: &Stack,
    tenant: &str,
    before: &BTreeMap<String, Vec<String>>,
    hostile: &mut MySqlConnection,
) -> Result<()> {
    let mut root = world::root(stack).await?;
    back_up_and_restore(stack, &mut root, tenant).await?;
    equal(before, &described(&mut root, &database(tenant)).await?, "restored")?;
    if mysql::selected().is_none() {
        let into = export_and_load(stack, &mut root, tenant).await?;
        equal(before, &described(&mut root, &into).await?, "exported")?;
    }
    if tenant == "events" {
        return Ok(());
    }
    let admin = stack.admin();
    let asked = admin.post(&format!("/admin/tenants/{tenant}/database/move"), json!({"server": "eu2"})).await?;
    let ended = admin.wait_for_end(asked.operation_id()?, SOON).await?;
    ensure!(ended.status == "succeeded", "the move ended with {:?}", ended.error);
    equal(before, &described(hostile, &database(tenant)).await?, "moved")?;
    back_up_and_restore(stack, hostile, tenant).await?;
    equal(before, &described(hostile, &database(tenant)).await?, "restored on a hostile server")
}

#[tokio::test]
async fn every_planted_object_comes_back_exactly() -> Result<()> {
    let stack = Stack::start(with_store(world::with_second_server("backup-planted")?)?).await?;
    world::both_servers(&stack).await?;
    world::place_on_main(&stack).await?;
    let mut planted = BTreeMap::new();
    for (tenant, _, statements) in COMES_BACK.iter().filter(|(_, on, _)| on.here()) {
        planted.insert(*tenant, plant(&stack, tenant, statements).await.with_context(|| (*tenant).to_owned())?);
    }
    let mut there = MySqlConnection::connect(&stack.more_servers["eu2"].url()).await?;
    let particular = if mysql::selected().is_some() { HOSTILE_MYSQL } else { HOSTILE_MARIADB };
    for setting in HOSTILE.iter().chain(particular) {
        there.execute(sqlx::raw_sql(&format!("SET GLOBAL {setting}"))).await.with_context(|| (*setting).to_owned())?;
    }
    let mut failed = Vec::new();
    for (tenant, ..) in COMES_BACK.iter().filter(|(_, on, _)| on.here()) {
        if let Err(error) = come_back(&stack, tenant, &planted[tenant], &mut there).await {
            failed.push(format!("{tenant}: {error:#}"));
        }
    }
    ensure!(failed.is_empty(), "{} cases do not come back:\n{}", failed.len(), failed.join("\n\n"));
    Ok(())
}

#[tokio::test]
async fn what_cannot_come_back_is_refused_by_name() -> Result<()> {
    let stack = Stack::start(with_store(world::with_second_server("backup-unfit")?)?).await?;
    world::both_servers(&stack).await?;
    world::place_on_main(&stack).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", None, SOON).await?;
    let mut root = world::root(&stack).await?;
    root.execute(sqlx::raw_sql(&format!(
        "SET NAMES utf8mb4; SET SESSION foreign_key_checks = 0; USE `{}`",
        database("acme")
    )))
    .await?;
    let mut failed = Vec::new();
    for (_, planted, removed, names) in REFUSED_BY_NAME.iter().filter(|(on, ..)| on.here()) {
        root.execute(sqlx::raw_sql(planted)).await.with_context(|| (*planted).to_owned())?;
        let refused = async {
            let refused = run(&stack, &["backup", "acme"], &[]).await?.expect(REFUSED)?;
            for name in *names {
                ensure!(refused.errors.contains(name), "the backup does not name {name}: {}", refused.errors);
            }
            let asked = admin.post("/admin/tenants/acme/database/move", json!({"server": "eu2"})).await?;
            let ended = admin.wait_for_end(asked.operation_id()?, SOON).await?;
            let Some(reason) = ended.error.filter(|_| ended.status == "failed") else { bail!("it was moved") };
            for name in *names {
                ensure!(reason.contains(name), "the move does not name {name}: {reason}");
            }
            Ok(())
        };
        if let Err(error) = refused.await {
            failed.push(format!("{planted}: {error:#}"));
        }
        root.execute(sqlx::raw_sql(removed)).await?;
    }
    ensure!(failed.is_empty(), "{} cases are not refused:\n{}", failed.len(), failed.join("\n\n"));

    // No snapshot shows a table of this engine as it was at one moment, so no client writes to it while it is dumped.
    root.execute("CREATE TABLE old_engine (id INT PRIMARY KEY) ENGINE=MyISAM; SET SESSION lock_wait_timeout = 1")
        .await?;
    let (held, points) = world::held_at("backup.table")?;
    let env = vec![("FAILPOINTS".to_owned(), points)];
    let mut backup = Process::start(stack.command(Role::Provisioner, "backup-held", &["backup", "acme"], &env)?)?;
    wait::until_ok(SOON, "the table to be locked", async || {
        let written = root.execute("INSERT INTO old_engine SELECT COUNT(*) + 1 FROM old_engine o").await;
        ensure!(written.is_err(), "it was written");
        Ok(())
    })
    .await?;
    drop(held);
    let ended = backup.ended(SOON).await.context("the backup does not end")?;
    ensure!(ended.success(), "{ended:?}");
    run(&stack, &["restore", "acme"], &[]).await?.expect(0)?;
    Ok(())
}
