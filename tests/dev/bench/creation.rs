//! Measures creating tenants one at a time, from the accepted command to the active tenant, against bare SQL.
//!
//! A creation includes the job and its lease, five steps, the events, and a check of the result as the tenant's own
//! user. The client reads the live stream of events. A client that polled the operation every 2 ms instead slowed both
//! sides by half, because the same two cores and the same database server answer it.
//!
//! The two sides take turns in small groups, and the side that begins changes every round, so that pending disk writes
//! of one side slow both equally often.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::DateTime;
use harness::clients::{Admin, Created, Live};
use serde_json::json;
use sqlx::{Connection, MySqlConnection};

use super::bare::{self, Bare};
use super::foreign::Watch;
use super::report::{Comparison, Figure, Goal, Spread, Turn};

/// Number of tenants of each side in a round.
const GROUP: usize = 5;
/// A limit that is far longer than a creation takes.
const LIMIT: Duration = Duration::from_secs(60);

/// The times of one creation, in milliseconds.
struct Ours {
    /// Until the answer to the command.
    accepted: f64,
    /// From that answer to the arrival of `tenant.activated`.
    active: f64,
    /// The time between the two events, by the database's clock.
    events: f64,
}

/// The measurements of one round.
#[derive(Default)]
struct Round {
    ours: Vec<Ours>,
    /// Milliseconds for each tenant.
    bare: Vec<f64>,
}

impl Round {
    /// The median milliseconds of a creation and of the bare SQL.
    fn medians(&self) -> (f64, f64) {
        let ours = Spread::of(self.ours.iter().map(|ours| ours.active));
        (ours.median, Spread::of(self.bare.iter().copied()).median)
    }
}

pub async fn measure(admin: &Admin, bare: &mut Bare, watch: &Watch, rounds: usize) -> Result<Comparison> {
    let mut connection = bare.connect().await?;
    eprintln!("creation: warming up");
    round(admin, bare, &mut connection, 0).await?;
    let (mut measured, mut turns) = (Vec::new(), Vec::new());
    for number in 1..=rounds {
        let begun = watch.now()?;
        let round = round(admin, bare, &mut connection, number).await?;
        let others = watch.others_since(&begun)?;
        let (ours, bare) = round.medians();
        turns.push(Turn { ratio: ours / bare, others });
        eprintln!("creation {number}/{rounds}: {ours:.0} ms, bare SQL {bare:.0} ms");
        measured.push(round);
    }
    connection.close().await?;
    bare.drop_made().await?;
    let each = |of: fn(&Ours) -> f64| measured.iter().flat_map(|round: &Round| &round.ours).map(of).collect::<Vec<_>>();
    let figures = vec![
        Figure::of("accepted to active, as a client sees it", "ms a tenant", each(|ours| ours.active)),
        Figure::of("created to activated, by the events' times", "ms a tenant", each(|ours| ours.events)),
        Figure::of("the answer 202", "ms a tenant", each(|ours| ours.accepted)),
        Figure::of("bare SQL", "ms a tenant", measured.iter().flat_map(|round| round.bare.iter().copied())),
    ];
    Ok(Comparison::new("creation", "accepted to active / bare SQL", Goal::AtMost(1.5), turns, figures))
}

/// Measures a group of each side. The side that begins changes with the number of the round.
async fn round(admin: &Admin, bare: &mut Bare, connection: &mut MySqlConnection, number: usize) -> Result<Round> {
    let mut round = Round::default();
    for turn in 0..2 {
        for tenant in 0..GROUP {
            if (turn + number).is_multiple_of(2) {
                round.ours.push(create(admin, &format!("one-{number}-{tenant}")).await?);
            } else {
                let batch = bare.next();
                round.bare.push(millis(bare::run(connection, &batch).await?));
            }
        }
    }
    Ok(round)
}

async fn create(admin: &Admin, tenant_id: &str) -> Result<Ours> {
    let mut live = admin.live(newest(admin).await?).await?;
    let asked = Instant::now();
    post(admin, tenant_id).await?;
    let accepted = Instant::now();
    wait_for_active(&mut live, 1).await?;
    let active = accepted.elapsed();
    Ok(Ours { accepted: millis(accepted - asked), active: millis(active), events: events(admin, tenant_id).await? })
}

/// Sends the command to create a tenant.
pub async fn post(admin: &Admin, tenant_id: &str) -> Result<()> {
    let body = json!({"tenant_id": tenant_id, "tenant_name": "Bench"});
    admin.post("/admin/tenants", body).await?.expect::<Created>(202).map(drop)
}

/// The newest position of the event log.
pub async fn newest(admin: &Admin) -> Result<u64> {
    let mut after = 0;
    loop {
        match admin.events_after(after).await?.last() {
            Some(event) => after = event.position,
            None => return Ok(after),
        }
    }
}

/// Reads the stream until this many tenants have become active. A failed tenant ends the measurement.
pub async fn wait_for_active(live: &mut Live, tenants: usize) -> Result<()> {
    let mut active = 0;
    let waiting = async {
        while active < tenants {
            let event = live.next().await?;
            ensure!(event.kind != "tenant.provisioning_failed", "{:?} failed: {}", event.tenant_id, event.data);
            active += usize::from(event.kind == "tenant.activated");
        }
        Ok(())
    };
    tokio::time::timeout(LIMIT, waiting).await.context("the tenants did not become active in time")?
}

/// Milliseconds between the tenant's first event and its activation.
async fn events(admin: &Admin, tenant_id: &str) -> Result<f64> {
    let events = admin.events(tenant_id).await?;
    let time = |kind: &str| {
        let event = events.iter().find(|event| event.kind == kind);
        let event = event.with_context(|| format!("{tenant_id} has no event {kind}"))?;
        Ok::<_, anyhow::Error>(DateTime::parse_from_rfc3339(&event.occurred_at)?)
    };
    let span = time("tenant.activated")? - time("tenant.created")?;
    Ok(span.num_microseconds().context("a span of centuries")? as f64 / 1000.0)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
