//! A stack: servers and services together. `cargo dev run` starts one, and each end-to-end test starts one of its own.
//!
//! Dropping a [`Stack`] kills everything that it has started, the services first. [`Stack::stop`] stops it cleanly.

mod environment;
mod options;
mod servers;
mod service;

pub use environment::new_encryption_key;
pub use options::{Broker, Existing, SHARED_AMQP_VARIABLE, StackOptions};
pub use service::{DRAIN_SECONDS, Env, Role, Service, run};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clients::{Admin, TenantApi};
use crate::files::{private_dir, remembered, write_private};
use crate::process::{Launch, Process};
use crate::servers::Server;
use crate::servers::accounts::{self, SystemUrls};
use crate::servers::mariadb::MariaDb;
use crate::servers::rabbitmq::RabbitMq;
use crate::servers::redis::Redis;
use environment::trusted;

/// The default tenant is provisioned by an ordinary job, on a fresh server.
const DEFAULT_TENANT: Duration = Duration::from_secs(60);

/// The URLs of all servers, with their passwords.
#[derive(Clone, Debug)]
pub struct Urls {
    pub system: SystemUrls,
    /// The account with every right on the server of the tenants.
    pub root: String,
    pub amqp: String,
    pub amqp_prefix: Option<String>,
    pub redis: String,
}

pub struct Stack {
    // Fields are dropped in this order: the services before the servers that they depend on.
    pub data_planes: Vec<Service>,
    pub provisioners: Vec<Service>,
    pub control_planes: Vec<Service>,
    pub redis: Option<Redis>,
    pub rabbitmq: Option<RabbitMq>,
    pub mariadb: Option<MariaDb>,
    pub more_servers: BTreeMap<String, MariaDb>,
    pub urls: Urls,
    pub admin_token: String,
    options: StackOptions,
    encryption_keys: String,
}

impl Stack {
    /// Starts everything, and returns once all services are ready and the default tenant is active.
    pub async fn start(options: StackOptions) -> Result<Self> {
        let mut stack = Self::start_servers(options).await?;
        stack.start_services().await?;
        stack.say("waiting for the default tenant");
        stack.admin().wait_for_state("default", "active", DEFAULT_TENANT).await?;
        Ok(stack)
    }

    /// Starts the servers and migrates the system database, for tests that start their own services.
    pub async fn start_servers(options: StackOptions) -> Result<Self> {
        let dir = options.dir.clone();
        private_dir(&dir)?;
        let encryption_keys = match &options.existing.encryption_keys {
            Some(keys) => keys.clone(),
            None => remembered(&dir.join("encryption-keys"), || Ok(new_encryption_key("k1")))?,
        };
        // RabbitMQ takes by far the longest time to start, so everything else happens meanwhile.
        let databases = async {
            let (mariadb, system, root) = servers::start_database(&options, &dir).await?;
            let mut more = BTreeMap::new();
            for name in &options.more_servers {
                let server = MariaDb::start(&dir.join(format!("mariadb-{name}")), &options.mariadb).await?;
                more.insert(name.clone(), server);
            }
            let mut env = vec![("SYSTEM_DB_URL".to_owned(), system.migrator.clone())];
            env.extend(trusted(&options));
            service::run(Role::ControlPlane, &options.profile, &service_dir(&dir), &env, &["migrate"]).await?;
            if let (Some(server), None) = (&mariadb, &options.existing.system) {
                accounts::ensure_on_tables(server).await?;
            }
            Ok((mariadb, more, system, root))
        };
        servers::announce(&options);
        let (databases, broker, redis) =
            tokio::try_join!(databases, servers::start_broker(&options, &dir), servers::start_redis(&options, &dir))?;
        let (mariadb, more_servers, system, root) = databases;
        let ((rabbitmq, amqp, amqp_prefix), (redis, redis_url)) = (broker, redis);
        Ok(Self {
            data_planes: Vec::new(),
            provisioners: Vec::new(),
            control_planes: Vec::new(),
            redis,
            rabbitmq,
            mariadb,
            more_servers,
            urls: Urls { system, root, amqp, amqp_prefix, redis: redis_url },
            admin_token: String::new(),
            options,
            encryption_keys,
        })
    }

    /// Starts as many of each service as the options demand, all at once, and makes an administrator's token.
    pub async fn start_services(&mut self) -> Result<()> {
        self.say("starting the services");
        for (role, count) in [
            (Role::ControlPlane, self.options.control_planes),
            (Role::Provisioner, self.options.provisioners),
            (Role::DataPlane, self.options.data_planes),
        ] {
            while self.of(role).len() < count {
                self.launch(role)?;
            }
        }
        for service in self.services() {
            service.wait_ready().await?;
        }
        if self.options.control_planes > 0 {
            self.admin_token = self.token().await?;
        }
        Ok(())
    }

    /// Starts one more service of a kind, and waits until it is ready.
    pub async fn add(&mut self, role: Role) -> Result<&mut Service> {
        self.launch(role)?;
        let service = self.of(role).last_mut().context("just launched")?;
        service.wait_ready().await?;
        Ok(service)
    }

    /// A client of the admin API, with every right.
    pub fn admin(&self) -> Admin {
        Admin::new(self.control_plane_url(), &self.admin_token)
    }

