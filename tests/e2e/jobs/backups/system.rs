//! The whole system database is lost and restored.

use super::{REFUSED, assert_equal, run, with_store};
use crate::world::{self, SOON};
use crate::{invariants, world::user};
use anyhow::{Result, ensure};
use harness::legacy::checksum;
use harness::stack::Role;
use harness::stack::{Stack, StackOptions};
use sqlx::Executor;

#[tokio::test]
async fn a_restored_system_database_serves_as_before() -> Result<()> {
    let mut stack = Stack::start(with_store(StackOptions::for_test("backup-system")?)?).await?;
    let admin = stack.admin();
    for tenant in ["acme", "beta"] {
        admin.create_active_tenant(tenant, Some(&format!("{tenant}.example.com")), SOON).await?;
    }
    let (user_id, token) = user(&admin, "ann", &[("acme", "admin"), ("beta", "viewer")]).await?;
    world::plant_order(&stack, "acme", &user_id, "order-1").await?;
    world::idle(&stack).await?;
    for service in stack.services() {
        service.stop().await?;
    }
    let before = checksum::of_database(&stack.urls.root, "ai_shifu_system").await?;
    run(&stack, &["backup", "--system", "--json"], &[]).await?.expect(0)?;

    let migrator = stack.urls.system.migrator.clone();
    let env = [("SYSTEM_DB_URL", migrator.as_str())];
    let refused = run(&stack, &["restore", "--system"], &env).await?.expect(REFUSED)?;
    ensure!(refused.errors.contains("not empty"), "{}", refused.errors);
    world::root(&stack).await?.execute("DROP DATABASE ai_shifu_system; CREATE DATABASE ai_shifu_system").await?;
    let listed = run(&stack, &["backup", "list", "--json"], &env).await?.expect(0)?;
    ensure!(listed.json[0]["state"] == "whole", "the list needs no system database: {}", listed.json);

    for point in ["restore.statement", "restore.system_loaded"] {
        let kill = [env[0], ("FAILPOINTS", &format!("{point}=kill"))];
        run(&stack, &["restore", "--system"], &kill).await?.killed()?;
    }
    run(&stack, &["restore", "--system", "--json"], &env).await?.expect(0)?;
    let mut after = checksum::of_database(&stack.urls.root, "ai_shifu_system").await?;
    // The catalogue has the backup only since it was complete.
    let mut expected = before.clone();
    for sums in [&mut expected, &mut after] {
        for table in ["saas_backups", "saas_encryption_counts"] {
            sums.remove(table);
        }
    }
    assert_equal(&expected, &after, "the system database")?;

    for service in stack.services() {
        service.restart(&[]).await?;
    }
    let api = stack.tenant_api(0);
    let reply = world::served(&api, "acme.example.com", &token).await?;
    ensure!(world::order_bids(&reply) == ["order-1"], "{}", reply.text);
    for args in [vec!["verify-log"], vec!["rebuild", "--check"]] {
        let env = vec![("SYSTEM_DB_URL".to_owned(), migrator.clone())];
        stack.run(Role::ControlPlane, &args, &env).await?;
    }
    stack.admin().create_active_tenant("gamma", None, SOON).await?;
    invariants::check(&stack).await
}
