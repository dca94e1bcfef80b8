//! The migration runner: concurrent runs are harmless, and a changed file is refused.

use crate::world;
use anyhow::Result;
use harness::stack::Role;
use harness::stack::Stack;

#[tokio::test]
async fn concurrent_and_repeated_migrations_are_harmless() -> Result<()> {
    let mut options = world::without_nodes("migrations")?;
    (options.control_planes, options.provisioners) = (0, 0);
    let stack = Stack::start_servers(options).await?;
    let mut root = world::root(&stack).await?;
    let url = vec![("SYSTEM_DB_URL".to_owned(), stack.urls.system.migrator.clone())];
    for _ in 0..3 {
        sqlx::raw_sql("DROP DATABASE ai_shifu_system; CREATE DATABASE ai_shifu_system").execute(&mut root).await?;
        let together = (0..4).map(|_| stack.run(Role::ControlPlane, &["migrate"], &url));
        futures::future::try_join_all(together).await?;
    }
    let count = "SELECT COUNT(*) FROM ai_shifu_system.saas_schema_migrations";
    assert_eq!(world::number(&mut root, count).await?, kernel::database::migrate::SYSTEM.iter().count() as i64);
    let defaults = "SELECT COUNT(*) FROM ai_shifu_system.saas_system_config";
    let before = world::number(&mut root, defaults).await?;
    stack.run(Role::ControlPlane, &["migrate"], &url).await?;
    assert_eq!(world::number(&mut root, defaults).await?, before);

    // A killed migration leaves part of a file applied. The next run completes it.
    sqlx::raw_sql(
        "DROP TABLE ai_shifu_system.saas_operation_steps;
         DELETE FROM ai_shifu_system.saas_schema_migrations WHERE version = 3",
    )
    .execute(&mut root)
    .await?;
    stack.run(Role::ControlPlane, &["migrate"], &url).await?;
    assert_eq!(world::number(&mut root, "SELECT COUNT(*) FROM ai_shifu_system.saas_operation_steps").await?, 0);

    sqlx::raw_sql("UPDATE ai_shifu_system.saas_schema_migrations SET checksum = 'x' WHERE version = 2")
        .execute(&mut root)
        .await?;
    let refused = stack.run(Role::ControlPlane, &["migrate"], &url).await.err().map(|error| format!("{error:#}"));
    assert!(refused.as_deref().unwrap_or_default().contains("migration 2 was changed"), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_service_on_an_old_schema_names_the_migration_command() -> Result<()> {
    let mut options = world::without_nodes("old-schema")?;
    (options.control_planes, options.provisioners) = (0, 0);
    let stack = Stack::start_servers(options).await?;
    sqlx::raw_sql("DROP DATABASE ai_shifu_system; CREATE DATABASE ai_shifu_system")
        .execute(&mut world::root(&stack).await?)
        .await?;
    let refused = stack.run(Role::ControlPlane, &["serve"], &Vec::new()).await.err().map(|error| format!("{error:#}"));
    assert!(refused.as_deref().unwrap_or_default().contains("control-plane migrate"), "{refused:?}");
    Ok(())
}
