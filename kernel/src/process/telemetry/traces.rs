//! Traces by OpenTelemetry, off unless `OTLP_ENDPOINT` is set.
//!
//! A trace follows a change of a tenant through all processes: from the request into the rows of the job and of the
//! event, from there into the header `traceparent` of the message and into the worker's steps, and on to the node that
//! reads the tenant again. The process where a trace enters the system decides whether it is recorded, by `OTLP_SAMPLE`
//! and by nothing that a caller sends; the others follow its decision. Only spans of our own crates are recorded. A
//! thread of its own sends them to the collector. If the collector cannot be reached, they are dropped, and nothing
//! waits for it. The collector is reached by TLS if its address begins with `https://`; its certificate is signed by a
//! public authority or by one of `TLS_CA`.

use crate::process::config::{ConfigError, Settings, wrong};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState, TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
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

static RECORDING: OnceLock<Recording> = OnceLock::new();

/// How this process records traces.
struct Recording {
    provider: SdkTracerProvider,
    /// The share of the traces that begin here.
    share: f64,
}

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
    if !url::Url::parse(&endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        let reason = "an address such as http://127.0.0.1:4318 or https://collector.example.com:4318 is needed";
        return Err(wrong("OTLP_ENDPOINT", reason));
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client(settings.get("TLS_CA")?)?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(TIMEOUT)
        .build()
        .map_err(|error| wrong("OTLP_ENDPOINT", error))?;
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
        .with_resource(Resource::builder().with_service_name(service).build())
        .with_batch_exporter(exporter)
        .build();
    let tracer = provider.tracer("ai-shifu");
    let _ = RECORDING.set(Recording { provider, share });
    let ours = filter_fn(|metadata| {
        metadata.is_span() && metadata.target().split("::").next().is_some_and(|first| OURS.contains(&first))
    });
    let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
    Ok(Some(layer.with_tracked_inactivity(false).with_filter(ours).boxed()))
}

/// The client that sends spans to the collector. It trusts public authorities, and those of the PEM text.
fn client(authorities: String) -> Result<reqwest::blocking::Client, ConfigError> {
    // An error means that the choice was already made.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The client blocks while it is built, and must not do so on a thread of the runtime.
    let built = std::thread::spawn(move || {
        let trusted = reqwest::Certificate::from_pem_bundle(authorities.as_bytes())?;
        reqwest::blocking::Client::builder().timeout(TIMEOUT).tls_certs_merge(trusted).build()
    });
    built.join().expect("building a client does not panic").map_err(|error| wrong("OTLP_ENDPOINT", error))
}

/// Whether this process records traces.
pub fn are_on() -> bool {
    RECORDING.get().is_some()
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

/// Makes `span` continue the trace of a `traceparent` that one of our processes has written, if it is a valid one.
/// Callers do this before they enter the span.
pub fn follow(span: &Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent.filter(|_| are_on()) else { return };
    let _ = span.set_parent(parse(traceparent));
}

/// The same for a `traceparent` that a client sent. It names the trace, and does not decide whether it is recorded: the
/// client has chosen both the flag and the id of the trace.
pub fn follow_client(span: &Span, traceparent: Option<&str>) {
    let (Some(recording), Some(traceparent)) = (RECORDING.get(), traceparent) else { return };
    let context = parse(traceparent);
    let client = context.span().span_context().clone();
    if client.is_valid() {
        let flags = if sampled(recording.share) { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let remote = SpanContext::new(client.trace_id(), client.span_id(), flags, true, TraceState::default());
        let _ = span.set_parent(Context::new().with_remote_span_context(remote));
    }
}

fn parse(traceparent: &str) -> Context {
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    TraceContextPropagator::new().extract(&carrier)
}

/// Whether a trace is among the share that is recorded.
fn sampled(share: f64) -> bool {
    rand::random::<f64>() < share
}

/// Sends the last spans. A process calls this at its end.
pub async fn end() {
    let Some(provider) = RECORDING.get().map(|recording| recording.provider.clone()) else { return };
    // The exporter blocks, and must not do so on a thread of the runtime.
    let _ = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(TIMEOUT)).await;
}
