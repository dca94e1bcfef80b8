//! The servers of a stack. They are private, except where the options name servers that run already.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{Broker, StackOptions};
use crate::servers::accounts::{self, SystemUrls};
use crate::servers::mariadb::MariaDb;
use crate::servers::rabbitmq::RabbitMq;
use crate::servers::redis::Redis;
use crate::servers::{Server, probe};
use crate::wait;

/// Prints which private servers are started, if the options ask for messages.
pub fn announce(options: &StackOptions) {
    if !options.verbose {
        return;
    }
    let existing = &options.existing;
    let private = [
        (existing.system.is_none() || existing.tenant_admin.is_none(), "MariaDB"),
        (existing.redis.is_none(), "Redis"),
        (existing.amqp.is_none(), "RabbitMQ (which needs about 8 s)"),
    ];
    let private: Vec<&str> = private.iter().filter(|(own, _)| *own).map(|(_, name)| *name).collect();
    if !private.is_empty() {
        eprintln!("starting {}", private.join(", "));
    }
}

pub async fn start_database(options: &StackOptions, dir: &Path) -> Result<(Option<MariaDb>, SystemUrls, String)> {
    let existing = &options.existing;
    if let (Some(system), Some(admin)) = (&existing.system, &existing.tenant_admin) {
        // Another process may be starting the server at the same moment.
        for url in [system, admin] {
            wait::until_ok(Duration::from_secs(10), "the given database server", async || probe::mysql(url).await)
                .await?;
        }
        return Ok((None, SystemUrls::existing(system, admin), admin.clone()));
    }
    let server = MariaDb::start(&dir.join("mariadb"), &options.mariadb).await?;
    let mut urls = accounts::ensure(&server).await?;
    let mut root = server.url();
    if let Some(system) = &existing.system {
        urls = SystemUrls::existing(system, &urls.tenant_admin);
    }
    if let Some(admin) = &existing.tenant_admin {
        urls.tenant_admin.clone_from(admin);
        root.clone_from(admin);
    }
    Ok((Some(server), urls, root))
}

pub async fn start_broker(options: &StackOptions, dir: &Path) -> Result<(Option<RabbitMq>, String, Option<String>)> {
    if let Some(url) = &options.existing.amqp {
        return Ok((None, url.clone(), None));
    }
    match &options.broker {
        Broker::Shared { url, prefix } => Ok((None, url.clone(), Some(prefix.clone()))),
        Broker::Own => {
            let certificate = options.certificates.as_ref().map(|all| all.broker.clone());
            let server = RabbitMq::start(&dir.join("rabbitmq"), &certificate).await?;
            let url = server.url();
            Ok((Some(server), url, None))
        }
    }
}

pub async fn start_redis(options: &StackOptions, dir: &Path) -> Result<(Option<Redis>, String)> {
    if let Some(url) = &options.existing.redis {
        return Ok((None, url.clone()));
    }
    let certificate = options.certificates.as_ref().map(|all| all.redis.clone());
    let server = Redis::start(&dir.join("redis"), &certificate).await?;
    let url = server.url();
    Ok((Some(server), url))
}
