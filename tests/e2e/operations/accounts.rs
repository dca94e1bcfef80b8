//! The accounts of the services have the rights that they use, and no others. The servers' policies for passwords of
//! people do not end the accounts of tenants.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::servers::mysql;
use harness::stack::{Role, Stack};
use harness::wait;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, MySqlConnection};

#[tokio::test]
async fn no_service_changes_an_event_and_nodes_read_no_secret() -> Result<()> {
    let mut options = world::without_nodes("rights")?;
    (options.control_planes, options.provisioners) = (0, 0);
    let stack = Stack::start_servers(options).await?;
    let urls = &stack.urls.system;
    for url in [&urls.control, &urls.provisioner_system] {
        let mut service = MySqlConnection::connect(url).await?;
        for change in
            ["UPDATE saas_events SET actor = 'x' WHERE position = 0", "DELETE FROM saas_events WHERE position = 0"]
        {
            ensure!(service.execute(change).await.is_err(), "a service may {change}");
        }
        service.execute("SELECT COUNT(*) FROM saas_events").await?;
        // Every other table that a migration makes can be changed, so no service fails on a new one.
        let tables: Vec<(String,)> = sqlx::query_as(
            "SELECT CONVERT(TABLE_NAME USING utf8mb4) FROM information_schema.TABLES
             WHERE TABLE_SCHEMA = 'ai_shifu_system'
               AND TABLE_NAME NOT IN ('saas_events', 'saas_schema_migrations')",
        )
        .fetch_all(&mut service)
        .await?;
        ensure!(tables.len() > 40, "{} tables", tables.len());
        for (table,) in tables {
            let delete = format!("DELETE FROM `{table}` WHERE 1 = 0");
            service.execute(delete.as_str()).await.with_context(|| format!("tables.sql grants nothing on {table}"))?;
        }
    }
    let mut node = MySqlConnection::connect(&urls.node).await?;
    for table in [
        "saas_idempotency_keys",
        "saas_admin_tokens",
        "saas_tenant_settings",
        "saas_next_credentials",
        "saas_operations",
        "saas_access_logs",
        "saas_sign_ups",
    ] {
        let read = node.execute(format!("SELECT COUNT(*) FROM {table}").as_str()).await;
        ensure!(read.is_err(), "a node reads {table}");
    }
    node.execute("SELECT COUNT(*) FROM saas_tenants").await?;
    Ok(())
}

#[tokio::test]
async fn a_policy_for_passwords_is_named_or_ends_no_tenant() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("password-policy")?).await?;
    let admin = stack.admin();
    let mut root = world::root(&stack).await?;
    root.execute("SET GLOBAL default_password_lifetime = 1").await?;
    admin.create_active_tenant("acme", None, SOON).await?;
    let account = world::login(&stack, "acme").await?.get_username().to_owned();
    let lifetime = match mysql::selected() {
        Some(_) => format!("SELECT CAST(password_lifetime AS SIGNED) FROM mysql.user WHERE User = '{account}'"),
        None => format!(
            "SELECT CAST(JSON_VALUE(Priv, '$.password_lifetime') AS SIGNED) FROM mysql.global_priv
             WHERE User = '{account}'"
        ),
    };
    assert_eq!(world::number(&mut root, &lifetime).await?, 0, "the password never expires");

    if mysql::selected().is_some() {
        root.execute("SET GLOBAL partial_revokes = ON").await?;
        let mut refusals = Vec::new();
        let migrator = vec![("SYSTEM_DB_URL".to_owned(), stack.urls.system.migrator.clone())];
        for (role, command, env) in [
            (Role::Provisioner, "serve", Vec::new()),
            (Role::ControlPlane, "serve", Vec::new()),
            (Role::ControlPlane, "migrate", migrator),
        ] {
            refusals.push((command, stack.output(role, &[command], &env).await?));
        }
        root.execute("SET GLOBAL partial_revokes = OFF").await?;
        for (command, refused) in refusals {
            let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
            ensure!(refused.status.code() == Some(1) && printed.contains("partial_revokes"), "{command}: {printed}");
        }
        return Ok(());
    }
    root.execute("INSTALL SONAME 'simple_password_check'").await?;
    let created = admin.create_tenant("refused", "T", None).await?;
    let ended = admin.wait_for_end(&created.operation_id, SOON).await?;
    let error = ended.error.clone().unwrap_or_default();
    ensure!(ended.status == "failed" && error.contains("strict_password_validation"), "{}: {error}", ended.status);
    assert_eq!(ended.attempts, 1, "another attempt would be refused too");
    stack.provisioners[0].stop().await?;
    let refused = stack.output(Role::Provisioner, &["serve"], &Vec::new()).await?;
    let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && printed.contains("strict_password_validation"), "{printed}");
    root.execute("UNINSTALL SONAME 'simple_password_check'").await?;
    stack.provisioners[0].restart(&[]).await?;
    wait::until_ok(SOON, "the refused tenant to be made", async || {
        admin.post("/admin/tenants/refused/retry", json!({})).await?;
        let tenant: Value = admin.get("/admin/tenants/refused").await?;
        ensure!(tenant["state"] == "active", "it is {}", tenant["state"]);
        Ok(())
    })
    .await
}
