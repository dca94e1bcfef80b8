//! Carries out the steps of the compose file without containers.

use super::{checkers, compose, deploy, keys, output};
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::servers::Server;
use harness::stack::{Env, Role, Stack, StackOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::process::Command;

/// The steps of `compose.yaml` in their order: secrets, accounts, migration, rights, services. They use its secrets,
/// its SQL and its environments.
#[tokio::test]
async fn the_steps_of_the_compose_file_start_an_installation() -> Result<()> {
    let file = compose(&checkers().await?).await?;
    let mut options = StackOptions::for_test("compose")?;
    let installation = options.dir.join("installation");
    std::fs::create_dir_all(&installation)?;
    std::fs::copy(deploy("secrets.sh"), installation.join("secrets.sh"))?;
    let script = installation.join("secrets.sh");
    let made = output(&script, &[]).await?;
    ensure!(made.lines().count() > 15, "{made}");
    let before = std::fs::read(installation.join("secrets/encryption_keys"))?;
    ensure!(output(&script, &[]).await?.is_empty(), "the script does not overwrite a file");
    assert_eq!(std::fs::read(installation.join("secrets/encryption_keys"))?, before);
    let secrets = installation.join("secrets");
    assert_eq!(std::fs::metadata(&secrets)?.permissions().mode() & 0o777, 0o700);
    for name in keys(&file["secrets"]) {
        let of_somebody_else = ["smtp_password", "sms_webhook_token", "slack_webhook_url"].contains(&name);
        ensure!(of_somebody_else || secrets.join(name).is_file(), "secrets.sh does not make {name}");
    }

    // The services get the environment of the file, with local paths for those in the containers.
    for role in Role::ALL {
        for (name, value) in file["services"][role.binary()]["environment"].as_object().context("an environment")? {
            if let Some(secret) = value.as_str().and_then(|value| value.strip_prefix("/run/secrets/")) {
                options = options.with_env(role.binary(), name, secrets.join(secret).display().to_string());
            }
        }
    }
    let mut stack = Stack::start_servers(options).await?;
    let mariadb = stack.mariadb.as_ref().context("an own MariaDB")?;
    let (port, root) = (mariadb.port().to_string(), url::Url::parse(&stack.urls.root)?);
    std::fs::write(installation.join("root"), root.password().unwrap_or_default())?;
    for (name, of) in [("amqp_url", &stack.urls.amqp), ("redis_url", &stack.urls.redis)] {
        replace(&secrets.join(name), |_| of.clone())?;
    }
    for name in ["migrator_db_url", "control_db_url", "provisioner_db_url", "node_db_url", "tenant_db_admin_url"] {
        let here = |url: String| {
            url.replace("system-db:3306", &format!("127.0.0.1:{port}"))
                .replace("tenant-db:3306", &format!("127.0.0.1:{port}"))
        };
        replace(&secrets.join(name), here)?;
    }
    let accounts = async |file: &str| {
        let mut command = Command::new(deploy("sql/accounts.sh"));
        command
            .arg(deploy("sql").join(file))
            .env("DB_HOST", "127.0.0.1")
            .env("DB_PORT", &port)
            .env("ACCOUNT_HOST", "127.0.0.1");
        command.env("ADMIN_PASSWORD_FILE", installation.join("root")).env("SECRETS", &secrets);
        let output = command.output().await?;
        ensure!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    accounts("system.sql").await?;
    accounts("tenants.sql").await?;
    let migrator: Env = vec![("SYSTEM_DB_URL_FILE".to_owned(), secrets.join("migrator_db_url").display().to_string())];
    stack.run(Role::ControlPlane, &["migrate"], &migrator).await?;
    accounts("tables.sql").await?;

    stack.start_services().await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    let (user, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    world::plant_order(&stack, "acme", &user, "o-1").await?;
    let api = stack.tenant_api(0);
    let served = world::served(&api, "acme.example.com", &token).await?;
    assert_eq!(world::order_bids(&served), ["o-1"]);
    // The passwords are those of the secrets, so the harness's own no longer work.
    let old = vec![("SYSTEM_DB_URL_FILE".to_owned(), String::new())];
    ensure!(!stack.output(Role::ControlPlane, &["token", "list"], &old).await?.status.success());
    Ok(())
}

fn replace(path: &Path, change: impl FnOnce(String) -> String) -> Result<()> {
    let now = change(std::fs::read_to_string(path)?);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(std::fs::write(path, now)?)
}
