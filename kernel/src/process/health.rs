//! `/livez`, `/readyz` and `/metrics`, the same in every process.
//!
//! Every listener answers `/livez` and `/readyz`. Only the internal listener ([`crate::http::serve_internal`]) answers
//! `/metrics`, because metrics name tenants. The reasons in `/readyz` are our own words, because strangers can read
//! them: the log has what a database said.
//!
//! A process is *live* if it answers at all. It is *ready* for work if it has started, is not stopping, and none of its
//! required parts is down. A part that fails but is not required (the broker, because everything also polls) is
//! reported as degraded, and the process stays ready.

use crate::error::chain;
use crate::process::telemetry::names;
use anyhow::{Context, ensure};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The state of one part of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase", tag = "status", content = "reason")]
pub enum Part {
    /// The part works.
    Healthy,
    /// The part does not work, but the process can do its main work without it.
    Degraded(String),
    /// The part does not work, and the process cannot do its work without it.
    Down(String),
}

/// The health of a process. Clones share the state.
#[derive(Clone)]
pub struct Health {
    state: Arc<Mutex<Report>>,
    metrics: PrometheusHandle,
}

/// The health that a process reports.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = Readiness)]
struct Report {
    /// Whether the process has started and is not stopping.
    ready: bool,
    /// The state of each part, and of each server that the process depends on.
    #[schema(value_type = BTreeMap<String, Part>)]
    parts: BTreeMap<&'static str, Part>,
}

impl Health {
    /// A process that is not ready and has reported no parts.
    pub fn new(metrics: PrometheusHandle) -> Self {
        Self { state: Arc::default(), metrics }
    }

    /// Sets whether the process is ready: true after its start, false when it begins to stop.
    pub fn set_ready(&self, ready: bool) {
        self.lock().ready = ready;
    }

    /// Reports the state of a part. Logs every change once.
    pub fn report(&self, part: &'static str, now: Part) {
        self.change(part, now, None);
    }

    /// Reports a part that failed with `cause`. The cause is only logged.
    pub fn report_error(&self, part: &'static str, now: Part, cause: &dyn std::error::Error) {
        self.change(part, now, Some(chain(cause)));
    }

    fn change(&self, part: &'static str, now: Part, cause: Option<String>) {
        let before = self.lock().parts.insert(part, now.clone());
        metrics::gauge!(names::COMPONENT_HEALTHY, "component" => part).set(u8::from(now == Part::Healthy));
        if before.as_ref() != Some(&now) {
            match now {
                Part::Healthy if before.is_none() => {}
                Part::Healthy => tracing::info!(part, "works again"),
                Part::Degraded(reason) => {
                    tracing::warn!(part, reason, cause, "does not work; the process continues without it")
                }
                Part::Down(reason) => tracing::error!(part, reason, cause, "does not work"),
            }
        }
    }

    /// The state of every part, as JSON.
    pub fn parts(&self) -> serde_json::Value {
        serde_json::json!(self.lock().parts)
    }

    /// The routes `/livez` and `/readyz`.
    pub fn routes(&self) -> Router {
        api().with_state(self.clone()).into()
    }

    /// The routes of the internal listener: `/livez`, `/readyz` and `/metrics`.
    pub fn internal_routes(&self) -> Router {
        self.routes().merge(Router::new().route("/metrics", get(render_metrics)).with_state(self.clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Report> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Longest wait for an answer of [`ask`].
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the process that listens on `address` on this machine whether it is ready. This serves health checks of
/// containers, which contain no other program.
///
/// # Errors
/// If the process does not answer, or is not ready; the error contains its answer.
pub async fn ask(mut address: SocketAddr) -> anyhow::Result<()> {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(64 * 1024).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(ASK_TIMEOUT, asking)
        .await
        .map_err(|_| anyhow::anyhow!("{address} does not answer within {} s", ASK_TIMEOUT.as_secs()))?
        .with_context(|| format!("{address} cannot be reached"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    ensure!(answer.split(' ').nth(1) == Some("200"), "{address} is not ready: {body}");
    Ok(())
}

/// The routes of every listener, with their OpenAPI descriptions.
pub fn api() -> OpenApiRouter<Health> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz))
}

/// The process answers.
#[derive(Serialize, ToSchema)]
struct Alive {
    /// Always `live`.
    status: &'static str,
}

/// Whether the process is alive.
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses(
    (status = 200, description = "The process is alive", body = Alive)))]
async fn livez() -> Json<Alive> {
    Json(Alive { status: "live" })
}

/// Whether the process is ready for work.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, description = "The process is ready", body = Report),
    (status = 503, description = "The process is starting or stopping, or a part that it needs is down", body = Report)))]
async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let report = health.lock().clone();
    let ready = report.ready && !report.parts.values().any(|part| matches!(part, Part::Down(_)));
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report))
}

/// Measurements, in the text format of Prometheus.
async fn render_metrics(State(health): State<Health>) -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4")], health.metrics.render())
}
