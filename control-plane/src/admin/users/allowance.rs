//! How many strangers may sign up: so many an hour from an address, and so many in all.

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use kernel::http::{ApiError, Code};
use kernel::process::config::{ConfigError, Settings};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Above this number of remembered addresses, those with a full allowance are forgotten.
const ADDRESSES: usize = 10_000;

/// How many strangers may still sign up. Clones share the count.
#[derive(Clone)]
pub struct Allowance {
    of_address: Arc<DefaultKeyedRateLimiter<IpAddr>>,
    of_all: Arc<DefaultDirectRateLimiter>,
}

impl Allowance {
    /// Reads `SIGNUPS_PER_ADDRESS_PER_HOUR` and `SIGNUPS_PER_HOUR`.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let hourly = |name| settings.get::<NonZeroU32>(name).map(Quota::per_hour);
        Ok(Self {
            of_address: Arc::new(RateLimiter::keyed(hourly("SIGNUPS_PER_ADDRESS_PER_HOUR")?)),
            of_all: Arc::new(RateLimiter::direct(hourly("SIGNUPS_PER_HOUR")?)),
        })
    }

    /// Takes one sign-up of `address`; 429 with the seconds until the next one if none is left.
    pub fn take(&self, address: IpAddr) -> Result<(), ApiError> {
        if self.of_address.len() > ADDRESSES {
            self.of_address.retain_recent();
        }
        let now = DefaultClock::default().now();
        let refusal = match self.of_address.check_key(&network(address)) {
            Ok(()) => match self.of_all.check() {
                Ok(()) => return Ok(()),
                Err(until) => until.wait_time_from(now),
            },
            Err(until) => until.wait_time_from(now),
        };
        let seconds = u32::try_from(refusal.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        Err(ApiError::from(Code::TooManyRequests).retry_after(seconds))
    }
}

/// A client with an IPv6 address has 2^64 of them, so its network counts.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_ups_are_limited_by_address_and_in_all() {
        let hourly = |count| Quota::per_hour(NonZeroU32::new(count).unwrap());
        let allowance = Allowance {
            of_address: Arc::new(RateLimiter::keyed(hourly(2))),
            of_all: Arc::new(RateLimiter::direct(hourly(3))),
        };
        let take = |address: &str| allowance.take(address.parse().unwrap()).is_ok();
        assert!(take("192.0.2.1") && take("::ffff:192.0.2.1"));
        assert!(!take("192.0.2.1"), "of the address");
        assert!(take("2001:db8::1"));
        assert!(!take("2001:db8::2"), "of all");
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
