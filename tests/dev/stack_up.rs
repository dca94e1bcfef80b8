//! Brings up a ready stack: it installs, compiles, starts, and makes the demo tenant. `run` and `up` share it.

use anyhow::Result;
use harness::demo::{self, Demo};
use harness::install;
use harness::stack::{Existing, Stack, StackOptions};
use url::Url;

use crate::interrupt::Interrupt;
use crate::state::{self, State};
use crate::{StackArgs, compile};

/// Installs what is missing and compiles the services.
pub async fn prepare(args: &StackArgs, existing: &Existing, interrupt: &mut Interrupt) -> Result<()> {
    let mut needed = Vec::new();
    if existing.system.is_none() || existing.tenant_admin.is_none() {
        needed.push(install::Tool::MariaDb);
    }
    if existing.amqp.is_none() {
        needed.push(install::Tool::RabbitMq);
    }
    if existing.redis.is_none() {
        needed.push(install::Tool::Redis);
    }
    interrupt.after(install::ensure(&needed), "the installation").await?;
    interrupt.or(compile::services(args.release)).await
}

/// Starts everything and makes the demo tenant.
pub async fn start(args: &StackArgs, existing: Existing, interrupt: &mut Interrupt) -> Result<(Stack, Demo)> {
    let mut options = StackOptions::new(state::dir());
    options.profile = args.profile().to_owned();
    options.data_planes = args.data_planes.into();
    options.provisioners = args.provisioners.into();
    options.default_tenant_domain = Some("default.localhost".to_owned());
    options.existing = existing;
    options.verbose = true;
    let start = async {
        let stack = Stack::start(options).await.inspect_err(|error| {
            if !args.fresh && error.to_string().contains("migrate failed") {
                eprintln!("the data may be of another version; `--fresh` starts with new databases");
            }
        })?;
        eprintln!("making the demo tenant");
        let demo = demo::ensure(
            &stack.admin(),
            &stack.tenant_api(0),
            &stack.urls.system.migrator,
            &stack.urls.root,
            stack.dir(),
        )
        .await?;
        Ok((stack, demo))
    };
    interrupt.or(start).await
}

/// The servers that the environment names. Addresses that `cargo dev env` exported do not count: a developer who
/// evaluated them in this shell wants the private servers again.
pub fn existing() -> Existing {
    let own: Vec<u16> = ["mariadb", "rabbitmq", "redis"]
        .iter()
        .filter_map(|server| {
            let identity = state::dir().join(server).join("identity.json");
            let identity: serde_json::Value = harness::files::read_json(&identity).ok()??;
            u16::try_from(identity["port"].as_u64()?).ok()
        })
        .collect();
    let from_env = |name: &str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        let url = Url::parse(&value).ok();
        let is_own =
            url.is_some_and(|url| url.host_str() == Some("127.0.0.1") && url.port().is_some_and(|p| own.contains(&p)));
        (!is_own).then_some(value)
    };
    let mut existing = Existing {
        system: from_env("SYSTEM_DB_URL"),
        tenant_admin: from_env("TENANT_DB_ADMIN_URL"),
        amqp: from_env("AMQP_URL"),
        redis: from_env("REDIS_URL"),
        encryption_keys: None,
    };
    if existing.system.is_some() {
        // The credentials in that database are sealed with the keys of its installation.
        existing.encryption_keys = std::env::var("ENCRYPTION_KEYS").ok();
    }
    for (name, given) in [
        ("SYSTEM_DB_URL", &existing.system),
        ("TENANT_DB_ADMIN_URL", &existing.tenant_admin),
        ("AMQP_URL", &existing.amqp),
        ("REDIS_URL", &existing.redis),
    ] {
        if given.is_some() {
            eprintln!("using the server of {name}");
        }
    }
    existing
}

/// Removes the data of earlier starts if `--fresh` is given. The caller makes sure that nothing runs.
pub fn clear_if_fresh(args: &StackArgs) -> Result<()> {
    if args.fresh && state::dir().exists() {
        std::fs::remove_dir_all(state::dir())?;
    }
    State::clear();
    Ok(())
}
