//! Free loopback ports for several checkouts and many tests at once.
//!
//! Ports are taken from below the ephemeral range, and not by binding to port 0. A test kills a server and starts it
//! again on the same port. In between, any outgoing connection of the machine could take an ephemeral port as its
//! source, and the restart would fail once in a while.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use anyhow::{Result, bail};

/// Ports that this process has given out. A server that is just starting has not bound its port yet.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port on which no process listens.
pub fn free() -> Result<u16> {
    let below = ephemeral_start();
    let mut given = GIVEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let given = given.get_or_insert_default();
    for _ in 0..1000 {
        let port = rand::random_range(below - 12_000..below);
        // A server of another user may listen on 0.0.0.0 only, so both addresses are tried.
        let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if unused && given.insert(port) {
            return Ok(port);
        }
    }
    bail!("no free loopback port below {below}")
}

/// The first port the kernel may give to outgoing connections.
fn ephemeral_start() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        // A range that begins at 1024 leaves nothing below it. The usual range serves then.
        .filter(|start| *start >= 20_000)
        .unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_port_is_given_once() {
        let mut ports: Vec<u16> = (0..50).map(|_| super::free().unwrap()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 50);
    }
}
