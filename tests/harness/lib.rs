//! Private, real servers and services for the `dev` command and the end-to-end tests.
//!
//! One code serves both, so that what a developer runs is what the tests prove. From the bottom up:
//!
//! - [`paths`], [`ports`], [`files`], [`wait`]: where things live, which ports are free, how secrets are
//!   kept, how to wait;
//! - [`process`]: one operating-system process, signalled only while it is provably still ours;
//! - [`install`]: the packages the servers come from;
//! - [`mariadb`], [`rabbitmq`], [`redis`]: private servers, each in a directory of its own;
//! - [`mysql`]: the other kind of database server, for the run that shows that everything works on it too;
//! - [`certificates`]: of private authorities, where these servers are to be spoken to by TLS;
//! - [`accounts`]: the least-privilege database accounts the services get;
//! - [`services`]: the control plane, the provisioner and the data plane as real processes;
//! - [`options`], [`stack`]: all of it composed; [`proxy`]: a bad network between two of them;
//! - [`handshake`]: the first words of a database server that nobody can install any more;
//! - [`admin`], [`demo`]: a client of the public API, and the demo tenant made through it;
//! - [`python`]: programs in Python, for tests that compare with them;
//! - [`legacy`]: databases of the system before this one, for what moves them in.
//!
//! Nothing here touches a server that it did not start, except the ones whose URLs it is given.

pub mod accounts;
pub mod admin;
pub mod certificates;
pub mod demo;
pub mod files;
pub mod handshake;
pub mod install;
pub mod leftovers;
pub mod legacy;
pub mod mariadb;
pub mod mysql;
pub mod options;
#[cfg(test)]
mod own_tests;
pub mod paths;
pub mod ports;
pub mod probe;
pub mod process;
pub mod proxy;
pub mod python;
pub mod rabbitmq;
pub mod redis;
pub mod services;
pub mod stack;
pub mod wait;

/// A client of HTTP on this machine. No proxy: the machine's would be asked for 127.0.0.1.
pub fn http() -> reqwest::ClientBuilder {
    // `reqwest` wants the choice to be made; an error means that it was made already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}
