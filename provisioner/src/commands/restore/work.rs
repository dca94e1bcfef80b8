//! Works on the job of a restore inside the command.

use crate::backup::BackupError;
use crate::commands::setup::Setup;
use crate::worker::Worker;
use kernel::jobs;
use kernel::process::config::Settings;
use std::time::Duration;
use uuid::Uuid;

/// How often the job is polled while another worker has it.
const POLL: Duration = Duration::from_millis(200);

/// The worker of this command for jobs of the server.
pub async fn worker(settings: &Settings, setup: &Setup, server_id: &str) -> Result<Worker, BackupError> {
    let (store, keys, installation) = (setup.store.clone(), setup.keys.clone(), setup.installation().await?);
    Ok(Worker::in_command("restore", settings, store, keys, installation, server_id)?)
}

/// Works on the job until it has ended, or waits while another worker does. Returns why it failed, or `None` if it
/// succeeded.
pub async fn work(setup: &Setup, worker: &Worker, operation_id: Uuid) -> Result<Option<String>, BackupError> {
    let (pool, server_id) = (setup.store.pool(), &worker.tools.server.id);
    loop {
        let operation = jobs::find(&mut *pool.acquire().await?, operation_id).await?;
        let operation = operation.ok_or_else(|| {
            BackupError::Refused(format!("the operation {operation_id} has disappeared from the system database"))
        })?;
        match operation.status.as_str() {
            "succeeded" => return Ok(None),
            "failed" => return Ok(Some(operation.error.unwrap_or_default())),
            _ => {}
        }
        match jobs::claim_one(pool, server_id, operation_id, worker.claimant()).await? {
            Some(lease) => worker.work(lease).await,
            None => tokio::time::sleep(POLL).await,
        }
        setup.keys.report_count(pool).await?;
    }
}
