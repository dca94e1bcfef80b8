//! What a stack is to consist of: how many of each service, on which servers, with which settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use crate::servers::certificates::Certificates;
use crate::servers::mariadb;
use crate::stack::Env;
use crate::{leftovers, paths};

/// Names a broker that `cargo dev test` shares between all tests.
pub const SHARED_AMQP_VARIABLE: &str = "HARNESS_AMQP_URL";

/// Which broker a stack uses.
#[derive(Clone, Debug)]
pub enum Broker {
    Own,
    /// Somebody else's, with a prefix for the names of exchanges and queues.
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
    /// The keys that opened the credentials so far.
    pub encryption_keys: Option<String>,
}

#[derive(Clone, Debug)]
pub struct StackOptions {
    pub dir: PathBuf,
    /// `debug` or `release`: which binaries.
    pub profile: String,
    pub control_planes: usize,
    pub provisioners: usize,
    pub data_planes: usize,
    pub broker: Broker,
    pub mariadb: mariadb::Options,
    /// Further tenant servers by name (lower case); each becomes `TENANT_DB_ADMIN_URL_<NAME>`.
    pub more_servers: Vec<String>,
    pub existing: Existing,
    /// With them, all servers are spoken to by TLS; the broker must then be its own.
    pub certificates: Option<Certificates>,
    pub default_tenant_domain: Option<String>,
    /// Further variables by process name (`data-plane-2`) or, for all of a kind, by binary (`data-plane`).
    pub env: BTreeMap<String, Env>,
    /// Whether to say on stderr what is being waited for.
    pub verbose: bool,
}

impl StackOptions {
    /// One of each service, own servers.
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

    /// For a test: a fresh folder, a small MariaDB of its own, the shared broker if there is one.
    pub fn for_test(name: &str) -> Result<Self> {
        let mut options = Self::new(leftovers::fresh_dir(name)?);
        options.mariadb.small_buffer_pool = true;
        // Tests count the connections of tenants' users; those that want a look at the databases ask for one.
        let every = ("HEALTH_EVERY".to_owned(), "3600".to_owned());
        options.env.entry("provisioner".to_owned()).or_default().push(every);
        if let Ok(url) = std::env::var(SHARED_AMQP_VARIABLE) {
            let prefix = format!("t{}-", hex::encode(rand::random::<[u8; 5]>()));
            options.broker = Broker::Shared { url, prefix };
        }
        Ok(options)
    }

    /// All servers of the stack by TLS.
    pub fn with_certificates(mut self, certificates: Certificates) -> Self {
        self.mariadb.certificate = Some(certificates.databases.clone());
        self.broker = Broker::Own;
        self.certificates = Some(certificates);
        self
    }

    /// Adds a variable for a process or for all of a kind.
    pub fn with_env(mut self, process: &str, name: &str, value: impl Into<String>) -> Self {
        self.env.entry(process.to_owned()).or_default().push((name.to_owned(), value.into()));
        self
    }
}
