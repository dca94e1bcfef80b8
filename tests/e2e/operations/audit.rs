//! Each kind of drift is planted by hand on the real servers: it is found, nothing else is, and what is safe is repaired.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::Admin;
use harness::kill;
use harness::servers::mysql;
use harness::stack::Role;
use harness::stack::Stack;
use harness::wait;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor, MySqlConnection};
use std::collections::BTreeSet;

/// Kind, and whose; of nobody: the thing.
type Found = BTreeSet<(String, String)>;

#[tokio::test]
async fn each_planted_drift_is_found_and_repaired_where_that_is_safe() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("audit")?).await?;
    let admin = stack.admin();
    let world = World::make(&mut stack).await?;
    ensure!(audit(&admin, false).await?.found == Found::new(), "a quiet fleet has a finding");

    // A session that outlives the lock of its account, for as long as this test holds it.
    let _session = world.plant(&stack).await?;
    let report = audit(&admin, false).await?;
    let expected: Found = world.drifts.iter().map(|(kind, whose, _)| (kind.to_string(), whose.clone())).collect();
    ensure!(
        report.found == expected,
        "missing: {:?}; beyond: {:?}",
        expected.difference(&report.found).collect::<Vec<_>>(),
        report.found.difference(&expected).collect::<Vec<_>>()
    );
    ensure!(report.repaired.is_empty(), "nothing was to be repaired: {:?}", report.repaired);
    let databases = databases(&stack).await?;

    let report = audit(&admin, true).await?;
    let (safe, left): (Vec<_>, Vec<_>) = world.drifts.iter().partition(|(.., safe)| *safe);
    let of = |drifts: &[&(&str, String, bool)]| -> Found {
        drifts.iter().map(|(kind, whose, _)| (kind.to_string(), whose.clone())).collect()
    };
    ensure!(report.repaired == of(&safe), "repaired {:?}, not {:?}", report.repaired, of(&safe));
    ensure!(report.found == of(&left), "left {:?}, not {:?}", report.found, of(&left));
    ensure!(audit(&admin, true).await?.found == of(&left), "what was repaired is found again");
    ensure!(self::databases(&stack).await? == databases, "a database was dropped or made");

    for (kind, whose, _) in safe.iter().filter(|(kind, ..)| *kind != "user_orphan") {
        let events = admin.events(whose).await?;
        let repairs: Vec<_> = events.iter().filter(|event| event.kind == "tenant.drift_repaired").collect();
        ensure!(repairs.len() == 1, "{whose}: {} events of repairs", repairs.len());
        let told = repairs[0].data["repairs"].as_array().cloned().unwrap_or_default();
        ensure!(told.iter().any(|repair| repair["drift"] == *kind && repair["done"].is_string()), "{whose}: {told:?}");
    }
    for id in
        ["d-locked", "d-limit", "d-wild", "d-table", "d-lacks", "d-global", "d-no-user", "d-password", "d-credential"]
    {
        let mut login = world::login(&stack, id).await?.connect().await.with_context(|| format!("{id} logs in"))?;
        login.execute("SELECT COUNT(*) FROM order_orders").await?;
        let others = login.execute("SELECT COUNT(*) FROM `ai_shifu_tenant_default`.order_orders").await;
        ensure!(others.is_err(), "{id} reads what is another's");
    }
    for id in ["d-open", "d-session"] {
        ensure!(world::login(&stack, id).await?.connect().await.is_err(), "{id} is suspended and logs in");
    }
    let foreign = "SELECT COUNT(*) FROM mysql.user WHERE User LIKE 'ten\\_00000000\\_%'";
    ensure!(
        world::number(&mut world::root(&stack).await?, foreign).await? == 1,
        "a user of another installation is gone"
    );
    Ok(())
}

