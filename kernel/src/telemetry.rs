//! Logs as JSON lines on standard output, metrics for Prometheus.
//!
//! Whatever filter an operator sets, libraries that would log secrets are capped: `lapin` logs AMQP frames (the password
//! is in one), `h2` and `hyper` log headers (bearer tokens are in them), `sqlx` logs statement texts. A test seeds
//! secrets and searches the logs of a run at `LOG=trace`.

use crate::config::{ConfigError, Settings, wrong};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Appended to every filter; later directives win.
const CAPS: &str = "lapin=warn,amq_protocol=warn,amq_protocol_tcp=warn,amq_protocol_uri=warn,async_rs=warn,h2=info,\
                    hyper=info,hyper_util=info,tower=info,rustls=info,sqlx=warn,redis=info,mio=info,reqwest=info";

/// Seconds; from a cached answer to a request that is given up.
const DURATION_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Begins logging and measuring. Call once, first thing.
///
/// # Errors
/// When `LOG` is not a tracing filter.
pub fn init(settings: &Settings) -> Result<PrometheusHandle, ConfigError> {
    let level: String = settings.get("LOG")?;
    let filter = EnvFilter::try_new(format!("{level},{CAPS}")).map_err(|error| wrong("LOG", error))?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_current_span(true)
        .with_span_list(false)
        .init();
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &DURATION_BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| wrong("LOG", error))?;
    tracing::debug!(filter = level, "logs begin");
    // Without regular upkeep the histograms of the exporter grow for ever.
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
