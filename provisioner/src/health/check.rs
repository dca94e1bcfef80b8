//! One check of one tenant's database, as a node would use it.

use super::Checker;
use chrono::NaiveDateTime;
use kernel::crypto::Purpose;
use kernel::database;
use secrecy::ExposeSecret;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, MySqlConnection};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longest time for the login.
const DEADLINE: Duration = Duration::from_secs(2);
/// Longest time for the end of the session.
const CLOSING: Duration = Duration::from_millis(500);

/// A tenant to check.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Patient {
    pub tenant_id: String,
    pub db_username: String,
    pub db_password_encrypted: String,
    /// When a node was served from the database, if that says enough.
    pub served_at: Option<NaiveDateTime>,
}

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub tenant_id: String,
    /// Why it is not healthy.
    pub reason: Option<String>,
    pub response: Option<Duration>,
    /// When a node was served from it. `None`: it was checked just now.
    pub served_at: Option<NaiveDateTime>,
    /// The server did not answer: whether it is the server's fault is to be asked.
    pub unreachable: bool,
}

impl Finding {
    pub(super) fn unhealthy(tenant_id: &str, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::healthy(tenant_id, None, None) }
    }

    pub(super) fn healthy(tenant_id: &str, response: Option<Duration>, served_at: Option<NaiveDateTime>) -> Self {
        Self { tenant_id: tenant_id.to_owned(), reason: None, response, served_at, unreachable: false }
    }
}

impl Checker {
    pub(super) async fn check(&self, patient: &Patient) -> Finding {
        let finding = self.check_once(patient).await;
        // A credential that was replaced since it was read is refused, and nothing is wrong.
        if finding.reason.is_some() && !finding.unreachable {
            let now = self.patients(Some(&patient.tenant_id)).await.unwrap_or_default();
            if let Some(now) = now.into_iter().find(|now| now.db_username != patient.db_username) {
                return self.check_once(&now).await;
            }
        }
        finding
    }

    async fn check_once(&self, patient: &Patient) -> Finding {
        let Patient { tenant_id, db_username: username, db_password_encrypted: sealed, .. } = patient;
        let purpose = Purpose::TenantPassword { tenant_id, username };
        let Ok(password) = self.keys.open_text(purpose, sealed) else {
            return Finding::unhealthy(tenant_id, "the stored password does not open with the key ring");
        };
        let database = format!("ai_shifu_tenant_{tenant_id}");
        let options = self.server.login(username, password.expose_secret(), &database);
        let began = Instant::now();
        let connection = match timeout(DEADLINE, log_in(&options)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return failed(tenant_id, &error),
            Err(_) => {
                let late = Finding::unhealthy(tenant_id, format!("no answer within {} s", DEADLINE.as_secs()));
                return Finding { unreachable: true, ..late };
            }
        };
        let response = Some(began.elapsed());
        let _ = timeout(CLOSING, connection.close()).await;
        Finding::healthy(tenant_id, response, None)
    }
}

/// By the login the server has checked the account, its lock, the password and the rights on the database. With an
/// expired password some servers let the user in all the same and refuse each statement, so the smallest one follows.
async fn log_in(options: &MySqlConnectOptions) -> Result<MySqlConnection, sqlx::Error> {
    let mut connection = options.connect().await?;
    connection.execute("DO 0").await?;
    Ok(connection)
}

/// In our own words: the server's hold names of hosts and users.
fn failed(tenant_id: &str, error: &sqlx::Error) -> Finding {
    let reason = match database::number(error) {
        // All connections of the tenant are in use, so it is being served.
        Some(1203 | 1226) => {
            return Finding::healthy(tenant_id, None, None);
        }
        Some(1045 | 1698) => "the login of the tenant's user was refused".into(),
        Some(3118 | 4151) => "the account of the tenant's user is locked".into(),
        Some(1820 | 1862) => "the password of the tenant's user has expired; an audit with repair mends that".into(),
        Some(1044 | 1049) => "the database is not there".into(),
        _ if database::is_unreachable(error) => "the database server cannot be reached".into(),
        Some(number) => format!("the database server refused (error {number})"),
        None => "the database server gave an answer that was not understood".into(),
    };
    Finding { unreachable: database::is_unreachable(error), ..Finding::unhealthy(tenant_id, reason) }
}