#[tokio::test]
async fn a_healthy_fleet_in_every_state_shows_no_drift() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("audit-healthy")?).await?;
    let admin = stack.admin();
    for id in ["t-on", "t-maintained", "t-off", "t-deleted", "t-gone", "t-rotated", "t-rotating"] {
        admin.create_active_tenant(id, Some(&format!("{id}.example.com")), SOON).await?;
    }
    fail_to_create(&mut stack, "t-failed").await?;
    admin.post("/admin/tenants/t-maintained/maintenance", json!({"enabled": true})).await?;
    admin.post("/admin/tenants/t-off/suspend", json!({"reason": "unpaid"})).await?;
    for id in ["t-deleted", "t-gone"] {
        ensure!(admin.request("DELETE", &format!("/admin/tenants/{id}"), None, &[]).await?.status == 202);
    }
    world::idle(&stack).await?;
    ensure!(admin.post("/admin/tenants/t-gone/purge", json!({})).await?.status == 202);
    ensure!(admin.post("/admin/tenants/t-rotated/database/rotate", json!({})).await?.status == 202);
    world::idle(&stack).await?;
    // In the middle of it, for as long as it takes.
    stack.provisioners[0].restart(&[("FAILPOINTS", Some("rotate.await_nodes.before=hang"))]).await?;
    ensure!(admin.post("/admin/tenants/t-rotating/database/rotate", json!({})).await?.status == 202);
    let mut system = world::system(&stack).await?;
    let switched = "SELECT COUNT(*) FROM saas_next_credentials WHERE switched_at_position IS NOT NULL";
    wait::until(SOON, "the switch", async || world::number(&mut system, switched).await.ok().filter(|n| *n == 1))
        .await?;

    let (code, report) = command(&stack, &["audit", "--json"]).await?;
    ensure!(code == 0 && report["findings"] == json!([]), "{code}: {report}");
    ensure!(report["tenants_passed_over"] == 1 && report["tenants_compared"] == 8, "{report}");
    stack.provisioners[0].kill9()?;
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    world::idle(&stack).await?;

    // By the clock; and what only the system database shows.
    let run = admin.post("/admin/schedules/audit/run", json!({})).await?;
    ensure!(run.status == 202, "{}", run.text);
    wait::until_ok(SOON, "the audit of the clock", async || {
        let shown: Value = admin.get("/admin/audit").await?;
        ensure!(shown["audit"]["requested_by"] == "schedule:audit" && shown["audit"]["status"] == "done", "{shown}");
        ensure!(shown["audit"]["repair"] == true && shown["differences_left"] == 0, "{shown}");
        Ok(())
    })
    .await?;
    let drift = "UPDATE saas_tenants SET tenant_name = 'drift', updated_at = updated_at WHERE tenant_id = 't-on'";
    sqlx::query(drift).execute(&mut system).await?;
    for (args, code, left) in
        [(vec!["audit", "--json"], 4, 1), (vec!["audit", "--json", "--repair"], 0, 0), (vec!["audit", "--json"], 0, 0)]
    {
        let (ended, report) = command(&stack, &args).await?;
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        let found = findings.iter().filter(|finding| finding["repaired"] == false).count();
        ensure!(ended == code && found == left, "{args:?}: {ended}: {report}");
    }
    let last = admin.events("t-on").await?.pop().context("events")?;
    ensure!(
        last.kind == "tenant.drift_repaired" && last.data["repairs"][0]["drift"] == "projection_differs",
        "{last:?}"
    );
    stack.provisioners[0].stop().await?;
    let (code, report) = command(&stack, &["audit", "--json", "--wait", "1"]).await?;
    ensure!(code == 4 && report["status"] == "running", "nobody looked at the server: {code}: {report}");
    stack.provisioners[0].restart(&[]).await?;
    invariants::check(&stack).await
}

#[tokio::test]
async fn an_audit_killed_at_every_step_repairs_once_and_says_so_once() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("audit-killed")?).await?;
    let admin = stack.admin();
    let points = kill::around_all("audit", &["look", "repair", "confirm"]);
    let (mut root, mut system) = (world::root(&stack).await?, world::system(&stack).await?);
    for number in 0..points.len() {
        admin.create_active_tenant(&format!("t-{number}"), None, SOON).await?;
    }
    kill::at_each(
        &mut stack,
        Role::Provisioner,
        &points,
        async |stack: &mut Stack, number: usize| {
            let id = format!("t-{number}");
            let user = world::login(stack, &id).await?.get_username().to_owned();
            root.execute(format!("ALTER USER '{user}'@'%' ACCOUNT LOCK").as_str()).await?;
            audit_of(&mut system, &id).await
        },
        kill::later,
    )
    .await?;
    world::idle(&stack).await?;
    for (number, point) in points.iter().enumerate() {
        let id = format!("t-{number}");
        ensure!(world::login(&stack, &id).await?.connect().await.is_ok(), "{point}: the account is locked still");
        let events = admin.events(&id).await?;
        let repairs: Vec<_> = events.iter().filter(|event| event.kind == "tenant.drift_repaired").collect();
        ensure!(repairs.len() == 1, "{point}: {} events of repairs", repairs.len());
    }
    invariants::check(&stack).await
}

