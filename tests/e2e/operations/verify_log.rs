//! `verify-log` finds every change of the event log.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::stack::Role;
use harness::stack::Stack;
use serde_json::{Value, json};

async fn verify(stack: &Stack, args: &[&str]) -> Result<(i32, Value)> {
    let args: Vec<&str> = ["verify-log", "--json"].iter().chain(args).copied().collect();
    let output = stack.output(Role::ControlPlane, &args, &Vec::new()).await?;
    let code = output.status.code().context("it was killed")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((code, serde_json::from_str(&text).with_context(|| format!("{code}: {text}"))?))
}

#[tokio::test]
async fn every_change_of_the_event_log_is_found() -> Result<()> {
    let stack = Stack::start(world::without_nodes("verify-log")?).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    // The log has more than one batch.
    for n in 0..120 {
        let body =
            json!({"tenant_name": format!("Acme {n}"), "plan_type": if n % 2 == 0 { "standard" } else { "basic" }});
        admin.request("PATCH", "/admin/tenants/acme", Some(body), &[]).await?.expect::<Value>(200)?;
    }
    let mut system = world::system(&stack).await?;
    let head = u64::try_from(world::number(&mut system, "SELECT COUNT(*) FROM saas_events").await?)?;
    ensure!(head > 240, "{head} events");
    let fine = json!({"head": head, "checked": head, "wrong": null});
    assert_eq!(verify(&stack, &[]).await?, (0, fine.clone()));
    assert_eq!(verify(&stack, &["--from", "230"]).await?.1["checked"], head - 229);

    sqlx::raw_sql(
        "CREATE TABLE saved_events AS SELECT * FROM saas_events; CREATE TABLE saved_heads AS SELECT * FROM saas_heads",
    )
    .execute(&mut system)
    .await?;
    let changed = |set: &str| format!("UPDATE saas_events SET {set} WHERE position = 210");
    let swap = "UPDATE saas_events a JOIN saas_events b ON a.position = 210 AND b.position = 211
                SET a.data = b.data, b.data = a.data, a.event_type = b.event_type, b.event_type = a.event_type";
    let exchange = "UPDATE saas_events SET position = 0 WHERE position = 210;
                    UPDATE saas_events SET position = 210 WHERE position = 211;
                    UPDATE saas_events SET position = 211 WHERE position = 0";
    for (change, position, what) in [
        (changed("position = 100210"), 210, "missing"),
        (changed("tenant_id = 'Acme'"), 210, "hash"),
        (changed("version = 9210"), 210, "hash"),
        (changed("event_id = UPPER(event_id)"), 210, "hash"),
        (changed("event_type = 'tenant.Renamed'"), 210, "hash"),
        (changed("occurred_at = occurred_at + INTERVAL 1 MICROSECOND"), 210, "hash"),
        (changed("actor = CONCAT(actor, ' ')"), 210, "hash"),
        (changed("data = REPLACE(data, ':', ': ')"), 210, "hash"),
        (changed("hash = UNHEX(REPEAT('ab', 32))"), 210, "hash"),
        ("DELETE FROM saas_events WHERE position = 210".into(), 210, "missing"),
        ("DELETE FROM saas_events WHERE position = 1".into(), 1, "missing"),
        (format!("DELETE FROM saas_events WHERE position = {head}"), head, "missing"),
        (swap.into(), 210, "hash"),
        (exchange.into(), 210, "hash"),
        ("UPDATE saas_heads SET hash = UNHEX(REPEAT('ab', 32)) WHERE name = 'events'".into(), head, "head"),
        ("UPDATE saas_heads SET position = position + 1 WHERE name = 'events'".into(), head + 1, "missing"),
        ("UPDATE saas_heads SET position = position - 1 WHERE name = 'events'".into(), head, "beyond"),
        ("DELETE FROM saas_heads WHERE name = 'events'".into(), 0, "head"),
    ] {
        sqlx::raw_sql(&change).execute(&mut system).await.with_context(|| change.clone())?;
        let (code, found) = verify(&stack, &[]).await?;
        assert_eq!((code, &found["wrong"]), (4, &json!({"position": position, "what": what})), "{change}");
        sqlx::raw_sql(
            "DELETE FROM saas_events; INSERT INTO saas_events SELECT * FROM saved_events;
             DELETE FROM saas_heads; INSERT INTO saas_heads SELECT * FROM saved_heads",
        )
        .execute(&mut system)
        .await?;
    }
    assert_eq!(verify(&stack, &[]).await?, (0, fine));

    // The command trusts what is before `--from`, and nothing else.
    sqlx::query(&changed("actor = 'x'")).execute(&mut system).await?;
    assert_eq!(verify(&stack, &["--from", "211"]).await?.0, 0);
    assert_eq!(verify(&stack, &["--from", "210"]).await?.0, 4);
    Ok(())
}
