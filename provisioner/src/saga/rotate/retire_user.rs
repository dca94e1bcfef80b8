//! Step 5: the former user is gone, and its sessions before it. Statements that still run on them are given a moment to end by
//! themselves; a node repeats what is killed.

use super::{begun, other};
use crate::saga::{Context, StepError};
use std::time::Duration;
use tokio::time::Instant;

/// So long sessions of the former user may end by themselves.
const LINGER: Duration = Duration::from_secs(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let next = begun(context).await?;
    if next.switched.is_none() {
        return Err(StepError::Transient("the new credential is not in use yet".into()));
    }
    let former = other(context, &next.username);
    let account = context.account(&former);
    if !account.lock(context.session).await? {
        return Ok(());
    }
    let until = Instant::now() + LINGER;
    while Instant::now() < until && !context.session.sessions_of(&former).await?.is_empty() {
        tokio::time::sleep(PAUSE).await;
    }
    context.session.end_sessions_of(&former).await?;
    account.drop(context.session).await?;
    match account.lock(context.session).await? {
        false => Ok(()),
        true => Err(StepError::Transient("the former user is still there".into())),
    }
}