/// Asks for an audit of one tenant that repairs what is safe, and gives its operation. A survey does the same.
pub async fn audit_of(system: &mut MySqlConnection, tenant: &str) -> Result<String> {
    let audit_id = uuid::Uuid::now_v7().to_string();
    sqlx::query(
        "INSERT INTO saas_audits (audit_id, requested_by, repair, created_at) VALUES (?, 'test', 1, UTC_TIMESTAMP(6))",
    )
    .bind(&audit_id)
    .execute(&mut *system)
    .await?;
    let operation = kernel::audit::enqueue(system, &audit_id, "main", Some(&tenant.parse()?)).await?;
    Ok(operation.to_string())
}

/// Tenants for drifts, and what is expected of an audit: kind, whose, whether it is repaired.
struct World {
    drifts: Vec<(&'static str, String, bool)>,
    installation: String,
    /// What the names of this installation's users begin with.
    prefix: String,
}

impl World {
    async fn make(stack: &mut Stack) -> Result<Self> {
        let drifts = [
            ("account_locked", "d-locked", true),
            ("account_open", "d-open", true),
            ("limit_differs", "d-limit", true),
            ("grants_differ", "d-wild", true),
            ("grants_differ", "d-table", true),
            ("grants_differ", "d-lacks", true),
            ("grants_differ", "d-global", true),
            ("user_missing", "d-no-user", true),
            ("password_differs", "d-password", true),
            ("user_left", "d-second", true),
            ("user_left", "d-host", true),
            ("user_left", "d-purged", true),
            ("credential_missing", "d-credential", true),
            // The one whose name was forgotten.
            ("user_left", "d-credential", true),
            ("rotation_left", "d-rotation", true),
            ("session_left", "d-session", true),
            ("credential_unreadable", "d-sealed", false),
            ("database_missing", "d-database", false),
            ("database_unmarked", "d-mark", false),
            ("schema_differs", "d-schema", false),
            // Schema 0 has no tables, so none is missing there.
            ("table_missing", "d-tables", false),
            ("database_orphan", "d-failed", false),
        ];
        let admin = stack.admin();
        let ids: BTreeSet<&str> = drifts.iter().map(|(_, id, _)| *id).filter(|id| *id != "d-failed").collect();
        let mut operations = Vec::new();
        for id in &ids {
            operations.push(admin.create_tenant(id, id, None).await?.operation_id);
        }
        for operation in &operations {
            admin.wait_for_operation(operation, SOON).await?;
        }
        for id in ["d-open", "d-session"] {
            admin.post(&format!("/admin/tenants/{id}/suspend"), json!({"reason": "unpaid"})).await?;
        }
        ensure!(admin.request("DELETE", "/admin/tenants/d-purged", None, &[]).await?.status == 202);
        world::idle(stack).await?;
        ensure!(admin.post("/admin/tenants/d-purged/purge", json!({})).await?.status == 202);
        world::idle(stack).await?;
        fail_to_create(stack, "d-failed").await?;
        let mut system = world::system(stack).await?;
        let installation = "SELECT config_value FROM saas_system_config WHERE config_key = 'system.installation_id'";
        let installation: String = sqlx::query_scalar(installation).fetch_one(&mut system).await?;
        let user = world::login(stack, "d-locked").await?.get_username().to_owned();
        let prefix = user.split('_').take(2).map(|part| format!("{part}_")).collect::<String>();
        let mut drifts: Vec<_> = drifts.map(|(kind, id, safe)| (kind, id.to_owned(), safe)).into_iter().collect();
        drifts.push(("database_orphan", "ai_shifu_tenant_nobody".into(), false));
        drifts.push(("user_orphan", format!("{prefix}0123456789abcdef_a@%"), true));
        drifts.push(("open_to_all", "zz\\_open.*".into(), false));
        Ok(Self { drifts, installation, prefix })
    }

