//! Keys are replaced while the services run. Every tenant is served at every step, and a key in use cannot be lost.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::stack::Role;
use harness::stack::Stack;
use harness::wait;
use serde_json::{Value, json};

/// The exit code, the standard output and the standard error of a command.
async fn keys(
    stack: &Stack,
    ring: &str,
    args: &[&str],
    more: &[(&str, &str)],
) -> Result<(Option<i32>, String, String)> {
    let mut env = vec![("ENCRYPTION_KEYS".to_owned(), ring.to_owned())];
    env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let args: Vec<&str> = ["keys"].iter().chain(args).copied().collect();
    let output = stack.output(Role::ControlPlane, &args, &env).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

/// The key ring that a command prints. The command must succeed and must not print a key on standard error.
async fn next_ring(stack: &Stack, ring: &str, args: &[&str]) -> Result<String> {
    let (code, next, printed) = keys(stack, ring, args, &[]).await?;
    ensure!(code == Some(0), "{args:?}: {code:?} {printed}");
    for pair in ring.split(',').chain(next.split(',')) {
        let secret = pair.split_once(':').context("a pair")?.1;
        ensure!(!printed.contains(secret), "{args:?} prints a key on standard error");
    }
    Ok(next)
}

async fn listed(stack: &Stack, ring: &str) -> Result<Vec<Value>> {
    let (code, list, printed) = keys(stack, ring, &["list", "--json"], &[]).await?;
    ensure!(code == Some(0), "{printed}");
    Ok(serde_json::from_str::<Value>(&list)?.as_array().cloned().unwrap_or_default())
}

fn texts(list: &[Value], id: &str) -> u64 {
    let key = list.iter().find(|key| key["key_id"] == id);
    key.and_then(|key| key["texts"].as_object()).into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum()
}

async fn restart_all(stack: &mut Stack, ring: &str) -> Result<()> {
    for service in stack.services() {
        service.restart(&[("ENCRYPTION_KEYS", Some(ring))]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn keys_are_replaced_while_tenants_are_served() -> Result<()> {
    let mut stack = world::start("keys").await?;
    let admin = stack.admin();
    for id in ["acme", "beta"] {
        admin.create_active_tenant(id, Some(&format!("{id}.example.com")), SOON).await?;
    }
    let (user_id, token) = world::user(&admin, "ann", &[("acme", "admin"), ("beta", "admin")]).await?;
    let path = format!("/admin/users/{user_id}/tokens");
    let once = async || admin.request("POST", &path, Some(json!({})), &[("Idempotency-Key", "k-1")]).await;
    let shown = once().await?;
    assert_eq!(shown.status, 201, "{}", shown.text);
    let api = stack.tenant_api(0);
    let served = async |ids: &[&str]| -> Result<()> {
        for id in ids {
            wait::until_ok(SOON, "the tenant to be served", async || {
                let reply = api.get(&format!("{id}.example.com"), &token, "/api/orders").await?;
                ensure!(reply.status == 200, "{id}: {}", reply.text);
                Ok(())
            })
            .await?;
        }
        assert_eq!(once().await?.json, shown.json, "the stored answer can be decrypted");
        Ok(())
    };
    served(&["acme", "beta"]).await?;
    let k1 = stack.encryption_keys().to_owned();

    // Step one adds the key everywhere. The old key still seals.
    let added = next_ring(&stack, &k1, &["add", "k2"]).await?;
    assert!(added.starts_with(&format!("{k1},k2:")), "the new key is the last");
    let (code, out, printed) = keys(&stack, &added, &["add", "k2"], &[]).await?;
    assert!(code == Some(1) && out.is_empty() && printed.contains("already"), "{printed}");
    restart_all(&mut stack, &added).await?;
    served(&["acme", "beta"]).await?;

    // Step two promotes the key, one process after the other. A process with the old ring opens what the others seal.
    let promoted = next_ring(&stack, &added, &["promote", "k2"]).await?;
    assert!(promoted.starts_with("k2:"));
    stack.provisioners[0].restart(&[("ENCRYPTION_KEYS", Some(&promoted))]).await?;
    let new = admin.create_active_tenant("new", Some("new.example.com"), SOON).await?;
    admin.put_member(&new.tenant_id, &user_id, "admin").await?;
    served(&["acme", "beta", "new"]).await?;
    let list = listed(&stack, &promoted).await?;
    assert_eq!((texts(&list, "k1"), texts(&list, "k2")), (4, 1), "{list:#?}");
    restart_all(&mut stack, &promoted).await?;

    // Retiring is refused while the key is needed, and the primary key is never retired.
    let (code, out, printed) = keys(&stack, &promoted, &["retire", "k1"], &[]).await?;
    assert!(code == Some(4) && out.is_empty() && printed.contains("4 texts"), "{printed}");
    let (code, out, printed) = keys(&stack, &promoted, &["retire", "k2"], &[]).await?;
    assert!(code == Some(1) && out.is_empty() && printed.contains("promote another first"), "{printed}");

    let (code, _, printed) = keys(&stack, &promoted, &["reseal", "--limit", "1"], &[]).await?;
    assert!(code == Some(0) && printed.contains("sealed 1 texts"), "{printed}");
    served(&["acme", "beta", "new"]).await?;
    let (code, _, printed) = keys(&stack, &promoted, &["reseal"], &[]).await?;
    assert!(code == Some(0) && printed.contains("sealed 3 texts"), "{printed}");
    let list = listed(&stack, &promoted).await?;
    assert_eq!((texts(&list, "k1"), texts(&list, "k2")), (0, 5), "{list:#?}");
    // The provisioner sealed 1 text, which it reported when it stopped, and the command resealed 4.
    assert_eq!(list.iter().map(|key| key["sealings"].as_u64()).collect::<Vec<_>>(), [Some(5), Some(4)], "{list:#?}");

    let retired = next_ring(&stack, &promoted, &["retire", "k1"]).await?;
    assert!(retired.starts_with("k2:") && !retired.contains(','));
    restart_all(&mut stack, &retired).await?;
    admin.create_active_tenant("last", Some("last.example.com"), SOON).await?;
    admin.put_member("last", &user_id, "admin").await?;
    served(&["acme", "beta", "new", "last"]).await?;

    // Resealing makes no event, so the projections do not change.
    let url = vec![("SYSTEM_DB_URL".to_owned(), stack.urls.system.migrator.clone())];
    let rebuilt = stack.output(Role::ControlPlane, &["rebuild", "--check"], &url).await?;
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stdout));
    crate::invariants::check(&stack).await
}

#[tokio::test]
async fn resealing_can_be_killed_at_any_row() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("reseal-killed")?).await?;
    let admin = stack.admin();
    for n in 0..4 {
        let (id, key) = (format!("t-{n}"), format!("key-{n}"));
        let body = json!({"tenant_id": id, "tenant_name": "T"});
        let reply = admin.request("POST", "/admin/tenants", Some(body), &[("Idempotency-Key", &key)]).await?;
        admin.wait_for_operation(reply.operation_id()?, SOON).await?;
    }
    let k1 = stack.encryption_keys().to_owned();
    let ring = next_ring(&stack, &next_ring(&stack, &k1, &["add", "k2"]).await?, &["promote", "k2"]).await?;
    assert_eq!(texts(&listed(&stack, &ring).await?, "k1"), 9, "five passwords, four answers");
    for left in (3..9).rev() {
        for (point, left) in [("reseal.before_replace", left + 1), ("reseal.after_replace", left)] {
            let (code, ..) = keys(&stack, &ring, &["reseal"], &[("FAILPOINTS", &format!("{point}=kill"))]).await?;
            assert_eq!(code, None, "killed");
            assert_eq!(texts(&listed(&stack, &ring).await?, "k1"), left, "{point}");
        }
    }

    // A text that was tampered with is named, and does not stop the others.
    let mut system = world::system(&stack).await?;
    let exchange = "UPDATE saas_idempotency_keys a JOIN saas_idempotency_keys b
                    ON a.idempotency_key = 'key-2' AND b.idempotency_key = 'key-3'
                    SET a.response_sealed = b.response_sealed, b.response_sealed = b.response_sealed";
    sqlx::query("CREATE TABLE saved AS SELECT * FROM saas_idempotency_keys").execute(&mut system).await?;
    sqlx::query(exchange).execute(&mut system).await?;
    let (code, _, printed) = keys(&stack, &ring, &["reseal"], &[]).await?;
    assert!(code == Some(4) && printed.contains("key-2: a sealed text does not open for this purpose"), "{printed}");
    assert_eq!(texts(&listed(&stack, &ring).await?, "k1"), 1);
    let restore = "UPDATE saas_idempotency_keys a JOIN saved b USING (actor, idempotency_key)
                   SET a.response_sealed = b.response_sealed WHERE a.idempotency_key = 'key-2'";
    sqlx::query(restore).execute(&mut system).await?;
    let (code, _, printed) = keys(&stack, &ring, &["reseal"], &[]).await?;
    assert!(code == Some(0) && printed.contains("0 are sealed with other keys"), "{printed}");

    let retired = next_ring(&stack, &ring, &["retire", "k1"]).await?;
    restart_all(&mut stack, &retired).await?;
    for n in 0..4 {
        let body = json!({"tenant_id": format!("t-{n}"), "tenant_name": "T"});
        let key = format!("key-{n}");
        let again = admin.request("POST", "/admin/tenants", Some(body), &[("Idempotency-Key", &key)]).await?;
        assert_eq!(again.status, 202, "{}", again.text);
    }
    crate::invariants::check(&stack).await
}

