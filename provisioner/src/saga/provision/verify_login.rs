//! Step 5: logs in as the tenant, with the kept password, and looks: the rows are there, and the account has rights on
//! its own database and nothing else. Only what was seen to work becomes active.

use super::create_user::kept_password;
use crate::saga::{Context, StepError};
use crate::server::Server;
use kernel::database::{self, sql};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, Executor};

pub async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let [username, _] = context.usernames();
    let password = kept_password(context, &username).await?;
    let password = password.ok_or(StepError::Transient("the tenant's password is not kept".into()))?;
    verify(context, &context.tools.server, &username, &password).await
}

/// Logs in at a server and looks.
pub async fn verify(
    context: &Context<'_>,
    server: &Server,
    username: &str,
    password: &SecretString,
) -> Result<(), StepError> {
    let options = server.login(username, password.expose_secret(), context.database());
    let mut connection = database::connect(&options).await?;
    // As plain text: to prepare what is asked once is a round trip more.
    let seeded = connection.fetch_optional("SELECT 1 FROM tenant_config LIMIT 1").await?;
    if seeded.is_none() {
        return Err(StepError::Transient("the tenant's configuration has no rows".into()));
    }
    let grants = connection.fetch_all("SHOW GRANTS").await?;
    let grants = grants.iter().map(|row| database::text(row, 0)).collect::<Result<Vec<_>, _>>()?;
    let own = format!(" ON {}.* TO ", sql::grant_pattern(context.database())?);
    let beyond = |grant: &String| !grant.starts_with("GRANT USAGE ON *.* TO ") && !grant.contains(&own);
    if grants.iter().any(beyond) {
        return Err(StepError::Permanent("the tenant's account has rights beyond its own database".into()));
    }
    let _ = connection.close().await;
    Ok(())
}