    /// Plants everything. The session is to be held open.
    async fn plant(&self, stack: &Stack) -> Result<MySqlConnection> {
        let mut root = world::root(stack).await?;
        let mut system = world::system(stack).await?;
        let user = async |id: &str| Ok::<_, anyhow::Error>(world::login(stack, id).await?.get_username().to_owned());
        let name = async |id: &str| Ok::<_, anyhow::Error>(format!("'{}'@'%'", user(id).await?));
        let (open, session) = (name("d-open").await?, name("d-session").await?);
        let mut statements = vec![
            format!("ALTER USER {} ACCOUNT LOCK", name("d-locked").await?),
            format!("ALTER USER {open} ACCOUNT UNLOCK"),
            format!("ALTER USER {} WITH MAX_USER_CONNECTIONS 1", name("d-limit").await?),
            format!("GRANT SELECT ON `ai_shifu_tenant_%`.* TO {}", name("d-wild").await?),
            format!("GRANT SELECT ON `ai_shifu_tenant_default`.order_orders TO {}", name("d-table").await?),
            format!("REVOKE DELETE ON `ai\\_shifu\\_tenant\\_d-lacks`.* FROM {}", name("d-lacks").await?),
            format!("GRANT PROCESS ON *.* TO {}", name("d-global").await?),
            format!("DROP USER {}", name("d-no-user").await?),
            format!("ALTER USER {} IDENTIFIED BY 'somebody else knows it'", name("d-password").await?),
            format!("CREATE USER '{}'@'10.9.8.7'", user("d-host").await?),
            "DROP DATABASE `ai_shifu_tenant_d-database`".into(),
            "DROP TABLE `ai_shifu_tenant_d-tables`.tenant_statistics".into(),
            format!("CREATE USER '{}0123456789abcdef_a'@'%'", self.prefix),
            "CREATE USER 'ten_00000000_0123456789abcdef_a'@'%'".into(),
            "CREATE USER ''@'10.9.8.7'; GRANT SELECT ON `zz\\_open`.* TO ''@'10.9.8.7'".into(),
            format!("ALTER USER {session} ACCOUNT UNLOCK"),
        ];
        let second = user("d-second").await?;
        statements.push(format!("CREATE USER '{}_b'@'%'", second.trim_end_matches("_a")));
        // A user's name without the server: by the digest that both its names share.
        let digest = "SELECT CONVERT(LEFT(SHA2('d-purged', 256), 16) USING utf8mb4)";
        let purged: String = sqlx::query_scalar(digest).fetch_one(&mut root).await?;
        statements.push(format!("CREATE USER '{}{purged}_a'@'%'", self.prefix));
        for statement in &statements {
            root.execute(statement.as_str()).await.with_context(|| statement.clone())?;
        }
        let mark = |installation: &str, tenant: &str, schema: &str| {
            format!("installation={installation};tenant={tenant};schema={schema};sum=e3b0c44298fc1c14")
        };
        set_mark(&mut root, "ai_shifu_tenant_d-mark", "somebody's own words").await?;
        set_mark(&mut root, "ai_shifu_tenant_d-schema", &mark(&self.installation, "d-schema", "0")).await?;
        set_mark(&mut root, "ai_shifu_tenant_d-failed", &mark(&self.installation, "d-failed", "0")).await?;
        set_mark(&mut root, "ai_shifu_tenant_nobody", &mark(&self.installation, "nobody", "0")).await?;
        set_mark(&mut root, "ai_shifu_tenant_foreign", &mark("another", "foreign", "0")).await?;
        root.execute("CREATE DATABASE `ai_shifu_tenant_a_b`").await?;
        let kept = world::login(stack, "d-session").await?.connect().await?;
        root.execute(format!("ALTER USER {session} ACCOUNT LOCK").as_str()).await?;
        for statement in [
            "UPDATE saas_tenant_databases SET updated_at = updated_at, db_username = '', db_password_encrypted = '' WHERE tenant_id = 'd-credential'",
            "UPDATE saas_tenant_databases SET updated_at = updated_at, db_password_encrypted = 'v1.k1.AAAA' WHERE tenant_id = 'd-sealed'",
            "INSERT INTO saas_next_credentials VALUES ('d-rotation', 'none', 'ten_x_b', '', NULL, UTC_TIMESTAMP(6))",
        ] {
            sqlx::query(statement).execute(&mut system).await?;
        }
        Ok(kept)
    }
}

/// Writes the mark of a database, which is made if it is not there.
async fn set_mark(root: &mut MySqlConnection, database: &str, text: &str) -> Result<()> {
    root.execute(format!("CREATE DATABASE IF NOT EXISTS `{database}`").as_str()).await?;
    let text = text.replace('\'', "''");
    let mark = if mysql::selected().is_some() {
        format!(
            "CREATE TABLE IF NOT EXISTS `{database}`._ownership (id TINYINT PRIMARY KEY);
             ALTER TABLE `{database}`._ownership COMMENT '{text}'"
        )
    } else {
        format!("ALTER DATABASE `{database}` COMMENT '{text}'")
    };
    root.execute(mark.as_str()).await.map(drop).with_context(|| mark.clone())
}

async fn databases(stack: &Stack) -> Result<BTreeSet<String>> {
    let names = "SELECT CONVERT(SCHEMA_NAME USING utf8mb4) FROM information_schema.SCHEMATA";
    let rows: Vec<(String,)> = sqlx::query_as(names).fetch_all(&mut world::root(stack).await?).await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

async fn fail_to_create(stack: &mut Stack, id: &str) -> Result<()> {
    stack.provisioners[0].restart(&[("FAILPOINTS", Some("provision.seed_config=error"))]).await?;
    let created = stack.admin().create_tenant(id, id, None).await?;
    stack.admin().wait_for_end(&created.operation_id, SOON).await?;
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await
}

struct Audited {
    found: Found,
    repaired: Found,
}

/// An audit of everything has no finding.
pub async fn finds_nothing(admin: &Admin) -> Result<()> {
    audit(admin, false).await?;
    let shown: Value = admin.get("/admin/audit").await?;
    ensure!(shown["differences_left"] == 0, "{shown}");
    Ok(())
}

/// What an audit finds and does not repair.
pub async fn findings(admin: &Admin, repair: bool) -> Result<BTreeSet<(String, String)>> {
    Ok(audit(admin, repair).await?.found)
}

/// Asks for an audit and waits for its end.
async fn audit(admin: &Admin, repair: bool) -> Result<Audited> {
    let asked = admin.post("/admin/audit", json!({"repair": repair})).await?;
    ensure!(asked.status == 202, "{}", asked.text);
    let ended = wait::until_ok(SOON, "the audit to end", async || {
        let shown: Value = admin.get("/admin/audit").await?;
        ensure!(
            shown["audit"]["audit_id"] == asked.json["audit_id"] && shown["audit"]["status"] != "running",
            "{shown}"
        );
        Ok(shown["audit"].clone())
    })
    .await?;
    ensure!(ended["status"] == "done", "{ended}");
    let of = |repaired: bool| -> Found {
        let findings = ended["findings"].as_array().cloned().unwrap_or_default();
        findings
            .iter()
            .filter(|finding| finding["repaired"] == repaired)
            .map(|finding| {
                let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
                let whose = if text("tenant_id").is_empty() { text("subject") } else { text("tenant_id") };
                (text("kind"), whose)
            })
            .collect()
    };
    Ok(Audited { found: of(false), repaired: of(true) })
}

/// The exit code of a command of the control plane, run with the account that migrates, and the JSON that it printed.
async fn command(stack: &Stack, args: &[&str]) -> Result<(i32, Value)> {
    let migrator = [("SYSTEM_DB_URL", stack.urls.system.migrator.as_str())];
    let answer = world::command(stack, Role::ControlPlane, args, &migrator).await?;
    ensure!(!answer.json.is_null(), "{args:?} printed no JSON: {}", answer.errors);
    Ok((answer.code.unwrap_or(-1), answer.json))
}
