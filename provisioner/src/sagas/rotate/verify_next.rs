//! The step `verify_next`: the new credential logs in and reads, before any node uses it.

use super::Rotation;
use crate::sagas::saga::Step;
use crate::sagas::shared::verify_login::verify;
use crate::sagas::{Context, StepError};

pub const STEP: Step = Step::new("verify_next", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let rotation = Rotation::of_job(context).await?;
    if rotation.switched.is_some() {
        return Ok(());
    }
    let password = rotation.password(context)?;
    verify(&context.tools.server, context.database(), &rotation.username, &password).await
}
