//! Step 2: the new credential logs in and reads, before anybody is told of it.

use super::{begun, open};
use crate::saga::provision::verify_login;
use crate::saga::{Context, StepError};

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let next = begun(context).await?;
    if next.switched.is_some() {
        return Ok(());
    }
    let password = open(context, &next)?;
    verify_login::verify(context, &context.tools.server, &next.username, &password).await
}
