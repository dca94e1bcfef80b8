//! Traces by OpenTelemetry, off unless `OTLP_ENDPOINT` is set.
//!
//! A trace follows a change of a tenant through all processes: from the request into the rows of the job and of the
//! event, from there into the header `traceparent` of the message and into the worker's steps, and on to the node that
//! reads the tenant again. Only spans of our own crates are recorded. A thread of its own sends them to the collector.
//! If the collector cannot be reached, they are dropped, and nothing waits for it.

use crate::process::config::{ConfigError, Settings, wrong};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Longest wait for one answer of the collector, and for the last spans at the end of the process.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The crates whose spans are recorded.
const OURS: [&str; 4] = ["kernel", "control_plane", "provisioner", "data_plane"];

/// The layer that records traces, if `OTLP_ENDPOINT` is set.
pub(super) fn layer<S>(
    settings: &Settings,
    service: &'static str,
) -> Result<Option<Box<dyn Layer<S> + Send + Sync>>, ConfigError>
where
    S: tracing::Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
{
    let endpoint: String = settings.get("OTLP_ENDPOINT")?;
    let share: f64 = settings.get("OTLP_SAMPLE")?;
    if !(0.0..=1.0).contains(&share) {
        return Err(wrong("OTLP_SAMPLE", "a share from 0 to 1 is needed"));
    }
    if endpoint.is_empty() {
        return Ok(None);
    }
    if !url::Url::parse(&endpoint).is_ok_and(|url| url.scheme() == "http" && url.has_host()) {
        let reason =
            "an address such as http://127.0.0.1:4318 is needed; a collector beside the process speaks TLS to others";
        return Err(wrong("OTLP_ENDPOINT", reason));
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(TIMEOUT)
        .build()
        .map_err(|error| wrong("OTLP_ENDPOINT", error))?;
    let provider = SdkTracerProvider::builder()
        // The trace's id alone decides, so all processes decide alike, and a caller cannot make them record more.
        .with_sampler(Sampler::TraceIdRatioBased(share))
        .with_resource(Resource::builder().with_service_name(service).build())
        .with_batch_exporter(exporter)
        .build();
    let tracer = provider.tracer("ai-shifu");
    let _ = PROVIDER.set(provider);
    let ours = filter_fn(|metadata| {
        metadata.is_span() && metadata.target().split("::").next().is_some_and(|first| OURS.contains(&first))
    });
    let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
    Ok(Some(layer.with_tracked_inactivity(false).with_filter(ours).boxed()))
}

/// Whether this process records traces.
pub fn are_on() -> bool {
    PROVIDER.get().is_some()
}

/// The `traceparent` of the current span, if it is being recorded.
pub fn current() -> Option<String> {
    if !are_on() {
        return None;
    }
    of(&Span::current())
}

/// The `traceparent` of a span, if it is being recorded.
pub fn of(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    (context.is_valid() && context.is_sampled()).then(|| format!("00-{}-{}-01", context.trace_id(), context.span_id()))
}

/// Makes `span` continue the trace of `traceparent`, if it is a valid one. Callers do this before they enter the span.
pub fn follow(span: &Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent.filter(|_| are_on()) else { return };
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}

/// Sends the last spans. A process calls this at its end.
pub async fn end() {
    let Some(provider) = PROVIDER.get().cloned() else { return };
    // The exporter blocks, and must not do so on a thread of the runtime.
    let _ = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(TIMEOUT)).await;
}
