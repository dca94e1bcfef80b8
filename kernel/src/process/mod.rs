//! What every process has: settings ([`config`]), [`health`], [`telemetry`], an orderly end ([`shutdown`]), the policy
//! of retries ([`retry`]), and the points at which tests interrupt it ([`failpoint`]).

pub mod config;
pub mod failpoint;
pub mod health;
mod ranges;
pub mod retry;
pub mod shutdown;
pub mod telemetry;
