//! How the default tenant comes into being: by the same event and the same job as every other tenant.
//!
//! Two programs create it: a control plane when it starts, and the migrator of the old database when it finds none.
//! **Guarantee.** Of several that try at once one creates it and the others find it, like any two creations of one id.

use crate::domain::{Command, DomainName, Rejection, TenantId};
use crate::jobs::{self, JobKind, NewJob};
use crate::process::config::{ConfigError, Settings, wrong};
use crate::store::installation::{self, DefaultTenantUnknown};
use crate::store::{CommandError, Plan, Store, servers};
use std::time::Duration;

/// Its display name.
const NAME: &str = "默认租户";

/// Why the default tenant could not be created.
#[derive(Debug, thiserror::Error)]
pub enum DefaultTenantError {
    /// The row that names it is unusable.
    #[error(transparent)]
    Unknown(#[from] DefaultTenantUnknown),
    /// A setting is missing or wrong.
    #[error(transparent)]
    Setting(#[from] ConfigError),
    /// An operator has removed its plan.
    #[error("the plan {}, which the default tenant gets, does not exist", Plan::DEFAULT)]
    NoPlan,
    /// The command was refused, or the system database failed.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl From<sqlx::Error> for DefaultTenantError {
    fn from(error: sqlx::Error) -> Self {
        Self::Command(error.into())
    }
}

/// The default tenant, and whether this call created it.
pub struct Ensured {
    /// Its id: the row `system.default_tenant`.
    pub tenant_id: TenantId,
    /// Whether it did not exist before.
    pub created: bool,
}

/// Creates the default tenant and enqueues its provisioning, unless it exists or existed. `DEFAULT_TENANT_DOMAIN` is
/// its domain, and may be empty; its database goes to `server`, or to the server with the fewest tenants.
pub async fn ensure(
    settings: &Settings,
    store: &Store,
    actor: &str,
    server: Option<&str>,
) -> Result<Ensured, DefaultTenantError> {
    let tenant_id = installation::default_tenant(store.pool()).await?;
    if store.tenant(&tenant_id).await?.is_some() {
        return Ok(Ensured { tenant_id, created: false });
    }
    let new = New { tenant_id, domain: domain(settings)?, patience: settings.seconds("JOB_PATIENCE")? };
    let mut retried = false;
    let created = loop {
        match new.create(store, actor, server).await {
            Ok(()) => break true,
            Err(DefaultTenantError::Command(CommandError::Rejected(Rejection::Exists))) => break false,
            Err(DefaultTenantError::Command(error)) if error.is_conflict() && !retried => retried = true,
            Err(error) => return Err(error),
        }
    };
    Ok(Ensured { tenant_id: new.tenant_id, created })
}

fn domain(settings: &Settings) -> Result<Option<DomainName>, ConfigError> {
    match settings.get::<String>("DEFAULT_TENANT_DOMAIN")?.as_str() {
        "" => Ok(None),
        domain => domain.parse().map(Some).map_err(|error| wrong("DEFAULT_TENANT_DOMAIN", error)),
    }
}

struct New {
    tenant_id: TenantId,
    domain: Option<DomainName>,
    patience: Duration,
}

impl New {
    async fn create(&self, store: &Store, actor: &str, server: Option<&str>) -> Result<(), DefaultTenantError> {
        let mut unit = store.begin().await?;
        if !Plan::use_by_tenant(unit.connection(), Plan::DEFAULT).await? {
            return Err(DefaultTenantError::NoPlan);
        }
        let server = match server {
            Some(server) => server.to_owned(),
            None => servers::place(unit.connection()).await?,
        };
        let command = Command::Create {
            tenant_name: NAME.into(),
            domain: self.domain.clone(),
            plan_type: Plan::DEFAULT.into(),
            server: server.clone(),
            max_connections: installation::default_connections(unit.connection()).await?,
        };
        unit.execute(&self.tenant_id, actor, command).await?;
        let job = NewJob::for_tenant(JobKind::Provision, &self.tenant_id, server, self.patience);
        jobs::enqueue(unit.connection(), &[job]).await?;
        Ok(unit.commit().await?)
    }
}
