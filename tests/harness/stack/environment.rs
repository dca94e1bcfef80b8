//! The environment of each service: exactly what it needs.

use base64::Engine;

use super::{DRAIN_SECONDS, Env, Role, Stack, StackOptions};
use crate::servers::Server;

/// A key for the key ring, in the form that the services read: `id:base64`.
pub fn new_encryption_key(id: &str) -> String {
    let key = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 32]>());
    format!("{id}:{key}")
}

/// The variable that names the authorities which the services trust.
pub fn trusted(options: &StackOptions) -> Option<(String, String)> {
    let certificates = options.certificates.as_ref()?;
    Some(("TLS_CA_FILE".to_owned(), certificates.trusted.display().to_string()))
}

impl Stack {
    /// The variables of the n-th process of a kind, counted from 0.
    pub(super) fn env(&self, role: Role, index: usize) -> Env {
        let urls = &self.urls;
        let name = role.process_name(index);
        let mut env = Env::new();
        let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
        set("AMQP_URL", &urls.amqp);
        if let Some(prefix) = &urls.amqp_prefix {
            set("AMQP_PREFIX", prefix);
        }
        set("ENCRYPTION_KEYS", &self.encryption_keys);
        if let Some((name, value)) = trusted(&self.options) {
            set(&name, &value);
        }
        set("LOG", &std::env::var("LOG").unwrap_or_else(|_| "info".into()));
        set("RUST_BACKTRACE", "1");
        set("SHUTDOWN_DEADLINE", &DRAIN_SECONDS.to_string());
        match role {
            Role::ControlPlane => {
                set("SYSTEM_DB_URL", &urls.system.control);
                set("REDIS_URL", &urls.redis);
                // The domains of a local stack have no DNS records. The tests of verification switch it on.
                set("DOMAIN_VERIFICATION", "off");
                if let Some(domain) = &self.options.default_tenant_domain {
                    set("DEFAULT_TENANT_DOMAIN", domain);
                }
            }
            Role::Provisioner => {
                set("SYSTEM_DB_URL", &urls.system.provisioner_system);
                set("TENANT_DB_ADMIN_URL", &urls.system.tenant_admin);
                set("REDIS_URL", &urls.redis);
                for (server, mariadb) in &self.more_servers {
                    // The account is root, because these servers hold nothing but tenants.
                    set(&format!("TENANT_DB_ADMIN_URL_{}", server.to_uppercase()), &mariadb.url());
                }
                set("PROVISIONER_WORKERS", "2");
            }
            Role::DataPlane => {
                set("SYSTEM_DB_URL", &urls.system.node);
                set("REDIS_URL", &urls.redis);
                // The other nodes and services need connections too: MariaDB allows 500.
                set("DATA_PLANE_CONNECTIONS", "100");
                set("NODE_NAME", &name);
            }
        }
        env.extend(self.options.env.get(role.binary()).into_iter().flatten().cloned());
        if index > 0 {
            // The first process has the name of its binary.
            env.extend(self.options.env.get(&name).into_iter().flatten().cloned());
        }
        env
    }
}
