//! The step `load_backup`: the tenant's user is on this server, locked, and the backup is loaded, compared and brought
//! to the present schema. Each attempt begins again from nothing.

use super::is_here;
use crate::backup::load::{self, LoadObjects};
use crate::sagas::saga::{Step, WITH_ALL_ROWS};
use crate::sagas::shared::backup_job::{backups, fitting, request};
use crate::sagas::shared::tenant_copy::TenantCopy;
use crate::sagas::shared::{credential, schema};
use crate::sagas::{Context, StepError};
use crate::server::Marker;

pub const STEP: Step = Step::new("load_backup", |context| Box::pin(act(context)))
    .undone_by(|context| Box::pin(undo(context)))
    .within(WITH_ALL_ROWS);

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    if is_here(context).await? {
        return Ok(());
    }
    let request = request(context).await?;
    let backup = fitting(context, &request).await?;
    let (name, owner) = (context.database(), context.marker());
    let copy = TenantCopy::new(context.job(), &context.tools.server);
    copy.create(context.session).await?;
    copy.create_user(context.session, &credential::in_use(context).await?).await?;
    let (store, keys) = (backups(context.tools).await?.clone(), context.tools.keys.clone());
    let connection = context.session.connection();
    load::load(&store, &keys, &request.subject, &backup, connection, name, LoadObjects::All).await?;
    schema::migrate(context, name, &Marker::at(&owner, backup.manifest.schema_version)).await.map(drop)
}

async fn undo(context: &mut Context<'_>) -> Result<(), StepError> {
    TenantCopy::new(context.job(), &context.tools.server).remove(context.session).await
}
