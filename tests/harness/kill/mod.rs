//! Services that are killed at a point of their work: who brings them there, and what is looked at afterwards.
//!
//! The points are the failpoints of the services, which read them from `FAILPOINTS`. A point is written as its name; what
//! else the service is to meet on the way may stand before it, as in `move.copy=error,move.copy.undo`.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::stack::{Role, Service, Stack};
use crate::wait;

/// How long a service may take to reach its point: it starts first, and may take over a lease that has to end.
const REACHED: Duration = Duration::from_secs(60);

/// The points before and after each of these steps of a kind of job.
pub fn around<S: AsRef<str>>(kind: &str, steps: &[S]) -> Vec<String> {
    let point = |step: &S| ["before", "after"].map(|when| format!("{kind}.{}.{when}", step.as_ref()));
    steps.iter().flat_map(point).collect()
}

/// The same, and the points at which the outcome of the job is recorded.
pub fn around_all<S: AsRef<str>>(kind: &str, steps: &[S]) -> Vec<String> {
    let mut points = around(kind, steps);
    points.push(format!("{kind}.recorded"));
    points.extend(["append.before_commit", "append.after_commit"].map(String::from));
    points
}

/// Has the first service of a kind killed at this point, which `begin` makes it reach. The service stays dead.
pub async fn at<T>(
    stack: &mut Stack,
    role: Role,
    point: &str,
    begin: impl AsyncFnOnce(&mut Stack) -> Result<T>,
) -> Result<T> {
    arm(stack, role, point).await?;
    let begun = begin(stack).await?;
    happened(stack.first(role)?, point).await?;
    Ok(begun)
}

/// Has the first service of a kind killed at one point after the other. `begin` makes it reach the point of this number,
/// and `look` checks what must hold while it is dead. At the end the service runs without a point.
///
/// A kill leaves its job to the next process, so the job that meets a point may be an older one; what counts is that the
/// point is met.
pub async fn at_each<T>(
    stack: &mut Stack,
    role: Role,
    points: &[String],
    mut begin: impl AsyncFnMut(&mut Stack, usize) -> Result<T>,
    mut look: impl AsyncFnMut(&mut Stack, usize) -> Result<()>,
) -> Result<Vec<T>> {
    let mut begun = Vec::new();
    for (number, point) in points.iter().enumerate() {
        arm(stack, role, point).await?;
        begun.push(begin(stack, number).await.with_context(|| format!("on the way to {point}"))?);
        happened(stack.first(role)?, point).await?;
        look(stack, number).await.with_context(|| format!("after a kill at {point}"))?;
    }
    stack.first(role)?.restart(&[("FAILPOINTS", None)]).await?;
    Ok(begun)
}

/// For [`at_each`]: what must hold is looked at when all is over.
pub async fn later(_: &mut Stack, _: usize) -> Result<()> {
    Ok(())
}

/// Waits until a service has met the point that kills it.
pub async fn happened(service: &mut Service, point: &str) -> Result<()> {
    wait::until(REACHED, &format!("a kill at {point}"), async || (!service.is_alive()).then_some(())).await
}

/// Starts the service again with its point. Nobody waits until it is ready: a job that an earlier kill has left may meet
/// the point at once.
async fn arm(stack: &mut Stack, role: Role, point: &str) -> Result<()> {
    let service = stack.first(role)?;
    service.stop().await?;
    service.start_again(&[("FAILPOINTS", Some(&format!("{point}=kill")))])
}
