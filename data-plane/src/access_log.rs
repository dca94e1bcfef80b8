//! The access log: one row of `saas_access_logs` for each request to the tenants' API.
//!
//! **Guarantees.** No request waits for the log: its row goes into a queue of `ACCESS_LOG_BUFFER` rows or is dropped,
//! and one task ([`Writer`]) writes the rows in batches. A node writes at most `ACCESS_LOG_ROWS_PER_SECOND`, so that a
//! flood of requests does not become a flood of rows. Requests without a user have a small allowance of their own,
//! `ACCESS_LOG_STRANGER_ROWS_PER_SECOND`, and a quarter of the queue, so they displace no row of a user. While the
//! system database cannot be reached, the queue fills; the writer empties it when the database is back. Every row that
//! is not written is counted, with the reason. A batch whose outcome is unknown is written again, so a row may then
//! exist twice, with the same request id.

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use chrono::{NaiveDateTime, Utc};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use kernel::database;
use kernel::domain::{TenantId, UserId};
use kernel::error::chain;
use kernel::http::{RequestId, TrustedProxies};
use kernel::process::health::{Health, Part};
use kernel::process::shutdown::Shutdown;
use kernel::process::telemetry::names;
use sqlx::{MySqlPool, QueryBuilder};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The most rows of one statement.
const BATCH: usize = 500;
/// How long the writer collects rows, and how long it waits between attempts while the database cannot be reached.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for one statement.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time to write the last rows when the process stops.
const LAST_ROWS: Duration = Duration::from_secs(2);
/// The column `path` has 500 characters. User agents are cut to the same length.
const LONGEST: usize = 500;

/// The user and the tenant of a request. Admission fills them in once they are known.
#[derive(Clone, Default)]
pub struct Attribution {
    user_id: Arc<OnceLock<Arc<UserId>>>,
    tenant_id: Arc<OnceLock<Arc<TenantId>>>,
}

impl Attribution {
    /// The request's token belongs to this user.
    pub fn set_user(&self, user_id: &Arc<UserId>) {
        let _ = self.user_id.set(Arc::clone(user_id));
    }

    /// The request asks for this tenant, which exists.
    pub fn set_tenant(&self, tenant_id: &Arc<TenantId>) {
        let _ = self.tenant_id.set(Arc::clone(tenant_id));
    }
}

struct Row {
    attribution: Attribution,
    request_id: String,
    method: String,
    path: String,
    status: u16,
    millis: i32,
    address: Option<IpAddr>,
    agent: Option<String>,
    at: NaiveDateTime,
}

/// Takes rows from requests. Clones share the queue.
#[derive(Clone)]
pub struct AccessLog {
    queue: mpsc::Sender<Row>,
    rates: Arc<Rates>,
    trusted: Arc<TrustedProxies>,
}

/// How many rows a second the log takes.
struct Rates {
    users: DefaultDirectRateLimiter,
    /// Rows of requests without a user; `None`: none.
    strangers: Option<DefaultDirectRateLimiter>,
}

/// The settings of the log.
#[derive(Clone, Copy)]
pub struct AccessLogLimits {
    /// The most rows of users in a second.
    pub rate: NonZeroU32,
    /// The most rows in a second of requests without a user.
    pub stranger_rate: u32,
    /// The most rows that wait for the database.
    pub buffer: usize,
}

/// The task that writes the rows to the system database.
pub struct Writer {
    queue: mpsc::Receiver<Row>,
    pool: MySqlPool,
    health: Health,
}

impl AccessLog {
    /// A queue of rows, and the task that writes them.
    pub fn new(
        limits: AccessLogLimits,
        trusted: Arc<TrustedProxies>,
        pool: MySqlPool,
        health: Health,
    ) -> (Self, Writer) {
        let (sender, receiver) = mpsc::channel(limits.buffer);
        let limiter = |rate| RateLimiter::direct(Quota::per_second(rate));
        let strangers = NonZeroU32::new(limits.stranger_rate).map(limiter);
        let rates = Arc::new(Rates { users: limiter(limits.rate), strangers });
        (Self { queue: sender, rates, trusted }, Writer { queue: receiver, pool, health })
    }

    fn enqueue(&self, row: Row) {
        let is_stranger = row.attribution.user_id.get().is_none();
        if is_stranger && self.rates.strangers.as_ref().is_none_or(|rate| rate.check().is_err()) {
            return dropped("stranger", 1);
        }
        if !is_stranger && self.rates.users.check().is_err() {
            return dropped("rate", 1);
        }
        let waiting = self.queue.max_capacity() - self.queue.capacity();
        let has_room = !is_stranger || waiting < self.queue.max_capacity().div_ceil(4);
        if !has_room || self.queue.try_send(row).is_err() {
            dropped("buffer", 1);
        }
    }
}

