//! The projections equal the event log, and a rebuild finds and repairs whatever was changed in them.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::Admin;
use harness::stack::Role;
use harness::stack::Stack;
use harness::wait;
use serde_json::{Value, json};
use sqlx::MySqlConnection;

/// The exit code and the JSON of a rebuild, with the account that migrates.
async fn rebuild(stack: &Stack, args: &[&str]) -> Result<(i32, Value)> {
    let url = vec![("SYSTEM_DB_URL".to_owned(), stack.urls.system.migrator.clone())];
    let args: Vec<&str> = ["rebuild", "--json"].iter().chain(args).copied().collect();
    let output = stack.output(Role::ControlPlane, &args, &url).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    let code = output.status.code().context("it was killed")?;
    Ok((code, serde_json::from_str(&text).with_context(|| format!("{code}: {text}{errors}"))?))
}

/// Causes every kind of event.
async fn mixed_history(stack: &Stack, admin: &Admin) -> Result<()> {
    sqlx::raw_sql("CREATE DATABASE `ai_shifu_tenant_late`; CREATE TABLE `ai_shifu_tenant_late`.theirs (id INT)")
        .execute(&mut world::root(stack).await?)
        .await?;
    for id in ["acme", "beta", "gone"] {
        admin.create_active_tenant(id, Some(&format!("{id}.example.com")), SOON).await?;
    }
    let failed = admin.create_tenant("late", "Late", None).await?;
    ensure!(admin.wait_for_end(&failed.operation_id, SOON).await?.status == "failed");
    sqlx::raw_sql("DROP DATABASE `ai_shifu_tenant_late`").execute(&mut world::root(stack).await?).await?;
    let (ann, _) = world::user(admin, "ann", &[("acme", "admin"), ("beta", "user")]).await?;
    let (bob, _) = world::user(admin, "bob", &[("acme", "viewer")]).await?;
    let permissions = json!({"role": "user", "permissions": {"z": [1, 0.1, "学"], "a": null, "x": 5e-324}});
    for (method, path, body) in [
        ("POST", "acme/domains".to_owned(), json!({"domain": "Bücher.example.com"})),
        ("POST", "acme/domains".into(), json!({"domain": "third.example.com"})),
        ("PUT", "acme/domains/THIRD.example.com./primary".into(), Value::Null),
        ("DELETE", "acme/domains/acme.example.com".into(), Value::Null),
        ("DELETE", "beta/domains/beta.example.com".into(), Value::Null),
        ("POST", "beta/domains".into(), json!({"domain": "beta.example.com"})),
        ("PUT", format!("beta/users/{bob}"), permissions),
        ("PUT", format!("beta/users/{ann}"), json!({"role": "admin"})),
        ("DELETE", format!("acme/users/{bob}"), Value::Null),
        ("PUT", format!("acme/users/{bob}"), json!({"role": "user"})),
        ("DELETE", format!("acme/users/{ann}"), Value::Null),
        ("PATCH", "acme".into(), json!({"tenant_name": "Acme 学校", "plan_type": "enterprise"})),
        ("POST", "beta/maintenance".into(), json!({"enabled": true})),
        ("POST", "gone/suspend".into(), json!({"reason": "unpaid"})),
        ("POST", "acme/suspend".into(), json!({"reason": "a while"})),
        ("POST", "acme/resume".into(), Value::Null),
    ] {
        let body = Some(body).filter(|body| !body.is_null());
        let reply = admin.request(method, &format!("/admin/tenants/{path}"), body, &[]).await?;
        ensure!(reply.status < 300, "{method} {path}: {}", reply.text);
    }
    let retried = admin.post("/admin/tenants/late/retry", json!({})).await?;
    admin.wait_for_operation(retried.operation_id()?, SOON).await?;
    Ok(())
}

async fn shadows(system: &mut MySqlConnection) -> Result<i64> {
    let query = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME LIKE '%\\_\\_rebuild'";
    world::number(system, query).await
}

