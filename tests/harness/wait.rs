//! Waits for a condition. Tests and the `dev` command wait in no other way.
//!
//! A fixed sleep is too short on a busy machine or too long on a quiet one. A wait names what it waits for, ends as
//! soon as the condition holds, and has a limit.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two probes: short against what is waited for (a restart takes 40 ms at best), long against the cost of
/// a probe.
const INTERVAL: Duration = Duration::from_millis(25);

/// Waits until the probe gives a value, for at most `deadline`.
pub async fn until<T>(deadline: Duration, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    until_ok(deadline, what, async || probe().await.ok_or_else(|| anyhow::anyhow!("not yet"))).await
}

/// Waits until the probe succeeds. When it never does, the error contains the last error of the probe.
pub async fn until_ok<T>(deadline: Duration, what: &str, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    let mut before = None;
    loop {
        let error = match tokio::time::timeout(deadline.saturating_sub(begun.elapsed()), probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            // The last probe often has no time left. The error of the one before it is the reason then.
            Err(_) => before.take().unwrap_or_else(|| anyhow::anyhow!("the last probe did not return")),
        };
        if begun.elapsed() >= deadline {
            bail!("waited {:.1} s for {what}: {error:#}", begun.elapsed().as_secs_f64());
        }
        before = Some(error);
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Checks that a condition holds for the whole span: for what must *not* happen.
pub async fn holds_for(span: Duration, what: &str, mut probe: impl AsyncFnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < span {
        if !probe().await {
            bail!("{what} stopped holding after {:.1} s", begun.elapsed().as_secs_f64());
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}
