//! A backup becomes a new tenant, also on another database server.

use super::{REFUSED, assert_equal, back_up, odd_tenant, options, run, sums};
use crate::world;
use anyhow::{Result, ensure};
use harness::servers::Server;
use harness::stack::Stack;
use serde_json::json;
use sqlx::ConnectOptions;

/// The members of a tenant, with their roles.
async fn members(stack: &Stack, tenant: &str) -> Result<Vec<(String, String)>> {
    let query = "SELECT user_id, role FROM saas_tenant_users WHERE tenant_id = ? AND deleted = 0 ORDER BY user_id";
    Ok(sqlx::query_as(query).bind(tenant).fetch_all(&mut world::system(stack).await?).await?)
}

#[tokio::test]
async fn a_backup_becomes_a_new_tenant_on_another_server() -> Result<()> {
    let mut options = options("backup-new")?;
    options.more_servers = vec!["eu2".into()];
    let mut stack = Stack::start(options).await?;
    world::place_on_main(&stack).await?;
    let before = odd_tenant(&stack, "acme", 2_000).await?;
    back_up(&stack, "acme").await?;

    let point = [("FAILPOINTS", "restore_new.load_backup.after=kill")];
    let copied = run(&stack, &["restore", "acme", "--as", "copy", "--json"], &point).await?;
    ensure!(matches!(copied.code, None | Some(0)), "{}", copied.errors);
    // The command is killed, unless the running provisioner was faster. The same command completes it in either case.
    if copied.code.is_none() {
        ensure!(stack.admin().tenant("copy").await?.state == "provisioning", "a node serves a half made tenant");
        run(&stack, &["restore", "acme", "--as", "copy"], &[]).await?.expect(0)?;
    }
    assert_equal(&before, &sums(&stack.urls.root, "copy").await?, "the copy")?;
    ensure!(stack.admin().tenant("copy").await?.state == "active");
    world::login(&stack, "copy").await?.connect().await?;
    let events = stack.admin().events("copy").await?;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let expected = ["tenant.created", "tenant.database_provisioned", "tenant.database_restored", "tenant.activated"];
    ensure!(kinds == expected && events[2].data["source_tenant_id"] == "acme", "{events:?}");
    run(&stack, &["restore", "acme", "--as", "copy"], &[]).await?.expect(REFUSED)?;

    ensure!(
        members(&stack, "copy").await?.is_empty(),
        "the new tenant has no members, because the command did not ask for them"
    );
    let admin = stack.admin();
    let mut expected = Vec::new();
    for (name, role) in [("ann", "admin"), ("bob", "viewer"), ("eve", "user")] {
        let (user_id, _) = world::user(&admin, name, &[("acme", role)]).await?;
        expected.push((user_id, role.to_owned()));
    }
    admin.request("DELETE", &format!("/admin/tenants/acme/users/{}", expected.remove(2).0), None, &[]).await?;
    expected.sort();
    let args = ["restore", "acme", "--as", "far", "--server", "eu2", "--members", "--json"];
    let moved = run(&stack, &args, &[]).await?.expect(0)?;
    ensure!(members(&stack, "far").await? == expected, "{:?}", members(&stack, "far").await?);
    ensure!(moved.json["state"] == "active", "{}", moved.json);
    assert_equal(&before, &sums(&stack.more_servers["eu2"].url(), "far").await?, "on the other server")?;
    let refused = run(&stack, &["restore", "acme", "--as", "x1", "--server", "us"], &[]).await?.expect(REFUSED)?;
    ensure!(refused.errors.contains("TENANT_DB_ADMIN_URL_US"), "{}", refused.errors);

    // Whether the command or the provisioner takes the job, it fails, and no retry makes an empty tenant of it.
    let point = ("FAILPOINTS", "restore_new.load_backup=error");
    stack.provisioners[0].restart(&[(point.0, Some(point.1))]).await?;
    let failed = run(&stack, &["restore", "acme", "--as", "lost"], &[point]).await?;
    ensure!(failed.code.is_some_and(|code| code != 0), "the command was expected to fail");
    stack.provisioners[0].restart(&[("FAILPOINTS", None)]).await?;
    ensure!(stack.admin().tenant("lost").await?.state == "failed");
    let retried = stack.admin().post("/admin/tenants/lost/retry", json!({})).await?;
    ensure!((retried.status, retried.error()) == (409, "invalid_state"), "{}", retried.text);
    ensure!(retried.json["state"] == "failed" && retried.json["detail"].is_string(), "{}", retried.text);
    Ok(())
}
