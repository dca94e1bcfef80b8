//! `control-plane token`: the tokens of the admin API. This command makes them and not the API, because the first token
//! must come from somewhere, and an operator who can run this command can read and write the system database anyway.

use super::connect;
use chrono::NaiveDateTime;
use clap::Subcommand;
use kernel::crypto::tokens;
use kernel::domain::{InvisibleText, VisibleText};
use kernel::process::config::Settings;
use secrecy::ExposeSecret;
use serde::Serialize;
use sqlx::MySqlConnection;

/// Scopes a token may have.
pub const SCOPES: [&str; 2] = ["admin", "read"];

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, once, on standard output.
    Create {
        /// What it is for; shown in lists.
        #[arg(long, value_parser = name)]
        name: String,
        /// What it may do: admin (everything) or read (GET only); several separated by commas.
        #[arg(long, value_delimiter = ',', default_value = "admin", value_parser = SCOPES)]
        scopes: Vec<String>,
        /// Days until it expires; without it, never.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
    },
    /// List the tokens, without their secrets.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a token, at once.
    Revoke {
        /// Its id, from the list.
        token_id: String,
    },
}

/// The name of a token, in the length of the column.
fn name(text: &str) -> Result<String, InvisibleText> {
    VisibleText::within(text, 1..=100).map(VisibleText::into_string)
}

/// Runs one of the commands.
pub async fn run(settings: &Settings, command: TokenCommand) -> anyhow::Result<()> {
    let mut connection = connect(settings).await?;
    match command {
        TokenCommand::Create { name, scopes, days } => create(&mut connection, &name, &scopes, days).await,
        TokenCommand::List { json } => list(&mut connection, json).await,
        TokenCommand::Revoke { token_id } => revoke(&mut connection, &token_id).await,
    }
}

async fn create(
    connection: &mut MySqlConnection,
    name: &str,
    scopes: &[String],
    days: Option<u32>,
) -> anyhow::Result<()> {
    let token_id = hex::encode(tokens::random::<6>());
    let secret = tokens::new_secret();
    sqlx::query(
        "INSERT INTO saas_admin_tokens (token_id, name, secret_hash, scopes, created_at, expires_at)
         VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6), IF(? IS NULL, NULL, UTC_TIMESTAMP(6) + INTERVAL ? DAY))",
    )
    .bind(&token_id)
    .bind(name)
    .bind(&tokens::digest(secret.expose_secret())[..])
    .bind(scopes.join(" "))
    .bind(days)
    .bind(days.unwrap_or_default())
    .execute(connection)
    .await?;
    eprintln!("made token {token_id} ({name}); it is shown once:");
    println!("adm_{token_id}_{}", secret.expose_secret());
    Ok(())
}

#[derive(Serialize, sqlx::FromRow)]
struct Row {
    token_id: String,
    name: String,
    scopes: String,
    created_at: NaiveDateTime,
    expires_at: Option<NaiveDateTime>,
    revoked_at: Option<NaiveDateTime>,
}

async fn list(connection: &mut MySqlConnection, json: bool) -> anyhow::Result<()> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT token_id, name, scopes, created_at, expires_at, revoked_at FROM saas_admin_tokens ORDER BY created_at",
    )
    .fetch_all(connection)
    .await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!("{:<12}  {:<24}  {:<12}  {:<19}  state", "id", "name", "scopes", "created (UTC)");
    let now = chrono::Utc::now().naive_utc();
    for row in rows {
        let state = match (row.revoked_at, row.expires_at) {
            (Some(_), _) => "revoked".to_owned(),
            (None, Some(at)) if at <= now => "expired".to_owned(),
            (None, Some(at)) => format!("until {}", at.format("%F %T")),
            (None, None) => "valid".to_owned(),
        };
        println!(
            "{:<12}  {:<24}  {:<12}  {}  {state}",
            row.token_id,
            row.name,
            row.scopes,
            row.created_at.format("%F %T")
        );
    }
    Ok(())
}

async fn revoke(connection: &mut MySqlConnection, token_id: &str) -> anyhow::Result<()> {
    let result = sqlx::query(
        "UPDATE saas_admin_tokens SET revoked_at = COALESCE(revoked_at, UTC_TIMESTAMP(6)) WHERE token_id = ?",
    )
    .bind(token_id)
    .execute(connection)
    .await?;
    anyhow::ensure!(result.rows_affected() == 1, "there is no token {token_id}; see `control-plane token list`");
    eprintln!("revoked token {token_id}");
    Ok(())
}
