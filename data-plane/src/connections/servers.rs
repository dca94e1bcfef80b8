//! Opening connections with care for the servers.
//!
//! **Guarantees.** At most [`AT_ONCE`] connections are being opened at once by this node, at most [`AT_ONCE_PER_SERVER`]
//! to one server, so a server that accepts and never answers leaves room for the others. After a failure a server gets one
//! try at a time, with growing waits between them: a server that restarts is not stormed, and nobody who waits for it
//! holds a slot of the budget.

use crate::routing::Place;
use kernel::process::retry::Waits;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Connections being opened at once.
const AT_ONCE: usize = 8;

/// Of these, to one server.
const AT_ONCE_PER_SERVER: usize = 6;

/// Shortest and longest wait after a failure.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// See the module.
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

/// What keeps somebody from opening a connection now.
#[derive(Debug, PartialEq, Eq)]
enum Obstacle {
    /// Enough are being opened; it will not take long.
    Busy,
    /// The server has failed; the next try is at this time, or in progress.
    Failing(Instant),
}

/// The server failed and was not back in time.
#[derive(Debug, PartialEq, Eq)]
pub struct ServerDown;

/// The right to open a connection. Tell how it went; dropped without a word, nothing is learnt.
pub struct Opening<'s> {
    servers: &'s Servers,
    server: String,
}

impl Servers {
    /// Whether a connection to the server of `place` cannot even be tried now.
    pub fn is_failing(&self, place: &Place) -> bool {
        matches!(self.lock().obstacle(&address(place)), Some(Obstacle::Failing(_)))
    }

    /// Waits until the server may be tried again, until `deadline` at most.
    pub async fn wait_for(&self, place: &Place, deadline: Instant) -> Result<(), ServerDown> {
        let server = address(place);
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Listen before looking, or a change in between is missed.
            changed.as_mut().enable();
            let Some(Obstacle::Failing(not_before)) = self.lock().obstacle(&server) else { return Ok(()) };
            let now = Instant::now();
            if now >= deadline || not_before >= deadline {
                return Err(ServerDown);
            }
            // A try in progress ends with `changed`.
            let until = if not_before > now { not_before } else { deadline };
            let _ = timeout_at(until, changed).await;
        }
    }

    /// The right to open a connection; waits while enough others are being opened. `None`: the server is failing.
    pub async fn begin(&self, place: &Place, deadline: Instant) -> Option<Opening<'_>> {
        let server = address(place);
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
        self.servers.get_mut(server).expect("it was inserted")
    }
}

impl Opening<'_> {
    /// The server answered.
    pub fn answered(self) {
        self.servers.lock().server(&self.server).failing = None;
    }

    /// The server could not be reached, or has no room.
    pub fn failed(self) {
        let mut state = self.servers.lock();
        let server = state.server(&self.server);
        let failing = server
            .failing
            .get_or_insert_with(|| Failing { waits: Waits::new(WAITS.0, WAITS.1), not_before: Instant::now() });
        // Several that were under way together are one failure.
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

fn address(place: &Place) -> String {
    format!("{}:{}", place.host, place.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::route_for_tests;

    fn place(host: &str) -> Place {
        Place { host: host.into(), ..route_for_tests("t1").place.clone() }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(2)
    }

    #[tokio::test(start_paused = true)]
    async fn one_server_cannot_take_all_openings() {
        let servers = Servers::default();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE_PER_SERVER {
            held.push(servers.begin(&place("a"), soon()).await.unwrap());
        }
        assert!(servers.begin(&place("a"), soon()).await.is_none(), "the seventh waits until its deadline");
        assert!(servers.begin(&place("b"), soon()).await.is_some());
        held.pop();
        assert!(servers.begin(&place("a"), soon()).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_server_gets_one_try_at_a_time() {
        let servers = Servers::default();
        servers.begin(&place("a"), soon()).await.unwrap().failed();
        assert!(servers.is_failing(&place("a")) && !servers.is_failing(&place("b")));
        assert!(servers.begin(&place("a"), soon()).await.is_none());
        servers.wait_for(&place("a"), soon()).await.unwrap();
        let probe = servers.begin(&place("a"), soon()).await.unwrap();
        assert!(servers.begin(&place("a"), soon()).await.is_none(), "while the try is in progress");
        assert_eq!(servers.wait_for(&place("a"), soon()).await, Err(ServerDown));
        probe.answered();
        assert!(!servers.is_failing(&place("a")));
        assert!(servers.begin(&place("a"), soon()).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_and_stay_bounded() {
        let servers = Servers::default();
        let began = Instant::now();
        for _ in 0..10 {
            let deadline = Instant::now() + Duration::from_secs(2);
            servers.wait_for(&place("a"), deadline).await.unwrap();
            servers.begin(&place("a"), deadline).await.unwrap().failed();
        }
        assert!(began.elapsed() > Duration::from_secs(3) && began.elapsed() < Duration::from_secs(11));
    }
}
