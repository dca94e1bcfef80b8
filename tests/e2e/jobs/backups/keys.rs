//! A key cannot be retired while a backup needs it.

use super::{FOUND, back_up, options, run};
use crate::world::SOON;
use anyhow::{Result, ensure};
use harness::stack::Role;
use harness::stack::{Stack, new_encryption_key};

#[tokio::test]
async fn a_key_that_a_backup_needs_cannot_be_retired() -> Result<()> {
    let stack = Stack::start(options("backup-keys")?).await?;
    stack.admin().create_active_tenant("acme", None, SOON).await?;
    back_up(&stack, "acme").await?;
    let ring = format!("{},{}", new_encryption_key("k2"), stack.encryption_keys());
    let env = [("ENCRYPTION_KEYS".to_owned(), ring.clone())].to_vec();
    stack.run(Role::ControlPlane, &["keys", "reseal"], &env).await?;
    let refused = stack.output(Role::ControlPlane, &["keys", "retire", "k1"], &env).await?;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(FOUND) && words.contains("saas_backups"), "{words}");
    ensure!(words.contains("provisioner backup reseal"), "the error names the command that helps: {words}");

    run(&stack, &["backup", "reseal"], &[("ENCRYPTION_KEYS", &ring)]).await?.expect(0)?;
    stack.run(Role::ControlPlane, &["keys", "retire", "k1"], &env).await?;
    let new_alone = ring.split_once(',').map_or("", |(new, _)| new).to_owned();
    run(&stack, &["backup", "verify"], &[("ENCRYPTION_KEYS", &new_alone)]).await?.expect(0)?;
    run(&stack, &["backup", "verify"], &[]).await?.expect(FOUND).map(drop)
}
