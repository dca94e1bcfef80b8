//! [`Addresses`]: how much each address has of something that clients share: connections, turns. Without a bound for
//! one address, one client could take all of it.

use super::proxies::{TrustedProxies, network};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What each address has. Trusted proxies are not counted, because they stand for many clients.
pub struct Addresses {
    most: usize,
    trusted: Arc<TrustedProxies>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Addresses {
    /// Allows each address `most`.
    pub fn new(most: usize, trusted: Arc<TrustedProxies>) -> Self {
        Self { most, trusted, open: Mutex::default() }
    }

    /// Counts one of `peer` until the value is dropped. `None` if its address has as many as it may.
    pub fn admit(self: &Arc<Self>, peer: SocketAddr) -> Option<Admitted> {
        if self.trusted.contain(Some(peer)) {
            return Some(Admitted(None));
        }
        let address = network(peer.ip());
        let mut open = self.lock();
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Admitted(Some((Arc::clone(self), address))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is counted for its address.
pub struct Admitted(Option<(Arc<Addresses>, IpAddr)>);

impl Drop for Admitted {
    fn drop(&mut self) {
        let Some((addresses, address)) = &self.0 else { return };
        let mut open = addresses.lock();
        if let Some(count) = open.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                open.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_a_bound_and_a_proxy_has_none() {
        let trusted = Arc::new(TrustedProxies::parse("10.0.0.0/8").unwrap());
        let addresses = Arc::new(Addresses::new(2, trusted));
        let admit = |peer: &str| addresses.admit(peer.parse().unwrap());
        let (first, second) = (admit("192.0.2.1:1"), admit("192.0.2.1:2"));
        assert!(first.is_some() && second.is_some() && admit("192.0.2.1:3").is_none());
        assert!(admit("192.0.2.2:1").is_some(), "another address");
        drop(first);
        assert!(admit("192.0.2.1:4").is_some(), "a connection has ended");
        let many: Vec<_> = (1..9).map(|port| admit(&format!("10.0.0.1:{port}"))).collect();
        assert!(many.iter().all(Option::is_some));
        drop((second, many));
        assert!(addresses.lock().is_empty(), "an address without a connection is forgotten");
    }
}