    /// A client of the tenant API at one data node, counted from 0.
    pub fn tenant_api(&self, node: usize) -> TenantApi {
        TenantApi::new(self.data_planes[node].url())
    }

    pub fn control_plane_url(&self) -> &str {
        self.control_planes.first().map_or("", Service::url)
    }

    pub fn options(&self) -> &StackOptions {
        &self.options
    }

    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    pub fn encryption_keys(&self) -> &str {
        &self.encryption_keys
    }

    /// Every service, the control plane first.
    pub fn services(&mut self) -> impl Iterator<Item = &mut Service> {
        self.control_planes.iter_mut().chain(&mut self.provisioners).chain(&mut self.data_planes)
    }

    /// Every process: those of the servers and of the services.
    pub fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        let services = self.control_planes.iter_mut().chain(&mut self.provisioners).chain(&mut self.data_planes);
        let databases = self.mariadb.iter_mut().chain(self.more_servers.values_mut());
        databases
            .map(MariaDb::process)
            .chain(self.rabbitmq.iter_mut().map(RabbitMq::process))
            .chain(self.redis.iter_mut().map(Redis::process))
            .chain(services.map(Service::process))
    }

    /// Runs a command of a service, with the environment that the service has in this stack. Returns what it printed.
    pub async fn run(&self, role: Role, args: &[&str], more: &Env) -> Result<String> {
        let mut env = self.env(role, 0);
        env.extend(more.iter().cloned());
        service::run(role, &self.options.profile, &service_dir(self.dir()), &env, args).await
    }

    /// The same for a command that may fail: with its exit code and all its output.
    pub async fn output(&self, role: Role, args: &[&str], more: &Env) -> Result<Output> {
        let mut env = self.env(role, 0);
        env.extend(more.iter().cloned());
        service::output(role, &self.options.profile, &service_dir(self.dir()), &env, args).await
    }

    /// A command of a service that the caller starts, to watch or to kill it.
    pub fn command(&self, role: Role, name: &str, args: &[&str], more: &Env) -> Result<Launch> {
        let mut env = self.env(role, 0);
        env.extend(more.iter().cloned());
        service::command(role, &self.options.profile, &service_dir(self.dir()), &env, name, args)
    }

    /// Stops everything in the reverse order of the start. It continues after an error, and returns the first error at
    /// the end.
    pub async fn stop(mut self) -> Result<()> {
        let mut outcome = Ok(());
        let mut note = |result: Result<()>| {
            if outcome.is_ok() {
                outcome = result;
            }
        };
        // All services drain at the same time.
        for service in self.services() {
            note(service.process().signal(nix::sys::signal::Signal::SIGTERM));
        }
        for service in self.data_planes.iter_mut().chain(&mut self.provisioners).chain(&mut self.control_planes) {
            note(service.stop().await.map(drop));
        }
        if let Some(redis) = &mut self.redis {
            note(redis.stop().await);
        }
        if let Some(rabbitmq) = &mut self.rabbitmq {
            note(rabbitmq.stop().await);
        }
        for mariadb in self.mariadb.iter_mut().chain(self.more_servers.values_mut()) {
            note(mariadb.stop().await);
        }
        outcome
    }

    /// Keeps everything running when this value is dropped.
    pub fn detach(mut self) {
        for service in self.services() {
            service.process().detach();
        }
        for mariadb in self.mariadb.iter_mut().chain(self.more_servers.values_mut()) {
            mariadb.detach();
        }
        if let Some(rabbitmq) = &mut self.rabbitmq {
            rabbitmq.detach();
        }
        if let Some(redis) = &mut self.redis {
            redis.detach();
        }
    }

    /// The first service of a kind.
    pub fn first(&mut self, role: Role) -> Result<&mut Service> {
        self.of(role).first_mut().with_context(|| format!("the stack has no {}", role.binary()))
    }

    fn of(&mut self, role: Role) -> &mut Vec<Service> {
        match role {
            Role::ControlPlane => &mut self.control_planes,
            Role::Provisioner => &mut self.provisioners,
            Role::DataPlane => &mut self.data_planes,
        }
    }

    fn launch(&mut self, role: Role) -> Result<()> {
        let index = self.of(role).len();
        let env = self.env(role, index);
        let service = Service::start(role, index, &self.options.profile, &service_dir(self.dir()), &env)?;
        self.of(role).push(service);
        Ok(())
    }

    /// The token of an earlier start if it still works, or a new one.
    async fn token(&self) -> Result<String> {
        let file = self.dir().join("admin-token");
        if let Ok(token) = std::fs::read_to_string(&file) {
            let admin = Admin::new(self.control_plane_url(), &token);
            if admin.request("GET", "/admin/tenants?limit=1", None, &[]).await?.status == 200 {
                return Ok(token);
            }
        }
        let args = ["token", "create", "--name", "dev", "--scopes", "admin"];
        let token = self.run(Role::ControlPlane, &args, &Env::new()).await?.trim().to_owned();
        write_private(&file, &token)?;
        Ok(token)
    }

    fn say(&self, what: &str) {
        if self.options.verbose {
            eprintln!("{what}");
        }
    }
}

/// The folder with the records and logs of the services of a stack.
pub fn service_dir(dir: &Path) -> PathBuf {
    dir.join("services")
}
