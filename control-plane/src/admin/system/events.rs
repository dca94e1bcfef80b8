//! History: pages of events, or a live stream for clients that ask with `Accept: text/event-stream`.
//!
//! A stream reads the store and nothing else, so it shows what is committed; the bell of an append only makes it read
//! at once. The id of each message is the event's place in the stream, and a client that reconnects sends it as
//! `Last-Event-ID`: it misses no event and gets none twice. A stream ends within [`CHECK`] of the end of its token.

use crate::admin::auth::Identity;
use crate::admin::{AdminState, Caller, parse, read};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use kernel::domain::{Position, TenantId};
use kernel::http::{ApiError, ApiPath, ApiQuery, Code, accepts, parse_limit};
use kernel::store::EventRow;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};

/// Events read at once by a stream.
const BATCH: u32 = 100;
/// How often a stream checks that its token is still valid.
const CHECK: Duration = Duration::from_secs(1);

/// Query of both lists of events.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Only events after this position or version.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// Most events of a page; 100 by default.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// A page of events.
#[derive(Serialize, ToSchema)]
pub struct Events {
    events: Vec<EventRow>,
}

/// Which stream is read: all events by position, or one tenant's events by version.
enum Log {
    All,
    Of(TenantId),
}

impl Log {
    async fn read(&self, app: &App, after: u64, limit: u32) -> Result<Vec<EventRow>, sqlx::Error> {
        match self {
            Self::All => app.store.events_after(Position(after), limit).await,
            Self::Of(id) => app.store.tenant_events(id, u32::try_from(after).unwrap_or(u32::MAX), limit).await,
        }
    }

    fn place(&self, event: &EventRow) -> u64 {
        match self {
            Self::All => event.position,
            Self::Of(_) => event.version.into(),
        }
    }
}

/// Events of all tenants, after a position.
#[utoipa::path(
    get, path = "/admin/events", tag = "events",
    params(Page, ("Last-Event-ID" = Option<u64>, Header, description = "A stream resumes after this one")),
    responses(
        (
            status = 200,
            description = "A page; or with `Accept: text/event-stream` what is appended from here on, one message \
                for each event",
            content((Events = "application/json"), (String = "text/event-stream")),
        ),
        (status = 422, description = "invalid_after, invalid_limit"),
        (status = 429, description = "too_many_requests"),
    ),
)]
pub async fn all(
    State(state): State<AdminState>,
    ApiQuery(page): ApiQuery<Page>,
    headers: HeaderMap,
    caller: Caller,
) -> Result<Response, ApiError> {
    respond(state, Log::All, &page, &headers, caller).await
}

/// Events of one tenant, after a version.
#[utoipa::path(
    get, path = "/admin/tenants/{tenant_id}/events", tag = "events",
    params(
        ("tenant_id" = TenantId, Path),
        Page,
        ("Last-Event-ID" = Option<u64>, Header, description = "A stream resumes after this one"),
    ),
    responses(
        (
            status = 200,
            description = "A page; or with `Accept: text/event-stream` what is appended from here on, one message \
                for each event",
            content((Events = "application/json"), (String = "text/event-stream")),
        ),
        (status = 404, description = "tenant_not_found"),
        (status = 422, description = "invalid_tenant_id, invalid_after, invalid_limit"),
        (status = 429, description = "too_many_requests"),
    ),
)]
pub async fn of_tenant(
    State(state): State<AdminState>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(page): ApiQuery<Page>,
    headers: HeaderMap,
    caller: Caller,
) -> Result<Response, ApiError> {
    let id = parse::tenant_id(&id)?;
    read::tenant(&state.app, &id).await?;
    respond(state, Log::Of(id), &page, &headers, caller).await
}

async fn respond(
    state: AdminState,
    log: Log,
    page: &Page,
    headers: &HeaderMap,
    caller: Caller,
) -> Result<Response, ApiError> {
    let number = |text: &str, field: &str| {
        text.parse::<u64>().map_err(|_| ApiError::invalid("after", field, "a position or version, from 0"))
    };
    let after = page.after.as_deref().map_or(Ok(0), |text| number(text, "after"))?;
    let limit = parse_limit(page.limit.as_deref(), 100, 1000)?;
    if accepts(headers, "text/event-stream") {
        // An id that is not text is no number either.
        let last = headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default());
        let after = last.map_or(Ok(after), |text| number(text, "Last-Event-ID"))?;
        let open = state.streams.clone().try_acquire_owned().map_err(|_| Code::TooManyRequests)?;
        let (identity, checked) = (caller.identity, Instant::now());
        let read = VecDeque::new();
        return Ok(live(Live { app: state.app, log, after, read, identity, checked, _open: open }));
    }
    let events = log.read(&state.app, after, limit).await?;
    Ok(Json(Events { events }).into_response())
}

struct Live {
    app: App,
    log: Log,
    after: u64,
    read: VecDeque<EventRow>,
    identity: Identity,
    /// When the token was last found valid.
    checked: Instant,
    _open: OwnedSemaphorePermit,
}

impl Live {
    /// Whether the token was valid within the last [`CHECK`]; asks the system database otherwise.
    async fn may_continue(&mut self) -> bool {
        if self.checked.elapsed() < CHECK {
            return true;
        }
        self.checked = Instant::now();
        self.identity.is_valid(self.app.store.pool()).await.unwrap_or(false)
    }
}

fn live(start: Live) -> Response {
    let stream = stream::unfold(start, |mut live| async move {
        loop {
            // The client connects again, and is answered 401 if its token has ended.
            if !live.may_continue().await {
                return None;
            }
            if let Some(event) = live.read.pop_front() {
                live.after = live.log.place(&event);
                let message = Event::default().id(live.after.to_string()).event(&event.kind).json_data(&event).ok()?;
                return Some((Ok::<_, Infallible>(message), live));
            }
            let bell = live.app.store.appended();
            let bell = bell.notified();
            match live.log.read(&live.app, live.after, BATCH).await {
                Ok(read) if !read.is_empty() => {
                    live.read = read.into();
                    continue;
                }
                Ok(_) => {}
                // The client reconnects and resumes. A stream that merely waited would appear to work.
                Err(_) => return None,
            }
            tokio::select! {
                () = bell => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = live.app.shutdown.requested() => return None,
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}
