//! Telemetry: logs as JSON lines on standard output, metrics for Prometheus ([`names`]), and traces by OpenTelemetry
//! ([`traces`]).

mod command;
mod filter;
pub mod names;
mod process;
mod system_database;
pub mod traces;

pub use command::Exposed;
pub use system_database::watch_system_database;

use crate::process::config::{ConfigError, Settings, wrong};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use names::Kind;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logs, metrics and traces as `service`. A process calls this once, before anything else.
///
/// # Errors
/// If `LOG` is not a tracing filter, or a setting of traces is wrong.
pub fn init(settings: &Settings, service: &'static str) -> Result<PrometheusHandle, ConfigError> {
    let level: String = settings.get("LOG")?;
    let filter = filter::capped(&level).map_err(|error| wrong("LOG", error))?;
    let logs =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
    match traces::layer(settings, service)? {
        Some(traces) => tracing_subscriber::registry().with(logs.with_filter(filter)).with(traces).init(),
        // A filter on a single layer is evaluated at every poll of every request, a global filter only once.
        None => tracing_subscriber::registry().with(logs).with(filter).init(),
    }
    let handle = measure(service).map_err(|error| wrong("LOG", error))?;
    tracing::debug!(filter = level, "logging has started");
    Ok(handle)
}

/// Installs the recorder, with the description of every metric of `service` and the buckets of its histograms.
fn measure(service: &'static str) -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in names::ALL {
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), buckets)?;
        }
    }
    let handle = builder.install_recorder()?;
    for metric in names::ALL.iter().filter(|metric| metric.of.contains(&service)) {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.help),
        }
        // A rate needs a first value. For counters with labels, the values of the labels are not known here.
        if metric.labels.is_empty() && metric.kind == Kind::Counter {
            metrics::counter!(metric.name).absolute(0);
        }
    }
    metrics::gauge!(names::BUILD_INFO, "service" => service, "version" => env!("CARGO_PKG_VERSION")).set(1);
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    metrics::gauge!(names::PROCESS_START_TIME).set(began.as_secs_f64());
    // Without regular upkeep, the histograms of the exporter would grow without bound.
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            process::measure();
            upkeep.run_upkeep();
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });
    Ok(handle)
}
