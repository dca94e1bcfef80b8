//! Private, real servers and services for the `dev` command and the end-to-end tests.
//!
//! One code serves both, so that what a developer runs is what the tests prove. From the bottom up:
//!
//! - [`paths`], [`ports`], [`files`], [`wait`]: where things live, which ports are free, how secrets are stored, how to
//!   wait;
//! - [`process`]: one operating-system process, signalled only while it is provably the one that was started;
//! - [`install`]: the packages that the servers come from; [`python`]: programs in Python that tests compare with;
//! - [`servers`]: private MariaDB, MySQL, RabbitMQ and Redis servers, with their accounts and certificates;
//! - [`clients`]: clients of the public APIs;
//! - [`stack`]: the servers and the three services composed; [`demo`]: the demo tenant in such a stack;
//! - [`load`]: clients that ask all the time and check every answer; [`kill`]: services that are killed at a point;
//! - [`leftovers`]: folders of test runs; [`legacy`]: databases of the system before this one.
//!
//! Nothing here touches a server that it did not start, except the servers whose URLs it is given.

pub mod clients;
pub mod demo;
pub mod files;
pub mod install;
pub mod kill;
pub mod leftovers;
pub mod legacy;
pub mod load;
pub mod paths;
pub mod ports;
pub mod process;
pub mod python;
pub mod servers;
pub mod stack;
pub mod wait;

/// An HTTP client for this machine. It uses no proxy, because the machine's proxy would be asked for 127.0.0.1.
pub fn http() -> reqwest::ClientBuilder {
    // `reqwest` needs a choice of the TLS provider. An error means that the choice was already made.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}
