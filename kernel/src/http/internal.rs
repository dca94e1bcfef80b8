//! The internal listener of a process: health and metrics, for probes and for Prometheus.
//!
//! Metrics name tenants, so the listener that the tenants' users reach does not answer `/metrics`. This listener has
//! connections of its own: clients that use up the public ones do not hide the process from those who watch it. It
//! answers until the process ends, also while the last requests are drained.

use super::serve::{HttpLimits, accept};
use super::{ApiError, Code, edge};
use crate::process::health::Health;
use crate::process::shutdown::Shutdown;
use anyhow::Context;
use axum::Router;
use axum::middleware::from_fn;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// The most open connections of the internal listener. Probes and Prometheus need a few.
const CONNECTIONS: usize = 64;

/// Serves `/livez`, `/readyz` and `/metrics` on `address`, until the process ends.
///
/// # Errors
/// If the process cannot listen there.
pub async fn serve_internal(
    address: SocketAddr,
    health: &Health,
    limits: &HttpLimits,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address} for health and metrics"))?;
    let router = internal_router(health);
    let limits = HttpLimits { connections: CONNECTIONS, of_address: CONNECTIONS, ..limits.clone() };
    // The listener ends with the process and never before, so it knows no request to stop.
    shutdown.spawn_to_the_end(accept(listener, router, limits, Shutdown::default()));
    Ok(())
}

/// The routes of an internal listener.
pub fn internal_router(health: &Health) -> Router {
    health.internal_routes().fallback(|| async { ApiError::from(Code::NotFound) }).layer(from_fn(edge))
}
