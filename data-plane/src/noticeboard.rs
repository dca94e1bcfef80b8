//! The noticeboard in Redis: `tenant_db_info:{tenant_id}`, 300 s, for tools that want to know what is being served where.
//!
//! Nothing reads it here and no request waits for it: notices go through a bounded queue to one task, and when the queue
//! is full they are dropped. Losing Redis, or all it holds, changes no answer. Notices hold no credential.

use crate::routing::{Route, Service};
use kernel::database::tls;
use kernel::domain::{Position, TenantId};
use kernel::process::config::ConfigError;
use kernel::process::health::{Health, Part};
use kernel::process::shutdown::Shutdown;
use moka::sync::Cache;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Pipeline, RedisResult};
use secrecy::SecretString;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Seconds a notice stays up.
const STAYS: u64 = 300;

/// A tenant in use is put up again after so long, before its notice falls off.
const AGAIN: Duration = Duration::from_secs(240);

/// Notices on their way.
const QUEUE: usize = 1024;

/// Longest wait for one answer of Redis.
const TIMEOUT: Duration = Duration::from_millis(500);

/// How often Redis is asked how it is.
const PING: Duration = Duration::from_secs(10);

/// Deletes a notice whose position is below the given one, and whatever is no notice.
const TAKE_DOWN_OLDER: &str = "
    local text = redis.call('GET', KEYS[1])
    if not text then return 0 end
    local read, notice = pcall(cjson.decode, text)
    local position = read and type(notice) == 'table' and tonumber(notice.position)
    if position and position >= tonumber(ARGV[1]) then return 0 end
    return redis.call('DEL', KEYS[1])";

enum Notice {
    Up(Arc<Route>),
    /// Whatever is older than what is known now; `None`: whatever there is.
    Down(Arc<TenantId>, Option<Position>),
}

/// Where requests and the follower leave notices. Clones share it; without Redis it does nothing.
#[derive(Clone)]
pub struct Noticeboard {
    board: Option<Board>,
}

#[derive(Clone)]
struct Board {
    notices: mpsc::Sender<Notice>,
    /// Tenants put up lately.
    up: Cache<Arc<TenantId>, ()>,
}

/// The task behind a [`Noticeboard`].
pub struct Clerk {
    client: Client,
    notices: mpsc::Receiver<Notice>,
    /// Shared with the requests: what could not be put up is not marked as up.
    up: Cache<Arc<TenantId>, ()>,
}

impl Noticeboard {
    /// A noticeboard at `REDIS_URL`, with the task that keeps it; without a URL there is none.
    pub fn new(url: Option<&SecretString>) -> Result<(Self, Option<Clerk>), ConfigError> {
        let Some(url) = url else { return Ok((Self { board: None }, None)) };
        let client = kernel::database::redis::client(url)?;
        let (sender, notices) = mpsc::channel(QUEUE);
        let up = Cache::builder().max_capacity(20_000).time_to_live(AGAIN).build();
        let clerk = Clerk { client, notices, up: up.clone() };
        Ok((Self { board: Some(Board { notices: sender, up }) }, Some(clerk)))
    }

    /// The tenant is being served.
    pub fn put_up(&self, route: &Arc<Route>) {
        let Some(board) = &self.board else { return };
        if board.up.contains_key(&route.tenant_id) {
            return;
        }
        // Marked before it is sent: a change that comes between the two leaves no mark, and the next request puts up
        // what is true then.
        board.up.insert(Arc::clone(&route.tenant_id), ());
        if board.notices.try_send(Notice::Up(Arc::clone(route))).is_err() {
            board.up.invalidate(&route.tenant_id);
        }
    }

    /// What is known of the tenant has changed: it is of position `now`, or the tenant is gone. The board is every node's, so
    /// what another node has put up since stays.
    pub fn take_down(&self, tenant: &Arc<TenantId>, now: Option<Position>) {
        let Some(board) = &self.board else { return };
        let _ = board.notices.try_send(Notice::Down(Arc::clone(tenant), now));
        board.up.invalidate(tenant);
    }
}

