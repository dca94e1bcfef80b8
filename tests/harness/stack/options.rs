//! The contents of a stack: how many of each service, on which servers, with which settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use crate::servers::certificates::Certificates;
use crate::servers::mariadb;
use crate::stack::Env;
use crate::{leftovers, paths};

/// The variable that names the broker which `cargo dev test` shares between all tests.
pub const SHARED_AMQP_VARIABLE: &str = "HARNESS_AMQP_URL";

#[derive(Clone, Debug)]
pub enum Broker {
    Own,
    /// A broker that is shared. The prefix separates the exchanges and queues of this stack.
    Shared {
        url: String,
        prefix: String,
    },
}

/// Servers that run already and are used instead of private ones.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    pub system: Option<String>,
    pub tenant_admin: Option<String>,
    pub amqp: Option<String>,
    pub redis: Option<String>,
    /// The key ring that opens the credentials in the given database.
    pub encryption_keys: Option<String>,
}

#[derive(Clone, Debug)]
pub struct StackOptions {
    pub dir: PathBuf,
    /// The profile of the binaries: `debug` or `release`.
    pub profile: String,
    pub control_planes: usize,
    pub provisioners: usize,
    pub data_planes: usize,
    pub broker: Broker,
    pub mariadb: mariadb::Options,
    /// Further tenant servers by name, in lower case. Each becomes `TENANT_DB_ADMIN_URL_<NAME>`.
    pub more_servers: Vec<String>,
    pub existing: Existing,
    /// With certificates, all servers speak TLS. The broker must be private then.
    pub certificates: Option<Certificates>,
    pub default_tenant_domain: Option<String>,
    /// Further variables by process name (`data-plane-2`), or by binary (`data-plane`) for all processes of a kind.
    pub env: BTreeMap<String, Env>,
    /// Whether the harness prints on stderr what it waits for.
    pub verbose: bool,
}

impl StackOptions {
    /// One of each service on private servers.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            profile: paths::own_profile().to_owned(),
            control_planes: 1,
            provisioners: 1,
            data_planes: 1,
            broker: Broker::Own,
            mariadb: mariadb::Options::default(),
            more_servers: Vec::new(),
            existing: Existing::default(),
            certificates: None,
            default_tenant_domain: None,
            env: BTreeMap::new(),
            verbose: false,
        }
    }

    /// Options for a test: a fresh folder, a small private MariaDB, and the shared broker if there is one.
    pub fn for_test(name: &str) -> Result<Self> {
        let mut options = Self::new(leftovers::fresh_dir(name)?);
        options.mariadb.small_buffer_pool = true;
        // Many tests count the connections of tenants' users. A test that needs the health checks of databases sets
        // this again.
        let every = ("HEALTH_EVERY".to_owned(), "3600".to_owned());
        options.env.entry("provisioner".to_owned()).or_default().push(every);
        if let Ok(url) = std::env::var(SHARED_AMQP_VARIABLE) {
            let prefix = format!("t{}-", hex::encode(rand::random::<[u8; 5]>()));
            options.broker = Broker::Shared { url, prefix };
        }
        Ok(options)
    }

    /// Lets all servers of the stack speak TLS only.
    pub fn with_certificates(mut self, certificates: Certificates) -> Self {
        self.mariadb.certificate = Some(certificates.databases.clone());
        self.broker = Broker::Own;
        self.certificates = Some(certificates);
        self
    }

    /// Adds a variable for one process, or for all processes of a kind.
    pub fn with_env(mut self, process: &str, name: &str, value: impl Into<String>) -> Self {
        self.env.entry(process.to_owned()).or_default().push((name.to_owned(), value.into()));
        self
    }
}
