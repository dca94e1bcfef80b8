//! Creating tenants one at a time: from the accepted command to the active tenant, against the bare SQL.
//!
//! Ours is everything that happens on the way (the job and its lease, five steps each recorded, the event, a look at the
//! result as the tenant's own user) as a client sees it, who asks every 2 ms whether the operation has succeeded. The
//! client's questions are answered by the same machine and the same database server, and count against us.
//!
//! The two sides take turns in small groups, and change places every round: what one leaves behind for the disk to write
//! meets both equally often.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::DateTime;
use harness::admin::{Admin, Created, Operation};
use serde_json::json;
use sqlx::{Connection, MySqlConnection};

use super::bare::{self, Bare};
use super::report::{Comparison, Figure, Goal, Spread};

/// Tenants of a side, per round.
const GROUP: usize = 5;
/// How often the client asks.
const ASK: Duration = Duration::from_millis(2);
/// Far longer than a creation takes.
const LIMIT: Duration = Duration::from_secs(60);

/// One tenant, in milliseconds.
struct Ours {
    /// The answer to the command itself.
    accepted: f64,
    /// From that answer to the operation's success.
    active: f64,
    /// The same span by the database's clock: between the two events.
    events: f64,
}

pub async fn measure(admin: &Admin, bare: &mut Bare, rounds: usize) -> Result<Comparison> {
    let mut connection = bare.connect().await?;
    let mut number = 0;
    eprintln!("creation: warming up");
    group(admin, bare, &mut connection, &mut number, true).await?;
    let mut measured: Vec<(Vec<Ours>, Vec<f64>)> = Vec::new();
    for round in 0..rounds {
        let (ours, bare) = group(admin, bare, &mut connection, &mut number, round % 2 == 0).await?;
        eprintln!(
            "creation {}/{rounds}: {:.0} ms, bare SQL {:.0} ms",
            round + 1,
            middle(&ours),
            Spread::of(bare.iter().copied()).median
        );
        measured.push((ours, bare));
    }
    connection.close().await?;
    bare.drop_made().await?;
    let ratios = measured.iter().map(|(ours, bare)| middle(ours) / Spread::of(bare.iter().copied()).median);
    let each = |of: fn(&Ours) -> f64| measured.iter().flat_map(|(ours, _)| ours).map(of).collect::<Vec<_>>();
    let figures = vec![
        Figure::of("accepted to active, as a client sees it", "ms a tenant", each(|ours| ours.active)),
        Figure::of("created to activated, by the events' times", "ms a tenant", each(|ours| ours.events)),
        Figure::of("the answer 202", "ms a tenant", each(|ours| ours.accepted)),
        Figure::of("bare SQL", "ms a tenant", measured.iter().flat_map(|(_, bare)| bare.iter().copied())),
    ];
    Ok(Comparison::new("creation", "accepted to active / bare SQL", Goal::AtMost(1.5), ratios, figures))
}

fn middle(ours: &[Ours]) -> f64 {
    Spread::of(ours.iter().map(|ours| ours.active)).median
}

async fn group(
    admin: &Admin,
    bare: &mut Bare,
    connection: &mut MySqlConnection,
    number: &mut usize,
    ours_first: bool,
) -> Result<(Vec<Ours>, Vec<f64>)> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for is_ours in [ours_first, !ours_first] {
        for _ in 0..GROUP {
            if is_ours {
                *number += 1;
                ours.push(create(admin, &format!("one-{number}")).await?);
            } else {
                let batch = bare.next();
                theirs.push(millis(bare::run(connection, &batch).await?));
            }
        }
    }
    Ok((ours, theirs))
}

async fn create(admin: &Admin, tenant_id: &str) -> Result<Ours> {
    let asked = Instant::now();
    let operation_id = post(admin, tenant_id).await?;
    let accepted = Instant::now();
    wait_for_success(admin, &operation_id).await?;
    let active = accepted.elapsed();
    Ok(Ours { accepted: millis(accepted - asked), active: millis(active), events: events(admin, tenant_id).await? })
}

/// Asks for a tenant, and gives the operation to wait for.
pub async fn post(admin: &Admin, tenant_id: &str) -> Result<String> {
    let body = json!({"tenant_id": tenant_id, "tenant_name": "Bench"});
    let created: Created = admin.post("/admin/tenants", body).await?.expect(202)?;
    Ok(created.operation_id)
}

/// Returns at most a question's interval after the operation has succeeded.
pub async fn wait_for_success(admin: &Admin, operation_id: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let Operation { status, error, tenant_id, .. } = admin.operation(operation_id).await?;
        match status.as_str() {
            "succeeded" => return Ok(()),
            status => ensure!(status != "failed" && begun.elapsed() < LIMIT, "{tenant_id} is {status}: {error:?}"),
        }
        tokio::time::sleep(ASK).await;
    }
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