impl Clerk {
    /// Works until the process is asked to stop.
    pub async fn work(mut self, health: Health, shutdown: Shutdown) {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_max_delay(TIMEOUT)
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let Ok(redis) = ConnectionManager::new_lazy_with_config(self.client.clone(), config) else {
            health.tell("redis", Part::Degraded("redis".into()));
            return;
        };
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let notice = tokio::select! {
                _ = ping.tick() => None,
                Some(notice) = self.notices.recv() => Some(notice),
                () = shutdown.requested() => return,
            };
            let order = notice.as_ref().map_or_else(|| redis::pipe().cmd("PING").ignore().clone(), Notice::order);
            let mut redis = redis.clone();
            let done = tokio::time::timeout(2 * TIMEOUT, order.query_async(&mut redis)).await;
            let done: RedisResult<()> =
                done.unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no answer in time").into()));
            match done {
                Ok(()) => health.tell("redis", Part::Healthy),
                Err(error) => {
                    tracing::debug!(%error, "a notice was not put up");
                    if let Some(Notice::Up(route)) = &notice {
                        // The next request tries again, not the one after the mark has expired.
                        self.up.invalidate(&route.tenant_id);
                    }
                    let reason = tls::reason(&error).map(|reason| format!("redis cannot be trusted: {reason}"));
                    health.tell("redis", Part::Degraded(reason.unwrap_or_else(|| "redis does not answer".into())));
                }
            }
        }
    }
}

impl Notice {
    fn order(&self) -> Pipeline {
        let mut order = redis::pipe();
        match self {
            Self::Up(route) if route.service == Service::Served => {
                order.set_ex(key(&route.tenant_id), text(route), STAYS).ignore();
            }
            Self::Up(route) => {
                order.del(key(&route.tenant_id)).ignore();
            }
            Self::Down(tenant_id, None) => {
                order.del(key(tenant_id)).ignore();
            }
            Self::Down(tenant_id, Some(now)) => {
                order.cmd("EVAL").arg(TAKE_DOWN_OLDER).arg(1).arg(key(tenant_id)).arg(now.0).ignore();
            }
        }
        order
    }
}

fn key(tenant: &TenantId) -> String {
    format!("tenant_db_info:{tenant}")
}

fn text(route: &Route) -> String {
    let place = &route.place;
    json!({
        "tenant_id": &*route.tenant_id,
        "tenant_name": route.tenant_name,
        "tenant_domain": route.tenant_domain,
        "database_name": place.name,
        "db_host": place.host,
        "db_port": place.port,
        "db_name": place.name,
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
    fn a_notice_has_the_seeds_members_and_no_credential() {
        let text = text(&route_for_tests("t1"));
        let notice: serde_json::Value = serde_json::from_str(&text).unwrap();
        for member in ["tenant_id", "tenant_name", "tenant_domain", "database_name", "db_host", "db_port", "db_name"] {
            assert!(notice.get(member).is_some(), "{member}");
        }
        assert!(!text.contains("t1_a") && !text.contains("v1.k.x"));
    }

    #[test]
    fn notices_are_few_and_never_wait() {
        let url = SecretString::from("redis://127.0.0.1:1/0");
        let (board, clerk) = Noticeboard::new(Some(&url)).unwrap();
        let mut clerk = clerk.unwrap();
        let route = Arc::new(route_for_tests("t1"));
        for _ in 0..10 {
            board.put_up(&route);
        }
        assert!(matches!(clerk.notices.try_recv(), Ok(Notice::Up(_))));
        assert!(clerk.notices.try_recv().is_err());
        board.take_down(&route.tenant_id, Some(route.position));
        board.put_up(&route);
        assert!(matches!(clerk.notices.try_recv(), Ok(Notice::Down(..))));
        assert!(matches!(clerk.notices.try_recv(), Ok(Notice::Up(_))));
        for _ in 0..3 * QUEUE {
            board.take_down(&route.tenant_id, Some(route.position));
        }
        let error = Noticeboard::new(Some(&"http://u:secret@h".into())).err().unwrap().to_string();
        assert!(error.contains("REDIS_URL") && !error.contains("secret"), "{error}");
    }
}