/// A change in each projected table, with the place and form in which it must be found.
const PLANTED: [(&str, &str, &str, &str); 13] = [
    ("UPDATE saas_tenants SET tenant_name = 'ACME 学校' WHERE tenant_id = 'acme'", "saas_tenants", "changed", "acme"),
    ("UPDATE saas_tenants SET id = id + 100000 WHERE tenant_id = 'beta'", "saas_tenants", "missing", "beta"),
    (
        "UPDATE saas_tenants SET updated_at = updated_at - INTERVAL 1 SECOND WHERE tenant_id = 'gone'",
        "saas_tenants",
        "changed",
        "gone",
    ),
    (
        "UPDATE saas_tenant_databases SET is_active = 0 WHERE tenant_id = 'acme'",
        "saas_tenant_databases",
        "changed",
        "acme",
    ),
    ("DELETE FROM saas_tenant_users WHERE tenant_id = 'acme'", "saas_tenant_users", "missing", "acme/"),
    (
        "UPDATE saas_tenant_users SET permissions = '{\"all\":1}' WHERE role = 'admin'",
        "saas_tenant_users",
        "changed",
        "beta/",
    ),
    (
        "INSERT INTO saas_tenant_users (tenant_id, user_id, role) VALUES ('acme', 'mallory', 'admin')",
        "saas_tenant_users",
        "extra",
        "acme/mallory",
    ),
    (
        "UPDATE saas_tenant_snapshots SET snapshot = CONCAT(snapshot, ' ') WHERE tenant_id = 'acme'",
        "saas_tenant_snapshots",
        "changed",
        "acme",
    ),
    (
        "UPDATE saas_tenant_domains SET tenant_id = 'gone' WHERE domain = 'third.example.com'",
        "saas_tenant_domains",
        "changed",
        "third.example.com",
    ),
    (
        "UPDATE saas_tenant_domains SET domain = UPPER(domain) WHERE domain = 'gone.example.com'",
        "saas_tenant_domains",
        "changed",
        "GONE.EXAMPLE.COM",
    ),
    (
        "INSERT INTO saas_pending_domains VALUES ('fourth.example.com', 'acme', 'x', UTC_TIMESTAMP(6), 1)",
        "saas_pending_domains",
        "extra",
        "fourth.example.com/acme",
    ),
    (
        "DELETE FROM saas_reservations WHERE value = 'acme.example.com'",
        "saas_reservations",
        "missing",
        "domain/acme.example.com",
    ),
    (
        "UPDATE saas_reservations SET held_until = NULL WHERE value = 'acme.example.com'",
        "saas_reservations",
        "changed",
        "domain/acme.example.com",
    ),
];

#[tokio::test]
async fn a_rebuild_finds_and_repairs_every_planted_change() -> Result<()> {
    let stack = Stack::start(world::without_nodes("rebuild")?).await?;
    let admin = stack.admin();
    mixed_history(&stack, &admin).await?;
    let mut system = world::system(&stack).await?;
    let equal = async |what: &str| -> Result<Value> {
        let (code, found) = rebuild(&stack, &["--check"]).await?;
        ensure!(code == 0, "{what}: {found:#}");
        Ok(found)
    };
    let first = equal("after the history").await?;
    let rows = |table: &str| {
        first["tables"].as_array().into_iter().flatten().find(|t| t["table"] == table).map(|t| t["rows"].clone())
    };
    assert_eq!((rows("saas_tenants"), rows("saas_tenant_users")), (Some(json!(5)), Some(json!(3))));
    assert_eq!(first["tables"].as_array().map(Vec::len), Some(7));
    let credentials = "SELECT CAST(SUM(CRC32(CONCAT(tenant_id, db_username, db_password_encrypted))) AS SIGNED)
         FROM saas_tenant_databases";
    let stored = world::number(&mut system, credentials).await?;

    for (plant, table, how, name) in PLANTED {
        let result = sqlx::query(plant).execute(&mut system).await?;
        ensure!(result.rows_affected() > 0, "{plant}: planted nothing");
        let (code, found) = rebuild(&stack, &["--check"]).await?;
        ensure!(code == 4, "{plant}: not found");
        for other in found["tables"].as_array().into_iter().flatten() {
            ensure!((other["table"] == table) == (other["differences"] != 0), "{plant}: {other}");
            if other["table"] == table {
                let names = other[how].as_array().cloned().unwrap_or_default();
                ensure!(
                    names.iter().any(|found| found.as_str().is_some_and(|found| found.starts_with(name))),
                    "{plant}: {other}"
                );
            }
        }
        let (code, repaired) = rebuild(&stack, &[]).await?;
        ensure!(
            code == 0 && repaired["repaired"] == true && repaired["tables"] == found["tables"],
            "{plant}: {repaired:#}"
        );
        assert_eq!(equal(plant).await?, first, "{plant}");
        assert_eq!(
            world::number(&mut system, credentials).await?,
            stored,
            "{plant}: the rebuild changes no credentials"
        );
    }
    let (code, again) = rebuild(&stack, &[]).await?;
    assert_eq!((code, &again["repaired"], &again["tables"]), (0, &json!(false), &first["tables"]));
    assert_eq!(shadows(&mut system).await?, 0);
    crate::invariants::check(&stack).await
}

