//! The database server itself keeps tenants apart: a tenant's user reads its own database and nothing else, also
//! beside databases whose names differ only where a careless GRANT has a wildcard.

use crate::world::{self, SOON};
use anyhow::{Context, Result};
use harness::stack::Stack;
use sqlx::{ConnectOptions, Executor};

const TENANTS: [&str; 4] = ["a-b", "axb", "ab", "a-b-c"];

#[tokio::test]
async fn a_tenants_user_reads_nothing_outside_its_database() -> Result<()> {
    let stack = Stack::start(world::without_nodes("isolation")?).await?;
    let mut root = world::root(&stack).await?;
    // An unescaped `ai_shifu_tenant_a-b` or `a_b` would match these databases.
    let by_hand =
        ["ai_shifu_tenant_a_b", "aiXshifu_tenant_a-b", "ai-shifu-tenant-a-b", "ai_shifu_tenant_a%b", "test_x"];
    for name in by_hand {
        root.execute(format!("CREATE DATABASE `{name}`; CREATE TABLE `{name}`.secret (id INT)").as_str())
            .await
            .with_context(|| format!("make {name}"))?;
    }
    let admin = stack.admin();
    for id in TENANTS {
        let created = admin.create_tenant(id, id, None).await?;
        admin.wait_for_operation(&created.operation_id, SOON).await?;
    }
    let every: Vec<(String,)> = sqlx::query_as(DATABASES).fetch_all(&mut root).await?;
    for id in TENANTS {
        let own = format!("ai_shifu_tenant_{id}");
        let mut login = world::login(&stack, id).await?.connect().await?;
        let visible: Vec<(String,)> = sqlx::query_as(DATABASES).fetch_all(&mut login).await?;
        // MySQL shows its own statistics to every account. They contain little but names of tables, and each is
        // protected by rights of its own.
        let mut visible: Vec<_> =
            visible.into_iter().map(|(name,)| name).filter(|name| name != "performance_schema").collect();
        visible.sort();
        assert_eq!(visible, [own.clone(), "information_schema".into()], "{id} sees other tenants");
        login.execute("SELECT COUNT(*) FROM order_orders").await?;
        for (other,) in every.iter().filter(|(name,)| *name != own && !name.ends_with("_schema")) {
            for statement in [
                format!("SELECT * FROM `{other}`.order_orders"),
                format!("SELECT * FROM `{other}`.secret"),
                format!("INSERT INTO `{other}`.secret VALUES (1)"),
                format!("CREATE TABLE `{other}`.mine (id INT)"),
                format!("USE `{other}`"),
            ] {
                let refused =
                    login.execute(statement.as_str()).await.err().map(|error| kernel::database::number(&error));
                assert!(matches!(refused, Some(Some(1142 | 1044))), "{id}: {statement}: {refused:?}");
            }
        }
        // The user may change rows, and neither the schema nor accounts nor the server.
        for statement in [
            "CREATE TABLE mine (id INT)",
            "DROP TABLE order_orders",
            "ALTER TABLE order_orders ADD mine INT",
            "CREATE USER mine",
            "GRANT SELECT ON *.* TO CURRENT_USER()",
            "SELECT * FROM mysql.user",
            "SET GLOBAL max_connections = 1",
        ] {
            assert!(login.execute(statement).await.is_err(), "{id} may {statement}");
        }
    }
    Ok(())
}

/// The databases that an account sees. MySQL declares the names as binary.
const DATABASES: &str = "SELECT CONVERT(SCHEMA_NAME USING utf8mb4) FROM information_schema.SCHEMATA";
