//! What every process has: settings, health, telemetry, an orderly end, waits between retries, and the points at which
//! tests interrupt it.

pub mod config;
pub mod failpoint;
pub mod health;
pub mod retry;
pub mod shutdown;
pub mod telemetry;