#[tokio::test]
async fn a_rebuild_beside_live_services_compares_one_position() -> Result<()> {
    let stack = Stack::start(world::without_nodes("rebuild-live")?).await?;
    let admin = stack.admin();
    let busy = async {
        for n in 0..6 {
            let id = format!("t-{n}");
            let created = admin.create_tenant(&id, "T", Some(&format!("{id}.example.com"))).await?;
            for name in ["A", "B", "C"] {
                let body = json!({"tenant_name": name});
                admin.request("PATCH", &format!("/admin/tenants/{id}"), Some(body), &[]).await?.expect::<Value>(200)?;
            }
            admin.wait_for_operation(&created.operation_id, SOON).await?;
        }
        anyhow::Ok(())
    };
    let looking = async {
        let mut positions = Vec::new();
        for _ in 0..12 {
            let (code, found) = rebuild(&stack, &["--check"]).await?;
            ensure!(code == 0, "{found:#}");
            positions.push(found["position"].as_u64().context("a position")?);
        }
        anyhow::Ok(positions)
    };
    let ((), positions) = futures::future::try_join(busy, looking).await?;
    // While a check compares, events are appended.
    let (held, points) = world::held_at("rebuild.compared")?;
    let holding =
        vec![("FAILPOINTS".to_owned(), points), ("SYSTEM_DB_URL".to_owned(), stack.urls.system.migrator.clone())];
    let check = stack.output(Role::ControlPlane, &["rebuild", "--check"], &holding);
    let renaming = async {
        let mut system = world::system(&stack).await?;
        wait::until(SOON, "the shadows", async || shadows(&mut system).await.ok().filter(|count| *count == 7)).await?;
        for _ in 0..20 {
            admin
                .request("PATCH", "/admin/tenants/t-0", Some(json!({"tenant_name": "D"})), &[])
                .await?
                .expect::<Value>(200)?;
            admin
                .request("PATCH", "/admin/tenants/t-0", Some(json!({"tenant_name": "E"})), &[])
                .await?
                .expect::<Value>(200)?;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        held.close()?;
        anyhow::Ok(())
    };
    let (checked, ()) = futures::future::try_join(check, renaming).await?;
    ensure!(checked.status.code() == Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
    assert!(positions.first() < positions.last(), "events were appended meanwhile: {positions:?}");
    a_repair_waits_for_a_command(&stack).await
}

/// A repair takes its locks in the order of a command, so neither ends the other.
async fn a_repair_waits_for_a_command(stack: &Stack) -> Result<()> {
    let (mut root, mut system) = (world::root(stack).await?, world::system(stack).await?);
    sqlx::query("UPDATE saas_tenant_snapshots SET status = 9 WHERE tenant_id = 't-1'").execute(&mut system).await?;
    let mut command = sqlx::Connection::begin(&mut system).await?;
    sqlx::query("SELECT version FROM saas_tenant_snapshots WHERE tenant_id = 't-0' FOR UPDATE")
        .execute(&mut *command)
        .await?;
    let working = async {
        let waits = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'";
        wait::until(SOON, "the repair", async || {
            // The server renews this table only if nothing has read it for a moment.
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            world::number(&mut root, waits).await.ok().filter(|count| *count > 0)
        })
        .await?;
        sqlx::query("SELECT position FROM saas_heads WHERE name = 'events' FOR UPDATE").execute(&mut *command).await?;
        Ok(command.commit().await?)
    };
    let ((code, found), ()) = futures::future::try_join(rebuild(stack, &[]), working).await?;
    ensure!(code == 0 && found["repaired"] == true, "{found:#}");
    Ok(())
}

#[tokio::test]
async fn a_rebuild_that_fails_leaves_everything_as_it_was() -> Result<()> {
    let stack = Stack::start(world::without_nodes("rebuild-fails")?).await?;
    let mut system = world::system(&stack).await?;
    stack.admin().create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    sqlx::query("UPDATE saas_tenants SET tenant_name = 'x' WHERE tenant_id = 'acme'").execute(&mut system).await?;
    let with = |name: &str, value: &str| {
        vec![("SYSTEM_DB_URL".to_owned(), stack.urls.system.migrator.clone()), (name.to_owned(), value.to_owned())]
    };
    let name = "SELECT COUNT(*) FROM saas_tenants WHERE tenant_name = 'x'";

    // The kill comes after the swap and before its commit, so nothing is swapped. The next rebuild removes the shadow
    // tables.
    for point in ["rebuild.shadows", "rebuild.before_commit"] {
        let killed =
            stack.output(Role::ControlPlane, &["rebuild"], &with("FAILPOINTS", &format!("{point}=kill"))).await?;
        assert_eq!(killed.status.code(), None, "{point}");
        assert_eq!((world::number(&mut system, name).await?, shadows(&mut system).await?), (1, 7), "{point}");
        // The server holds the lock of the killed connection until it notices the lost peer.
        wait::until_ok(SOON, "another rebuild", async || {
            let (code, _) = rebuild(&stack, &["--check"]).await?;
            ensure!(code == 4, "{code}");
            Ok(())
        })
        .await?;
        assert_eq!(shadows(&mut system).await?, 0, "{point}");
    }

    // The services' own account may not create tables. The command says so.
    let refused = stack.output(Role::ControlPlane, &["rebuild"], &Vec::new()).await?;
    let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && printed.contains("use the one that migrates"), "{printed}");

    // A log of a newer version is refused with the name of the event, and no shadow table is left.
    sqlx::query("UPDATE saas_events SET event_type = 'tenant.teleported' WHERE tenant_id = 'acme' AND version = 3")
        .execute(&mut system)
        .await?;
    let refused = stack.output(Role::ControlPlane, &["rebuild"], &with("LOG", "info")).await?;
    let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && printed.contains("(tenant.teleported) cannot be read"), "{printed}");
    assert_eq!((world::number(&mut system, name).await?, shadows(&mut system).await?), (1, 0));
    Ok(())
}
