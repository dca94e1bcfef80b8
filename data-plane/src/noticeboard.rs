//! [`Noticeboard`] publishes in Redis where each tenant in use is served: the key `tenant_db_info:{tenant_id}`, for 300
//! s.
//!
//! Other tools read the notices; no node does. No request waits for Redis: notices go through a bounded queue to one
//! task ([`Publisher`]), and are dropped when the queue is full. If Redis loses all its data, no answer changes.
//! Notices contain no credential.

use crate::routing::{Availability, Route};
use kernel::database::tls;
use kernel::domain::{Position, TenantId};
use kernel::process::config::ConfigError;
use kernel::process::health::{Health, Part};
use kernel::process::shutdown::Shutdown;
use moka::sync::Cache;
use redis::aio::ConnectionManager;
use redis::{Pipeline, RedisResult};
use secrecy::SecretString;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Seconds after which a notice expires.
const LIFETIME: u64 = 300;

/// Time after which the notice of a tenant in use is published again, before it expires.
const RENEW_AFTER: Duration = Duration::from_secs(240);

/// The most notices that wait for the publisher.
const QUEUE: usize = 1024;

/// Longest wait for one answer of Redis.
const TIMEOUT: Duration = Duration::from_millis(500);

/// How often the publisher checks whether Redis answers.
const PING: Duration = Duration::from_secs(10);

/// Deletes a notice whose position is below the given one, and any value that is not a notice.
const WITHDRAW_OLDER: &str = "
    local text = redis.call('GET', KEYS[1])
    if not text then return 0 end
    local read, notice = pcall(cjson.decode, text)
    local position = read and type(notice) == 'table' and tonumber(notice.position)
    if position and position >= tonumber(ARGV[1]) then return 0 end
    return redis.call('DEL', KEYS[1])";

enum Notice {
    Publish(Arc<Route>),
    /// With a position: withdraws an older notice only. Without one: withdraws any notice.
    Withdraw(Arc<TenantId>, Option<Position>),
}

/// Takes notices from requests and from the follower. Clones share the queue. Without Redis it does nothing.
#[derive(Clone)]
pub struct Noticeboard {
    board: Option<Board>,
}

#[derive(Clone)]
struct Board {
    notices: mpsc::Sender<Notice>,
    /// Tenants whose notice was published recently.
    published: Cache<Arc<TenantId>, ()>,
}

/// The task that writes the notices to Redis.
pub struct Publisher {
    redis: ConnectionManager,
    notices: mpsc::Receiver<Notice>,
    /// Shared with the board, so that the next request tries again if a notice could not be published.
    published: Cache<Arc<TenantId>, ()>,
}

impl Noticeboard {
    /// A noticeboard in the Redis at `REDIS_URL` and its task. Without a URL there is no task.
    ///
    /// # Errors
    /// If `REDIS_URL` is wrong.
    pub fn new(url: Option<&SecretString>) -> Result<(Self, Option<Publisher>), ConfigError> {
        let Some(url) = url else { return Ok((Self { board: None }, None)) };
        let redis = kernel::database::redis::connection(url, TIMEOUT)?;
        let (sender, notices) = mpsc::channel(QUEUE);
        let published = Cache::builder().max_capacity(20_000).time_to_live(RENEW_AFTER).build();
        let publisher = Publisher { redis, notices, published: published.clone() };
        Ok((Self { board: Some(Board { notices: sender, published }) }, Some(publisher)))
    }

    /// Publishes that the tenant is served, unless that was done recently.
    pub fn publish(&self, route: &Arc<Route>) {
        let Some(board) = &self.board else { return };
        if board.published.contains_key(&route.tenant_id) {
            return;
        }
        // The tenant counts as published before the notice is sent. If its route changes between the two, `withdraw`
        // removes the entry, and the next request publishes the new route.
        board.published.insert(Arc::clone(&route.tenant_id), ());
        if board.notices.try_send(Notice::Publish(Arc::clone(route))).is_err() {
            board.published.invalidate(&route.tenant_id);
        }
    }

    /// Withdraws the notice of a tenant whose route changed: its position is `now`, or the tenant is gone. All nodes
    /// share the board, so a notice that another node has published since stays.
    pub fn withdraw(&self, tenant: &Arc<TenantId>, now: Option<Position>) {
        let Some(board) = &self.board else { return };
        let _ = board.notices.try_send(Notice::Withdraw(Arc::clone(tenant), now));
        board.published.invalidate(tenant);
    }
}

