//! Kills services at a point of their work, and checks what must hold then.
//!
//! The points are the failpoints of the services, which read them from `FAILPOINTS`. Other failpoints that the service
//! meets on the way may stand before the point, as in `move.copy=error,move.copy.undo`.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::stack::{Role, Service, Stack};

/// Time in which a service must reach its point. It starts first, and may have to wait for the end of a lease.
const REACHED: Duration = Duration::from_secs(60);

/// The points before and after each of these steps of a kind of job.
pub fn around<S: AsRef<str>>(kind: &str, steps: &[S]) -> Vec<String> {
    let point = |step: &S| ["before", "after"].map(|when| format!("{kind}.{}.{when}", step.as_ref()));
    steps.iter().flat_map(point).collect()
}

/// The same points, and those at which the job's outcome is recorded.
pub fn around_all<S: AsRef<str>>(kind: &str, steps: &[S]) -> Vec<String> {
    let mut points = around(kind, steps);
    points.push(format!("{kind}.recorded"));
    points.extend(["append.before_commit", "append.after_commit"].map(String::from));
    points
}

/// Kills the first service of a kind at this point, which `begin` makes it reach. The service is not started again.
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

/// Kills the first service of a kind at one point after the other. `begin` makes it reach the point of this number,
/// and `check` checks what must hold while the service is dead. In the end the service runs without a point.
///
/// A killed worker leaves its job to the next process, so an older job may be the one that meets a point. What counts
/// is that the point is met.
pub async fn at_each<T>(
    stack: &mut Stack,
    role: Role,
    points: &[String],
    mut begin: impl AsyncFnMut(&mut Stack, usize) -> Result<T>,
    mut check: impl AsyncFnMut(&mut Stack, usize) -> Result<()>,
) -> Result<Vec<T>> {
    let mut begun = Vec::new();
    for (number, point) in points.iter().enumerate() {
        arm(stack, role, point).await?;
        begun.push(begin(stack, number).await.with_context(|| format!("on the way to {point}"))?);
        happened(stack.first(role)?, point).await?;
        check(stack, number).await.with_context(|| format!("after a kill at {point}"))?;
    }
    stack.first(role)?.restart(&[("FAILPOINTS", None)]).await?;
    Ok(begun)
}

/// A `check` that checks nothing, for tests that check everything at the end.
pub async fn later(_: &mut Stack, _: usize) -> Result<()> {
    Ok(())
}

/// Waits until its point has killed a service. A service that ends in another way has not reached the point.
pub async fn happened(service: &mut Service, point: &str) -> Result<()> {
    let ended = service.process().ended(REACHED).await.with_context(|| format!("on the way to a kill at {point}"))?;
    ensure!(
        ended.signal() == Some(Signal::SIGKILL as i32),
        "{} ended by itself ({ended}) before {point}",
        service.name()
    );
    Ok(())
}

/// Starts the service again with its point. It does not wait until the service is ready, because a job of an earlier
/// kill may meet the point at once.
async fn arm(stack: &mut Stack, role: Role, point: &str) -> Result<()> {
    let service = stack.first(role)?;
    service.stop().await?;
    service.start_again(&[("FAILPOINTS", Some(&format!("{point}=kill")))])
}