fn dropped(reason: &'static str, rows: usize) {
    metrics::counter!(names::ACCESS_LOG_DROPPED, "reason" => reason).increment(rows as u64);
}

/// The layer around every route of the tenants' API: takes a row for each request.
pub async fn record(State(log): State<AccessLog>, mut request: Request, next: Next) -> Response {
    let (began, at) = (Instant::now(), Utc::now().naive_utc());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    let agent = request.headers().get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut row = Row {
        attribution: Attribution::default(),
        request_id: request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
        method: cut(request.method().as_str(), 10),
        path: cut(request.uri().path(), LONGEST),
        status: 0,
        millis: 0,
        address: log.trusted.client(request.headers(), peer),
        agent: agent.map(|agent| cut(&agent, LONGEST)),
        at,
    };
    request.extensions_mut().insert(row.attribution.clone());
    let response = next.run(request).await;
    row.status = response.status().as_u16();
    row.millis = i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX);
    log.enqueue(row);
    response
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// Why a batch was not written.
enum Unwritten {
    /// The database could not be reached; the writer tries again later.
    Unreachable,
    /// The database refused the rows, because a right is missing for example. The writer drops them.
    Refused,
}

impl Writer {
    /// Writes rows until the process is asked to stop, and then the remaining rows for at most [`LAST_ROWS`].
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let stopping = tokio::select! {
                () = shutdown.requested() => true,
                rows = self.queue.recv_many(&mut batch, 1) => rows == 0,
            };
            if stopping {
                break;
            }
            tokio::select! { () = tokio::time::sleep(PAUSE) => {}, () = shutdown.requested() => {} }
            while batch.len() < BATCH
                && let Ok(row) = self.queue.try_recv()
            {
                batch.push(row);
            }
            while let Err(Unwritten::Unreachable) = self.write(&mut batch).await {
                if shutdown.is_requested() {
                    break;
                }
                tokio::select! { () = tokio::time::sleep(PAUSE) => {}, () = shutdown.requested() => {} }
            }
            if shutdown.is_requested() {
                break;
            }
        }
        let last = tokio::time::timeout(LAST_ROWS, async {
            // Requests that are being drained still add rows.
            while let Ok(Some(row)) = tokio::time::timeout(PAUSE, self.queue.recv()).await {
                batch.push(row);
                if batch.len() == BATCH && self.write(&mut batch).await.is_err() {
                    return;
                }
            }
            let _ = self.write(&mut batch).await;
        });
        let _ = last.await;
        dropped("stopped", batch.len() + self.queue.len());
    }

    /// Writes the batch and empties it, unless the writer may try again later.
    async fn write(&self, batch: &mut Vec<Row>) -> Result<(), Unwritten> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut insert = QueryBuilder::new(
            "INSERT INTO saas_access_logs (tenant_id, user_id, request_id, method, path, status_code, response_time,
                                           ip_address, user_agent, created_at) ",
        );
        insert.push_values(batch.iter(), |mut values, row| {
            values
                .push_bind(row.attribution.tenant_id.get().map(|tenant_id| tenant_id.as_str().to_owned()))
                .push_bind(row.attribution.user_id.get().map(|user_id| user_id.as_str().to_owned()))
                .push_bind(&row.request_id)
                .push_bind(&row.method)
                .push_bind(&row.path)
                .push_bind(row.status)
                .push_bind(row.millis)
                .push_bind(row.address.map(|address| address.to_string()))
                .push_bind(&row.agent)
                .push_bind(row.at);
        });
        // Batches differ in size, so each would become a prepared statement of its own.
        let written = tokio::time::timeout(TIMEOUT, insert.build().persistent(false).execute(&self.pool)).await;
        let (part, outcome) = match written {
            Ok(Ok(_)) => {
                metrics::counter!(names::ACCESS_LOG_ROWS).increment(batch.len() as u64);
                batch.clear();
                (Part::Healthy, Ok(()))
            }
            Ok(Err(error)) if !database::is_unreachable(&error) && !database::is_contention(&error) => {
                let rows = batch.len();
                tracing::error!(cause = %chain(&error), rows, "the system database refuses access log rows");
                dropped("refused", batch.len());
                batch.clear();
                (Part::Degraded("the system database refuses rows".into()), Err(Unwritten::Refused))
            }
            Ok(Err(_)) | Err(_) => (
                Part::Degraded("the system database cannot be reached; rows are queued".into()),
                Err(Unwritten::Unreachable),
            ),
        };
        self.health.report("access_log", part);
        outcome
    }
}