impl Publisher {
    /// Publishes notices until the process is asked to stop.
    pub async fn run(mut self, health: Health, shutdown: Shutdown) {
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let notice = tokio::select! {
                _ = ping.tick() => None,
                Some(notice) = self.notices.recv() => Some(notice),
                () = shutdown.requested() => return,
            };
            let command = notice.as_ref().map_or_else(|| redis::pipe().cmd("PING").ignore().clone(), Notice::command);
            let mut redis = self.redis.clone();
            let done = tokio::time::timeout(2 * TIMEOUT, command.query_async(&mut redis)).await;
            let done: RedisResult<()> =
                done.unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no answer in time").into()));
            match done {
                Ok(()) => health.report("redis", Part::Healthy),
                Err(error) => {
                    tracing::debug!(%error, "a notice was not published in Redis");
                    if let Some(Notice::Publish(route)) = &notice {
                        // The next request tries again, instead of the first one after the entry has expired.
                        self.published.invalidate(&route.tenant_id);
                    }
                    let reason = tls::reason(&error).map(|reason| format!("redis cannot be trusted: {reason}"));
                    health.report("redis", Part::Degraded(reason.unwrap_or_else(|| "redis does not answer".into())));
                }
            }
        }
    }
}

impl Notice {
    fn command(&self) -> Pipeline {
        let mut command = redis::pipe();
        match self {
            Self::Publish(route) if route.availability == Availability::Served => {
                command.set_ex(key(&route.tenant_id), text(route), LIFETIME).ignore();
            }
            Self::Publish(route) => {
                command.del(key(&route.tenant_id)).ignore();
            }
            Self::Withdraw(tenant_id, None) => {
                command.del(key(tenant_id)).ignore();
            }
            Self::Withdraw(tenant_id, Some(now)) => {
                command.cmd("EVAL").arg(WITHDRAW_OLDER).arg(1).arg(key(tenant_id)).arg(now.0).ignore();
            }
        }
        command
    }
}

fn key(tenant: &TenantId) -> String {
    format!("tenant_db_info:{tenant}")
}

fn text(route: &Route) -> String {
    let database = &route.database;
    json!({
        "tenant_id": &*route.tenant_id,
        "tenant_name": route.tenant_name,
        "tenant_domain": route.tenant_domain,
        "database_name": database.name,
        "db_host": database.host,
        "db_port": database.port,
        "db_name": database.name,
        "max_connections": route.max_connections,
        "position": route.position,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::route_for_tests;

    #[test]
    fn a_notice_has_all_members_and_no_credential() {
        let text = text(&route_for_tests("t1"));
        let notice: serde_json::Value = serde_json::from_str(&text).unwrap();
        for member in ["tenant_id", "tenant_name", "tenant_domain", "database_name", "db_host", "db_port", "db_name"] {
            assert!(notice.get(member).is_some(), "{member}");
        }
        assert!(!text.contains("t1_a") && !text.contains("v1.k.x"));
    }

    #[tokio::test]
    async fn a_notice_is_published_once_and_never_waits() {
        let url = SecretString::from("redis://127.0.0.1:1/0");
        let (board, publisher) = Noticeboard::new(Some(&url)).unwrap();
        let mut publisher = publisher.unwrap();
        let route = Arc::new(route_for_tests("t1"));
        for _ in 0..10 {
            board.publish(&route);
        }
        assert!(matches!(publisher.notices.try_recv(), Ok(Notice::Publish(_))));
        assert!(publisher.notices.try_recv().is_err());
        board.withdraw(&route.tenant_id, Some(route.position));
        board.publish(&route);
        assert!(matches!(publisher.notices.try_recv(), Ok(Notice::Withdraw(..))));
        assert!(matches!(publisher.notices.try_recv(), Ok(Notice::Publish(_))));
        for _ in 0..3 * QUEUE {
            board.withdraw(&route.tenant_id, Some(route.position));
        }
        let error = Noticeboard::new(Some(&"http://u:secret@h".into())).err().unwrap().to_string();
        assert!(error.contains("REDIS_URL") && !error.contains("secret"), "{error}");
    }
}
