//! `/livez`, `/readyz` and `/metrics`, the same in every process.
//!
//! *Live* means that the process answers at all. *Ready* means that it should get work: it has started, is not stopping,
//! and none of its required parts is down. A part that is down but can be done without (the broker: everything polls)
//! is told as degraded and keeps the process ready.

use crate::process::telemetry::names;
use anyhow::{Context, ensure};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
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

/// How one part of the process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase", tag = "status", content = "reason")]
pub enum Part {
    /// Works.
    Healthy,
    /// Does not work; the process does its main job without it.
    Degraded(String),
    /// Does not work, and the process cannot do its job without it.
    Down(String),
}

/// What a process tells of itself. Clones share the state.
#[derive(Clone)]
pub struct Health {
    state: Arc<Mutex<Told>>,
    metrics: PrometheusHandle,
}

/// What a process tells of itself.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = Readiness)]
struct Told {
    /// Started, and not stopping.
    ready: bool,
    /// What it consists of and depends on.
    #[schema(value_type = BTreeMap<String, Part>)]
    parts: BTreeMap<&'static str, Part>,
}

impl Health {
    /// Not ready, with nothing known.
    pub fn new(metrics: PrometheusHandle) -> Self {
        Self { state: Arc::default(), metrics }
    }

    /// Ready to get work (after the start), or not any more (before the end).
    pub fn set_ready(&self, ready: bool) {
        self.lock().ready = ready;
    }

    /// Tells how a part is. Logs the change, once.
    pub fn tell(&self, part: &'static str, now: Part) {
        let before = self.lock().parts.insert(part, now.clone());
        metrics::gauge!(names::COMPONENT_HEALTHY, "component" => part).set(u8::from(now == Part::Healthy));
        if before.as_ref() != Some(&now) {
            match now {
                Part::Healthy if before.is_none() => {}
                Part::Healthy => tracing::info!(part, "works again"),
                Part::Degraded(reason) => {
                    tracing::warn!(part, reason, "does not work; going on without it")
                }
                Part::Down(reason) => tracing::error!(part, reason, "does not work"),
            }
        }
    }

    /// How every part is, as JSON.
    pub fn parts(&self) -> serde_json::Value {
        serde_json::json!(self.lock().parts)
    }

    /// The three routes.
    pub fn routes(&self) -> Router {
        api().with_state(self.clone()).into()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Longest wait for an answer of [`ask`].
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the process that listens on `address`, on this machine, whether it is ready; the error says what it answered. For health
/// checks of containers, which have no other program in them.
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
        .with_context(|| format!("{address} cannot be asked"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    ensure!(answer.split(' ').nth(1) == Some("200"), "not ready: {body}");
    Ok(())
}

/// The three routes, with what an API's document says of them.
pub fn api() -> OpenApiRouter<Health> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(render_metrics))
}

/// That the process answers.
#[derive(Serialize, ToSchema)]
struct Alive {
    /// `live`.
    status: &'static str,
}

/// Is the process alive?
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses((status = 200, description = "It is", body = Alive)))]
async fn livez() -> Json<Alive> {
    Json(Alive { status: "live" })
}

/// Should the process get work?
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, description = "It should", body = Told),
    (status = 503, description = "It should not: it starts or stops, or a part it needs is down", body = Told)))]
async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let told = health.lock().clone();
    let ready = told.ready && !told.parts.values().any(|part| matches!(part, Part::Down(_)));
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(told))
}

/// Measurements, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", security(()), responses(
    (status = 200, description = "Measurements", body = String, content_type = "text/plain")))]
async fn render_metrics(State(health): State<Health>) -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4")], health.metrics.render())
}
