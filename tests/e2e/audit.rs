//! `control-plane audit` names each drift that is planted by hand in the system database, and nothing in a fleet without one.

use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::services::Role;
use harness::stack::Stack;
use serde_json::{Value, json};

#[tokio::test]
async fn the_audit_names_each_planted_drift_and_nothing_else() -> Result<()> {
    let stack = Stack::start(world::without_nodes("audit")?).await?;
    let admin = stack.admin();
    for id in ["t-on", "t-off", "t-gone"] {
        admin.create_active_tenant(id, None, SOON).await?;
    }
    admin.post("/admin/tenants/t-off/suspend", json!({"reason": "unpaid"})).await?;
    admin.request("DELETE", "/admin/tenants/t-gone", None, &[]).await?;
    world::idle(&stack).await?;
    let purge = admin.post("/admin/tenants/t-gone/purge", json!({})).await?;
    ensure!(purge.status == 202, "{}", purge.text);
    world::idle(&stack).await?;
    ensure!(audit(&stack).await? == (0, vec![]), "a quiet fleet has a finding");

    let credential = "UPDATE saas_tenant_databases SET updated_at = updated_at, db_username =";
    for (kind, subject, plant, unplant) in [
        (
            "credential_missing",
            "t-on",
            format!("{credential} CONCAT('', '') WHERE tenant_id = 't-on'"),
            format!("{credential} 'ten_x_a' WHERE tenant_id = 't-on'"),
        ),
        (
            "rotation_left",
            "t-off",
            "INSERT INTO saas_next_credentials VALUES ('t-off', 'none', 'ten_x_b', '', NULL, UTC_TIMESTAMP(6))".into(),
            "DELETE FROM saas_next_credentials".into(),
        ),
        (
            "job_stuck",
            "t-off",
            "INSERT INTO saas_operations (operation_id, tenant_id, server_id, kind, status, next_attempt_at, give_up_at, created_at)
             VALUES ('stuck', 't-off', 'nowhere', 'enforce', 'pending', '2020-01-01', '2020-01-01', '2020-01-01')"
                .into(),
            "DELETE FROM saas_operations WHERE operation_id = 'stuck'".into(),
        ),
        (
            "projection_differs",
            "saas_tenants (1 rows)",
            "UPDATE saas_tenants SET tenant_name = 'drift', updated_at = updated_at WHERE tenant_id = 't-on'".into(),
            "UPDATE saas_tenants SET tenant_name = 't-on', updated_at = updated_at WHERE tenant_id = 't-on'".into(),
        ),
    ] {
        let mut system = world::system(&stack).await?;
        sqlx::query(&plant).execute(&mut system).await?;
        let found = audit(&stack).await?;
        ensure!(found == (4, vec![(kind.to_owned(), subject.to_owned())]), "{kind}: {found:?}");
        sqlx::query(&unplant).execute(&mut system).await?;
        let left = audit(&stack).await?;
        ensure!(left == (0, vec![]), "{kind} is found after its repair: {left:?}");
    }
    Ok(())
}

/// The exit code, and kind and subject of each finding.
async fn audit(stack: &Stack) -> Result<(i32, Vec<(String, String)>)> {
    let migrator = vec![("SYSTEM_DB_URL".to_owned(), stack.urls.system.migrator.clone())];
    let output = stack.output(Role::ControlPlane, &["audit", "--json"], &migrator).await?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = findings.iter().map(|finding| (text(&finding["kind"]), text(&finding["subject"]))).collect();
    Ok((output.status.code().unwrap_or(-1), findings))
}
