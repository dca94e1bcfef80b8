//! The registered database servers, and which of them a new tenant is placed on.

use sqlx::MySqlConnection;

/// The server of new tenants before any provisioner has registered one.
const FIRST: &str = "main";

/// Whether a server `s` takes new tenants or has some. One that was retired or lost does neither, and may have no
/// provisioner any more.
pub const IN_USE: &str = "(s.accepts_tenants = 1 OR EXISTS (SELECT 1 FROM saas_tenant_snapshots t
    WHERE t.server_id = s.server_id AND t.status IN (1, 2)))";

/// All registered servers, by id.
pub async fn ids(connection: &mut MySqlConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT server_id FROM saas_database_servers ORDER BY server_id").fetch_all(connection).await
}

/// The server with the fewest tenants, of those that accept new ones; `main` before any is registered.
pub async fn place(connection: &mut MySqlConnection) -> Result<String, sqlx::Error> {
    let servers: Vec<String> =
        sqlx::query_scalar("SELECT server_id FROM saas_database_servers WHERE accepts_tenants = 1 ORDER BY server_id")
            .fetch_all(&mut *connection)
            .await?;
    if let [only] = servers.as_slice() {
        return Ok(only.clone());
    }
    let emptiest: Option<String> = sqlx::query_scalar(
        "SELECT s.server_id FROM saas_database_servers s LEFT JOIN saas_tenant_snapshots t ON t.server_id = s.server_id
         WHERE s.accepts_tenants = 1 GROUP BY s.server_id ORDER BY COUNT(t.tenant_id), s.server_id LIMIT 1",
    )
    .fetch_optional(connection)
    .await?;
    Ok(emptiest.unwrap_or_else(|| FIRST.into()))
}
