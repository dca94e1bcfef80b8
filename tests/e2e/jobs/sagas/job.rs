//! A job of each kind: how to request it, and what holds once it has succeeded or was undone.

use crate::operations::audit;
use crate::world::{self, SOON};
use anyhow::{Result, bail, ensure};
use harness::stack::Stack;
use kernel::jobs::JobKind;
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::mysql::MySqlConnectOptions;

/// A tenant for which a job can be requested.
pub struct Job {
    pub kind: JobKind,
    pub tenant: String,
    /// Its credential before the job, if it has one.
    former: Option<MySqlConnectOptions>,
}

/// Whether the admin API requests jobs of this kind for a tenant.
pub fn is_of_the_api(kind: JobKind) -> bool {
    match kind {
        JobKind::Provision | JobKind::Rotate | JobKind::Move | JobKind::Migrate => true,
        JobKind::Enforce | JobKind::Configure | JobKind::Purge | JobKind::Audit => true,
        // What becomes of a move: see crate::jobs::lost_servers.
        JobKind::FinishMove => false,
        // Commands request these: see crate::jobs::backups.
        JobKind::Restore | JobKind::RestoreNew | JobKind::RestoreElsewhere => false,
        // Of a server: see crate::jobs::backups and crate::jobs::statistics.
        JobKind::Backup | JobKind::RestoreTest | JobKind::Prune | JobKind::Collect => false,
    }
}

impl Job {
    /// Creates a tenant for which a job of this kind can be requested.
    pub async fn prepare(stack: &Stack, kind: JobKind, name: &str) -> Result<Self> {
        ensure!(is_of_the_api(kind), "the admin API has no request for a job of the kind {kind}");
        let (admin, tenant) = (stack.admin(), format!("{name}-{kind}").replace('_', "-"));
        let former = match kind {
            JobKind::Provision => None,
            _ => {
                admin.create_active_tenant(&tenant, Some(&format!("{tenant}.example.com")), SOON).await?;
                Some(world::login(stack, &tenant).await?)
            }
        };
        if kind == JobKind::Purge {
            ensure!(admin.request("DELETE", &format!("/admin/tenants/{tenant}"), None, &[]).await?.status == 202);
        }
        Ok(Self { kind, tenant, former })
    }

    /// Requests the job and returns its operation.
    pub async fn begin(&self, stack: &Stack) -> Result<String> {
        let (admin, tenant) = (stack.admin(), &self.tenant);
        let reply = match self.kind {
            JobKind::Provision => {
                let body =
                    json!({"tenant_id": tenant, "tenant_name": "T", "tenant_domain": format!("{tenant}.example.com")});
                admin.post("/admin/tenants", body).await?
            }
            JobKind::Rotate => admin.post(&format!("/admin/tenants/{tenant}/database/rotate"), json!({})).await?,
            JobKind::Move => {
                admin.post(&format!("/admin/tenants/{tenant}/database/move"), json!({"server": "eu2"})).await?
            }
            JobKind::Migrate => admin.post(&format!("/admin/tenants/{tenant}/database/migrate"), json!({})).await?,
            JobKind::Configure => {
                let path = format!("/admin/tenants/{tenant}/config/features.new");
                admin.request("PUT", &path, Some(json!({"value": true})), &[]).await?
            }
            JobKind::Purge => admin.post(&format!("/admin/tenants/{tenant}/purge"), json!({})).await?,
            JobKind::Audit => return audit::audit_of(&mut world::system(stack).await?, tenant).await,
            JobKind::Enforce => {
                let path = format!("/admin/tenants/{tenant}/suspend");
                ensure!(admin.post(&path, json!({"reason": "unpaid"})).await?.status == 200);
                // The answer to a suspension does not name its job.
                let newest = "SELECT operation_id FROM saas_operations WHERE tenant_id = ? AND kind = 'enforce'
                     ORDER BY operation_id DESC LIMIT 1";
                let mut system = world::system(stack).await?;
                return Ok(sqlx::query_scalar(newest).bind(tenant).fetch_one(&mut system).await?);
            }
            kind => bail!("this test does not know how to request a job of the kind {kind}"),
        };
        ensure!(reply.status == 202, "{tenant}: {}", reply.text);
        Ok(reply.operation_id()?.to_owned())
    }

    /// Checks what must hold once the job has succeeded.
    pub async fn succeeded(&self, stack: &Stack) -> Result<()> {
        let (kind, tenant) = (self.kind, &self.tenant);
        let state = match kind {
            JobKind::Enforce => "suspended",
            JobKind::Purge => "purged",
            _ => "active",
        };
        ensure!(stack.admin().tenant(tenant).await?.state == state, "{tenant} is not {state}");
        // Neither a configuration nor a schema nor an audit changes the credential.
        let replaced = !matches!(kind, JobKind::Configure | JobKind::Migrate | JobKind::Audit);
        if let Some(former) = self.former.as_ref().filter(|_| replaced) {
            ensure!(former.connect().await.is_err(), "the former credential of {tenant} logs in");
        }
        if state == "active" {
            ensure!(world::login(stack, tenant).await?.connect().await.is_ok(), "{tenant} does not log in");
        }
        Ok(())
    }

    /// Checks what must hold once the job was undone.
    pub async fn undone(&self, stack: &Stack) -> Result<()> {
        let tenant = stack.admin().tenant(&self.tenant).await?;
        match &self.former {
            None => ensure!(tenant.state == "failed", "{} is {}", self.tenant, tenant.state),
            Some(former) => {
                let now = world::login(stack, &self.tenant).await?;
                ensure!(now.get_username() == former.get_username(), "{} has another user", self.tenant);
                ensure!(former.connect().await.is_ok(), "the credential of {} does not log in", self.tenant);
            }
        }
        Ok(())
    }
}
