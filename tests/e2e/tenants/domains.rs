//! A tenant's domains: the primary one, and the reservation of a removed one.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::Result;
use harness::stack::{Stack, StackOptions};
use serde_json::{Value, json};

#[tokio::test]
async fn a_removed_domain_is_reserved_for_its_former_tenant() -> Result<()> {
    let stack = Stack::start(StackOptions::for_test("domains")?).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("a.example.com"), SOON).await?;
    admin.create_active_tenant("beta", Some("beta.example.com"), SOON).await?;
    let call = async |method: &str, path: &str, body: Option<Value>| {
        admin.request(method, &format!("/admin/tenants/{path}"), body, &[]).await
    };
    let register = async |tenant: &str, domain: &str| {
        call("POST", &format!("{tenant}/domains"), Some(json!({"domain": domain}))).await
    };
    assert_eq!(register("acme", "b.example.com").await?.status, 201);

    let changed = call("PUT", "acme/domains/B.example.com./primary", None).await?;
    assert_eq!((changed.status, &changed.json["tenant_domain"]), (200, &json!("b.example.com")), "{}", changed.text);
    let again = call("PUT", "acme/domains/b.example.com/primary", None).await?;
    assert_eq!((again.status, &again.json["version"]), (200, &changed.json["version"]), "nothing changed");
    let mut system = world::system(&stack).await?;
    let primary = "SELECT GROUP_CONCAT(domain) FROM saas_tenant_domains WHERE tenant_id = 'acme' AND is_primary = 1";
    let primary: Option<String> = sqlx::query_scalar(primary).fetch_one(&mut system).await?;
    assert_eq!(primary.as_deref(), Some("b.example.com"));
    for other in ["beta.example.com", "nobodys.example.com"] {
        let refused = call("PUT", &format!("acme/domains/{other}/primary"), None).await?;
        assert_eq!(
            (refused.status, refused.error(), &refused.json["field"]),
            (404, "domain_not_found", &json!("domain"))
        );
    }

    // A removed domain is reserved: only its former tenant may take it back.
    for take_back in [true, false] {
        assert_eq!(call("DELETE", "acme/domains/a.example.com", None).await?.status, 204);
        let refused = register("beta", "a.example.com").await?;
        assert_eq!((refused.status, refused.error()), (409, "domain_taken"), "{}", refused.text);
        if take_back {
            assert_eq!(register("acme", "a.example.com").await?.status, 201);
        }
    }
    invariants::check(&stack).await?;
    // The test moves the reservation 30 days into the past.
    sqlx::query("UPDATE saas_reservations SET held_until = held_until - INTERVAL 30 DAY WHERE held_until IS NOT NULL")
        .execute(&mut system)
        .await?;
    let taken = register("beta", "a.example.com").await?;
    assert_eq!(taken.status, 201, "{}", taken.text);
    Ok(())
}
