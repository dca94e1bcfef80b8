//! [`Servers`]: how many connections the node opens at once, and how it retries a server that fails.
//!
//! **Guarantees.** The node opens at most [`AT_ONCE`] connections at the same time, at most [`AT_ONCE_PER_SERVER`] of
//! them to one server, so a server that accepts and never answers leaves room for the others. After a failure a server
//! gets one attempt at a time, with growing waits in between. So the nodes do not storm a server that restarts, and no
//! request holds a slot of the budget while it waits for the server.

use crate::routing::DatabaseAddress;
use kernel::process::retry::Waits;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The most connections being opened at the same time.
const AT_ONCE: usize = 8;

/// The most of them to one server.
const AT_ONCE_PER_SERVER: usize = 6;

/// Shortest and longest wait after a failure.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The state of every database server that this node has connected to.
#[derive(Default)]
pub struct Servers {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    opening: usize,
    /// One entry for each address in the routing table.
    servers: HashMap<String, Server>,
}

#[derive(Default)]
struct Server {
    opening: usize,
    failing: Option<Failing>,
}

struct Failing {
    waits: Waits,
    not_before: Instant,
}

/// Why a connection cannot be opened now.
#[derive(Debug, PartialEq, Eq)]
enum Obstacle {
    /// Enough connections are being opened already.
    Busy,
    /// The server has failed; the next attempt is at this time, or in progress.
    Failing(Instant),
}

/// The server failed and did not recover before the deadline.
#[derive(Debug, PartialEq, Eq)]
pub struct ServerDown;

/// The right to open a connection. The holder reports the outcome; if it is dropped without one, the state of the
/// server stays as it was.
pub struct Opening<'s> {
    servers: &'s Servers,
    server: String,
}

impl Servers {
    /// Whether the node may not even try to connect to the server of `database` now.
    pub fn is_failing(&self, database: &DatabaseAddress) -> bool {
        matches!(self.lock().obstacle(&key(database)), Some(Obstacle::Failing(_)))
    }

    /// Waits until the server may be tried again, at most until `deadline`.
    pub async fn wait_for(&self, database: &DatabaseAddress, deadline: Instant) -> Result<(), ServerDown> {
        let server = key(database);
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Subscribe before reading the state, or a change in between would be missed.
            changed.as_mut().enable();
            let Some(Obstacle::Failing(not_before)) = self.lock().obstacle(&server) else { return Ok(()) };
            let now = Instant::now();
            if now >= deadline || not_before >= deadline {
                return Err(ServerDown);
            }
            // An attempt in progress ends with `changed`.
            let until = if not_before > now { not_before } else { deadline };
            let _ = timeout_at(until, changed).await;
        }
    }

    /// Waits while enough other connections are being opened, then returns the right to open one. `None`: the server is
    /// failing, or the deadline has passed.
    pub async fn begin(&self, database: &DatabaseAddress, deadline: Instant) -> Option<Opening<'_>> {
        let server = key(database);
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                match state.obstacle(&server) {
                    None => {
                        state.opening += 1;
                        state.server(&server).opening += 1;
                        return Some(Opening { servers: self, server });
                    }
                    Some(Obstacle::Failing(_)) => return None,
                    Some(Obstacle::Busy) => {}
                }
            }
            timeout_at(deadline, changed).await.ok()?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn obstacle(&self, server: &str) -> Option<Obstacle> {
        let known = self.servers.get(server);
        if let Some(Server { opening, failing: Some(failing) }) = known
            && (*opening > 0 || Instant::now() < failing.not_before)
        {
            return Some(Obstacle::Failing(failing.not_before));
        }
        let enough = self.opening >= AT_ONCE || known.is_some_and(|known| known.opening >= AT_ONCE_PER_SERVER);
        enough.then_some(Obstacle::Busy)
    }

    fn server(&mut self, server: &str) -> &mut Server {
        if !self.servers.contains_key(server) {
            self.servers.insert(server.to_owned(), Server::default());
        }
        self.servers.get_mut(server).expect("the server was inserted above")
    }
}

impl Opening<'_> {
    /// The server answered.
    pub fn answered(self) {
        self.servers.lock().server(&self.server).failing = None;
    }

    /// The server could not be reached, or accepts no more connections.
    pub fn failed(self) {
        let mut state = self.servers.lock();
        let server = state.server(&self.server);
        let failing = server
            .failing
            .get_or_insert_with(|| Failing { waits: Waits::new(WAITS.0, WAITS.1), not_before: Instant::now() });
        // Attempts that were in progress at the same time count as one failure.
        if failing.not_before <= Instant::now() {
            failing.not_before = Instant::now() + failing.waits.next_wait().min(WAITS.1);
        }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut state = self.servers.lock();
        state.opening -= 1;
        state.server(&self.server).opening -= 1;
        drop(state);
        self.servers.changed.notify_waiters();
    }
}

fn key(database: &DatabaseAddress) -> String {
    format!("{}:{}", database.host, database.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::route_for_tests;

    fn address(host: &str) -> DatabaseAddress {
        DatabaseAddress { host: host.into(), ..route_for_tests("t1").database.clone() }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(2)
    }

    #[tokio::test(start_paused = true)]
    async fn one_server_never_takes_all_openings() {
        let servers = Servers::default();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE_PER_SERVER {
            held.push(servers.begin(&address("a"), soon()).await.unwrap());
        }
        assert!(servers.begin(&address("a"), soon()).await.is_none(), "the seventh waits until its deadline");
        assert!(servers.begin(&address("b"), soon()).await.is_some());
        held.pop();
        assert!(servers.begin(&address("a"), soon()).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_server_gets_one_attempt_at_a_time() {
        let servers = Servers::default();
        servers.begin(&address("a"), soon()).await.unwrap().failed();
        assert!(servers.is_failing(&address("a")) && !servers.is_failing(&address("b")));
        assert!(servers.begin(&address("a"), soon()).await.is_none());
        servers.wait_for(&address("a"), soon()).await.unwrap();
        let probe = servers.begin(&address("a"), soon()).await.unwrap();
        assert!(servers.begin(&address("a"), soon()).await.is_none(), "an attempt is in progress");
        assert_eq!(servers.wait_for(&address("a"), soon()).await, Err(ServerDown));
        probe.answered();
        assert!(!servers.is_failing(&address("a")));
        assert!(servers.begin(&address("a"), soon()).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_between_attempts_grow_up_to_a_limit() {
        let servers = Servers::default();
        let began = Instant::now();
        for _ in 0..10 {
            let deadline = Instant::now() + Duration::from_secs(2);
            servers.wait_for(&address("a"), deadline).await.unwrap();
            servers.begin(&address("a"), deadline).await.unwrap().failed();
        }
        assert!(began.elapsed() > Duration::from_secs(3) && began.elapsed() < Duration::from_secs(11));
    }
}
