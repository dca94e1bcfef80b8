//! The default tenant comes into being on the first start, through the ordinary command.

use crate::admin::CreateTenant;
use crate::serve::App;
use crate::write;
use kernel::domain::{DomainName, Rejection, TenantId};
use kernel::store::CommandError;

/// Creates the tenant named by `system.default_tenant`, unless it exists or existed. Two processes that start at once
/// have one winner, like any two creations of one id.
pub async fn ensure(app: &App, domain: &str) -> anyhow::Result<()> {
    let (id,): (String,) =
        sqlx::query_as("SELECT config_value FROM saas_system_config WHERE config_key = 'system.default_tenant'")
            .fetch_one(app.store.pool())
            .await?;
    let tenant_id: TenantId = id.parse()?;
    if app.store.tenant(&tenant_id).await?.is_some() {
        return Ok(());
    }
    let domain: Option<DomainName> = match domain {
        "" => None,
        domain => Some(domain.parse().map_err(|error| kernel::process::config::wrong("DEFAULT_TENANT_DOMAIN", error))?),
    };
    let create = CreateTenant {
        tenant_id,
        tenant_name: "默认租户".into(),
        domain,
        plan_type: "basic".into(),
        patience: app.patience,
        // From the settings, which are the installation's own word.
        ownership: None,
    };
    match write::perform(&app.store, "control-plane", &create).await {
        Ok(_) => tracing::info!(tenant_id = %create.tenant_id, "created the default tenant"),
        Err(write::Refusal::Command(CommandError::Rejected(Rejection::Exists))) => {}
        Err(write::Refusal::Command(error)) => return Err(error.into()),
        Err(write::Refusal::Api(error)) => anyhow::bail!("the default tenant was refused: {:?}", error.code()),
    }
    Ok(())
}
