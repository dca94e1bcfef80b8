//! The smallest possible load balancer, for tests of restarts. It polls `/readyz` of every service, sends requests in
//! turn to those that are ready, and tries another service when a connection is refused.

use super::Reply;
use anyhow::{Context, Result};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Time between two polls. `SHUTDOWN_NOTICE` must be longer.
const POLL: Duration = Duration::from_millis(200);

/// Limit for an answer: longer than a service may drain.
const ANSWER: Duration = Duration::from_secs(20);

struct Backend {
    url: String,
    ready: AtomicBool,
    answered: AtomicUsize,
}

/// Dropping it ends the polling.
pub struct Balancer {
    backends: Arc<Vec<Backend>>,
    next: AtomicUsize,
    client: Client,
    polling: JoinHandle<()>,
}

impl Balancer {
    pub fn start(urls: impl IntoIterator<Item = String>) -> Result<Self> {
        let backend = |url| Backend { url, ready: AtomicBool::new(true), answered: AtomicUsize::new(0) };
        let backends: Arc<Vec<Backend>> = Arc::new(urls.into_iter().map(backend).collect());
        let client = crate::http().timeout(ANSWER).build()?;
        let (polled, asking) = (Arc::clone(&backends), client.clone());
        let polling = tokio::spawn(async move {
            loop {
                for backend in polled.iter() {
                    let asked = asking.get(format!("{}/readyz", backend.url)).timeout(POLL).send().await;
                    let ready = asked.is_ok_and(|answer| answer.status() == StatusCode::OK);
                    backend.ready.store(ready, Ordering::Relaxed);
                }
                tokio::time::sleep(POLL).await;
            }
        });
        Ok(Self { backends, next: AtomicUsize::new(0), client, polling })
    }

    /// How many answers each service has given.
    pub fn answered(&self) -> Vec<usize> {
        self.backends.iter().map(|backend| backend.answered.load(Ordering::Relaxed)).collect()
    }

    /// The answer of one of the services. A client would see every error that this returns.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply> {
        let mut last = None;
        for _ in 0..2 * self.backends.len() {
            let Some(backend) = self.choose() else {
                // No service is ready, so the balancer waits for the next poll.
                tokio::time::sleep(POLL).await;
                continue;
            };
            let mut request =
                self.client.request(Method::from_bytes(method.as_bytes())?, format!("{}{path}", backend.url));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            match request.send().await {
                Ok(answer) => {
                    backend.answered.fetch_add(1, Ordering::Relaxed);
                    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
                    let text = answer.text().await.context("the answer broke off")?;
                    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
                    return Ok(Reply { status, headers, json, text });
                }
                // The request did not reach this service, so another one may get it.
                Err(error) if error.is_connect() => last = Some(error),
                Err(error) => return Err(error).context(format!("{method} {path} at {}", backend.url)),
            }
        }
        Err(last.map_or_else(|| anyhow::anyhow!("no service is ready"), anyhow::Error::from))
    }

    fn choose(&self) -> Option<&Backend> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = |n: usize| &self.backends[(first + n) % self.backends.len()];
        (0..self.backends.len()).map(turn).find(|backend| backend.ready.load(Ordering::Relaxed))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.polling.abort();
    }
}
