//! The stack of this checkout: a lock allows only one stack, and a file lists its parts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::demo::Demo;
use harness::files::{private_dir, read_json, write_json};
use harness::stack::{Stack, service_dir};
use harness::{paths, process, wait};
use serde::{Deserialize, Serialize};

use crate::StackArgs;

/// The folder of the stack's data.
pub fn dir() -> PathBuf {
    paths::dev().join("run")
}

fn file() -> PathBuf {
    dir().join("state.json")
}

/// The lock that a process holds while it starts or stops the stack, or runs it in the foreground.
pub struct Lock(File);

impl Lock {
    pub fn take() -> Result<Self> {
        match Self::try_take()? {
            Ok(lock) => Ok(lock),
            Err(pid) => bail!("another `cargo dev` of this checkout is busy (pid {pid}): is `cargo dev run` active?"),
        }
    }

    /// Takes the lock, or returns the id of the process that holds it.
    pub fn try_take() -> Result<std::result::Result<Self, i32>> {
        private_dir(&paths::dev())?;
        // The lock is not in the folder of the data, because `--fresh` removes that folder.
        let path = paths::dev().join("lock");
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        if file.try_lock().is_err() {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            return Ok(Err(pid.trim().parse().unwrap_or(0)));
        }
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
        Ok(Ok(Self(file)))
    }

    /// Waits until the process that holds the lock releases it, and takes it.
    pub async fn wait(limit: Duration) -> Result<Self> {
        wait::until(limit, "the other `cargo dev` to stop", async || Self::try_take().ok()?.ok()).await
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.set_len(0);
    }
}

/// One server or service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    /// The address, with its secrets.
    pub url: String,
    /// The folder in which its process is recorded; `None` for a server that `cargo dev` did not start.
    pub dir: Option<PathBuf>,
}

/// A running stack, as `status`, `env` and `down` see it. The file holds secrets, so it is private.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    pub background: bool,
    pub args: StackArgs,
    pub parts: Vec<Part>,
    /// The variables that `cargo dev env` prints.
    pub exports: BTreeMap<String, String>,
}

impl State {
    pub fn of(stack: &mut Stack, demo: &Demo, args: &StackArgs, background: bool) -> Self {
        let dir = stack.dir().to_path_buf();
        let urls = stack.urls.clone();
        let own = |there: bool, name: &str| there.then(|| dir.join(name));
        let mut parts = vec![
            // The migrator's account has a database, and it exists on a private server and on a given one.
            Part {
                name: "mariadb".into(),
                url: urls.system.migrator.clone(),
                dir: own(stack.mariadb.is_some(), "mariadb"),
            },
            Part { name: "rabbitmq".into(), url: urls.amqp.clone(), dir: own(stack.rabbitmq.is_some(), "rabbitmq") },
            Part { name: "redis".into(), url: urls.redis.clone(), dir: own(stack.redis.is_some(), "redis") },
        ];
        for service in stack.services() {
            let (name, url) = (service.name().to_owned(), service.url().to_owned());
            parts.push(Part { name, url, dir: Some(service_dir(&dir)) });
        }
        let exports = [
            ("CONTROL_PLANE_URL", stack.control_plane_url().to_owned()),
            ("DATA_PLANE_URL", stack.data_planes[0].url().to_owned()),
            ("CONTROL_PLANE_INTERNAL_URL", stack.control_planes[0].internal_url().to_owned()),
            ("PROVISIONER_INTERNAL_URL", stack.provisioners[0].internal_url().to_owned()),
            ("DATA_PLANE_INTERNAL_URL", stack.data_planes[0].internal_url().to_owned()),
            ("ADMIN_TOKEN", stack.admin_token.clone()),
            ("SYSTEM_DB_URL", urls.system.migrator),
            ("TENANT_DB_ADMIN_URL", urls.root),
            ("AMQP_URL", urls.amqp),
            ("REDIS_URL", urls.redis),
            ("DEMO_DOMAIN", demo.domain.clone()),
            ("DEMO_USER_ID", demo.user_id.clone()),
            ("DEMO_USER_TOKEN", demo.token.clone()),
        ];
        let exports = exports.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { background, args: args.clone(), parts, exports }
    }

    pub fn load() -> Result<Option<Self>> {
        read_json(&file()).context("`cargo dev down` followed by `cargo dev run --fresh` starts again from nothing")
    }

    pub fn save(&self) -> Result<()> {
        write_json(&file(), self)
    }

    /// Removes the file, because nothing runs any more.
    pub fn clear() {
        let _ = std::fs::remove_file(file());
    }

    /// Whether any part runs.
    pub fn is_alive(&self) -> bool {
        self.parts.iter().any(|part| part.process().is_some())
    }
}

impl Part {
    /// Its process, if it runs.
    pub fn process(&self) -> Option<process::Process> {
        let launch = process::Launch::new(&self.name, &self.name, self.dir.as_deref()?);
        process::Process::attach(launch).ok().flatten()
    }
}
