//! Every kind of drift, planted on real servers.

use super::{Found, audit, fail_to_create};
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::servers::mysql;
use harness::stack::Stack;
use serde_json::json;
use sqlx::{ConnectOptions, Executor, MySqlConnection};
use std::collections::BTreeSet;

#[tokio::test]
async fn every_planted_drift_is_found_and_repaired_if_safe() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("audit")?).await?;
    let admin = stack.admin();
    let world = World::make(&mut stack).await?;
    ensure!(audit(&admin, false).await?.found == Found::new(), "the audit finds something in a fleet without drifts");

    // The test holds a session that outlives the lock of its account.
    let _session = world.plant(&stack).await?;
    let report = audit(&admin, false).await?;
    let expected: Found = world.drifts.iter().map(|(kind, whose, _)| (kind.to_string(), whose.clone())).collect();
    ensure!(
        report.found == expected,
        "missing: {:?}; beyond: {:?}",
        expected.difference(&report.found).collect::<Vec<_>>(),
        report.found.difference(&expected).collect::<Vec<_>>()
    );
    ensure!(report.repaired.is_empty(), "the audit repaired something without being asked to: {:?}", report.repaired);
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
        let repaired = repairs[0].data["repairs"].as_array().cloned().unwrap_or_default();
        ensure!(
            repaired.iter().any(|repair| repair["drift"] == *kind && repair["done"].is_string()),
            "{whose}: {repaired:?}"
        );
    }
    for id in [
        "d-locked",
        "d-limit",
        "d-wild",
        "d-table",
        "d-lacks",
        "d-global",
        "d-no-user",
        "d-password",
        "d-credential",
        "d-expires",
    ] {
        let mut login = world::login(&stack, id).await?.connect().await.with_context(|| format!("{id} logs in"))?;
        login.execute("SELECT COUNT(*) FROM order_orders").await?;
        let others = login.execute("SELECT COUNT(*) FROM `ai_shifu_tenant_default`.order_orders").await;
        ensure!(others.is_err(), "{id} reads another tenant's data");
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

/// Tenants for drifts, and what an audit must find: the kind, the tenant or thing, and whether it is repaired.
struct World {
    drifts: Vec<(&'static str, String, bool)>,
    installation: String,
    /// The prefix of the names of this installation's users.
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
            ("password_expires", "d-expires", true),
            ("user_left", "d-second", true),
            ("user_left", "d-host", true),
            ("user_left", "d-purged", true),
            ("credential_missing", "d-credential", true),
            // The user whose name the credential no longer has.
            ("user_left", "d-credential", true),
            ("rotation_left", "d-rotation", true),
            ("session_left", "d-session", true),
            ("credential_unreadable", "d-sealed", false),
            ("database_missing", "d-database", false),
            ("database_unmarked", "d-mark", false),
            ("schema_differs", "d-schema", false),
            // Schema 0 has no tables, so none is missing.
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

    /// Plants every drift. The caller must hold the returned session.
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
            format!("ALTER USER {} PASSWORD EXPIRE INTERVAL 90 DAY", name("d-expires").await?),
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
        // The name of a user without the server: it contains a digest of the tenant's id.
        let digest = "SELECT CONVERT(LEFT(SHA2('d-purged', 256), 16) USING utf8mb4)";
        let purged: String = sqlx::query_scalar(digest).fetch_one(&mut root).await?;
        statements.push(format!("CREATE USER '{}{purged}_a'@'%'", self.prefix));
        for statement in &statements {
            root.execute(statement.as_str()).await.with_context(|| statement.clone())?;
        }
        let mark = |installation: &str, tenant: &str, schema: &str| {
            format!("installation={installation};tenant={tenant};schema={schema};sum=e3b0c44298fc1c14")
        };
        set_marker(&mut root, "ai_shifu_tenant_d-mark", "somebody's own words").await?;
        set_marker(&mut root, "ai_shifu_tenant_d-schema", &mark(&self.installation, "d-schema", "0")).await?;
        set_marker(&mut root, "ai_shifu_tenant_d-failed", &mark(&self.installation, "d-failed", "0")).await?;
        set_marker(&mut root, "ai_shifu_tenant_nobody", &mark(&self.installation, "nobody", "0")).await?;
        set_marker(&mut root, "ai_shifu_tenant_foreign", &mark("another", "foreign", "0")).await?;
        root.execute("CREATE DATABASE `ai_shifu_tenant_a_b`").await?;
        let session_of_a_locked_user = world::login(stack, "d-session").await?.connect().await?;
        root.execute(format!("ALTER USER {session} ACCOUNT LOCK").as_str()).await?;
        for statement in [
            "UPDATE saas_tenant_databases SET updated_at = updated_at, db_username = '', db_password_encrypted = '' WHERE tenant_id = 'd-credential'",
            "UPDATE saas_tenant_databases SET updated_at = updated_at, db_password_encrypted = 'v1.k1.AAAA' WHERE tenant_id = 'd-sealed'",
            "INSERT INTO saas_next_credentials VALUES ('d-rotation', 'none', 'ten_x_b', '', NULL, UTC_TIMESTAMP(6))",
        ] {
            sqlx::query(statement).execute(&mut system).await?;
        }
        Ok(session_of_a_locked_user)
    }
}

/// Writes the ownership marker of a database, which it creates if necessary.
pub async fn set_marker(root: &mut MySqlConnection, database: &str, text: &str) -> Result<()> {
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
