//! The step `verify_login`: the tenant's stored credential logs in and reads, and the account has rights on its own
//! database and nothing else. Only what was seen to work becomes active.

use super::credential;
use crate::sagas::saga::Step;
use crate::sagas::{Context, StepError};
use crate::server::Server;
use kernel::database::{self, sql};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, Executor};

pub const STEP: Step = Step::new("verify_login", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let [username, _] = context.usernames();
    let password = credential::password(context, &username).await?;
    let password = password.ok_or(StepError::Transient(format!("no password of {username} is stored")))?;
    verify(&context.tools.server, context.database(), &username, &password).await
}

/// Logs in at a server and verifies what the account can read and what rights it has.
pub async fn verify(server: &Server, name: &str, username: &str, password: &SecretString) -> Result<(), StepError> {
    let options = server.login(username, password.expose_secret(), name);
    let mut connection = database::connect(&options).await?;
    // As plain text: preparing a statement that runs once costs another round trip.
    let seeded = connection.fetch_optional("SELECT 1 FROM tenant_config LIMIT 1").await?;
    if seeded.is_none() {
        return Err(StepError::Transient(format!("the table tenant_config of {name} has no rows")));
    }
    let grants = connection.fetch_all("SHOW GRANTS").await?;
    let grants = grants.iter().map(|row| database::text(row, 0)).collect::<Result<Vec<_>, _>>()?;
    let own = format!(" ON {}.* TO ", sql::grant_pattern(name)?);
    let beyond = |grant: &String| !grant.starts_with("GRANT USAGE ON *.* TO ") && !grant.contains(&own);
    if grants.iter().any(beyond) {
        return Err(StepError::Permanent(format!("the database user {username} has rights beyond {name}")));
    }
    let _ = connection.close().await;
    Ok(())
}
