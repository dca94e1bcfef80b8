//! Creates the destination if there is none yet: the tables of the system database, and the default tenant by the
//! ordinary command and the ordinary job, on which this process works instead of a running provisioner.
//!
//! A control plane and a provisioner that have run already have done both, and then this does nothing. A provisioner
//! may work on the same job at the same time, because a job belongs to one worker at a time.

use super::members::ACTOR;
use super::{LegacyError, system_database};
use crate::worker::Worker;
use kernel::crypto::KeyRing;
use kernel::database;
use kernel::database::migrate::{self, MigrateError};
use kernel::default_tenant::{self, Ensured};
use kernel::domain::{TenantId, TenantState};
use kernel::process::config::{Settings, wrong};
use kernel::process::shutdown::Shutdown;
use kernel::store::{Store, installation};
use std::time::{Duration, Instant};

/// How long the default tenant may take to become active.
const PATIENCE: Duration = Duration::from_secs(120);

/// The database server that `TENANT_DB_ADMIN_URL` names.
const SERVER: &str = "main";

/// Creates what is missing.
pub async fn run(settings: &Settings) -> Result<(), LegacyError> {
    let (_, mut connection) = system_database::connect(settings).await?;
    match migrate::verify(&mut connection).await {
        Ok(()) => {}
        Err(MigrateError::Pending(_)) => {
            let applied = migrate::run(&mut connection).await.map_err(|error| {
                let why = kernel::error::chain(&error);
                LegacyError::Refused(format!(
                    "the system database is not up to date, and the account of SYSTEM_DB_URL cannot migrate \
                     it ({why}): run `control-plane migrate`"
                ))
            })?;
            eprintln!("applied migrations {applied:?} to the system database");
        }
        Err(error) => return Err(LegacyError::Refused(error.to_string())),
    }
    let store = Store::new(database::pool(&settings.secret("SYSTEM_DB_URL")?, 4)?);
    let Ensured { tenant_id, created } = default_tenant::ensure(settings, &store, ACTOR, Some(SERVER)).await?;
    if created {
        eprintln!("created the default tenant {tenant_id}");
    }
    match store.tenant(&tenant_id).await?.map(|tenant| tenant.state) {
        Some(TenantState::Provisioning) => provision(settings, store, &tenant_id).await,
        _ => Ok(()),
    }
}

/// Works on jobs until the default tenant is created, or the time for it is over.
async fn provision(settings: &Settings, store: Store, id: &TenantId) -> Result<(), LegacyError> {
    let keys = KeyRing::parse(&settings.secret("ENCRYPTION_KEYS")?).map_err(|error| wrong("ENCRYPTION_KEYS", error))?;
    let installation = installation::installation_id(store.pool()).await?;
    let worker = Worker::in_command("legacy", settings, store.clone(), keys, installation, SERVER)?;
    let settled = async {
        let began = Instant::now();
        loop {
            match store.tenant(id).await? {
                Some(tenant) if tenant.state == TenantState::Provisioning && began.elapsed() < PATIENCE => {}
                _ => return Ok::<_, LegacyError>(()),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! { () = worker.run(Shutdown::default()) => Ok(()), settled = settled => settled }
}