#[tokio::test]
async fn a_key_at_its_limit_seals_no_more() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("key-limit")?).await?;
    let admin = stack.admin();
    let mut system = world::system(&stack).await?;
    sqlx::query("REPLACE INTO saas_encryption_counts VALUES ('k1', (1 << 31) - 1, UTC_TIMESTAMP(6))")
        .execute(&mut system)
        .await?;
    let ring = stack.encryption_keys().to_owned();
    let (code, _, printed) = keys(&stack, &ring, &["list"], &[]).await?;
    assert!(code == Some(0) && printed.contains("k1 has sealed 2147483647 times"), "{printed}");
    stack.control_planes[0].restart(&[]).await?;
    let create = async |key: &str| {
        admin.request("POST", "/admin/users", Some(json!({"username": key})), &[("Idempotency-Key", key)]).await
    };
    wait::until(SOON, "the process to read the count", async || {
        stack.control_planes[0].log_text().contains("has sealed much").then_some(())
    })
    .await?;
    assert_eq!(create("first").await?.status, 201, "the last one");
    let refused = create("second").await?;
    assert_eq!((refused.status, refused.error()), (500, "internal"));
    assert_eq!(world::number(&mut system, "SELECT COUNT(*) FROM user_info WHERE username = 'second'").await?, 0);
    assert_eq!(create("first").await?.status, 201, "sealed texts can still be decrypted");

    // Another key can seal.
    let ring = next_ring(&stack, &next_ring(&stack, &ring, &["add", "k2"]).await?, &["promote", "k2"]).await?;
    restart_all(&mut stack, &ring).await?;
    assert_eq!(create("second").await?.status, 201);
    Ok(())
}
