//! The step `await_nodes`: every live node uses the new credential.

use super::Rotation;
use crate::sagas::saga::Step;
use crate::sagas::shared::nodes::await_position;
use crate::sagas::{Context, StepError};

pub const STEP: Step = Step::new("await_nodes", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let rotation = Rotation::of_job(context).await?;
    let switched = rotation.switched.ok_or(StepError::Transient("the new credential is not in use yet".into()))?;
    await_position(context, switched, "the new credential").await
}
