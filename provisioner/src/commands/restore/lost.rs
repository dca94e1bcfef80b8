//! Whether a database server is lost. A tenant of a server that lives must not be restored from a backup elsewhere,
//! because the backup lacks what is newer. So one slow connection, or a server that refuses one more, proves nothing.

use crate::backup::BackupError;
use crate::server::{Server, ServerError};
use kernel::database;
use kernel::process::config::{ConfigError, Settings};
use sqlx::MySqlConnection;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// A server is lost if it could not be reached so often, one after the other.
const ATTEMPTS: u32 = 3;
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// The servers of the settings, and what was seen of them.
pub struct LostServers {
    servers: Vec<Server>,
    /// Whether the server has answered during this command.
    answered: HashMap<String, bool>,
    /// Servers that have answered and then did not any more: each tenant would wait for them again.
    silent: HashSet<String>,
}

impl LostServers {
    /// Nothing was seen yet.
    pub fn new(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Self { servers: Server::from_settings(settings)?, answered: HashMap::new(), silent: HashSet::new() })
    }

    /// A connection to the server `id`; `None` if it is lost, or no setting names it. All tenants of a lost server
    /// together wait for it once, and then no longer than for one connection in half a minute.
    ///
    /// # Errors
    /// The server lives and does not let this command look: it is not lost.
    pub async fn connect(&mut self, id: &str) -> Result<Option<(&Server, MySqlConnection)>, BackupError> {
        let Some(server) = self.servers.iter().find(|server| server.id == id) else { return Ok(None) };
        if self.silent.contains(id) {
            return Err(fell_silent(id));
        }
        let attempts = if self.answered.get(id) == Some(&false) { 1 } else { ATTEMPTS };
        for attempt in 1..=attempts {
            let connected = if attempts == 1 { server.connect_unless_away().await } else { server.connect().await };
            match connected {
                Ok(connection) => {
                    self.answered.insert(id.to_owned(), true);
                    return Ok(Some((server, connection)));
                }
                // Its own words, for example that it has too many connections: it lives.
                Err(ServerError::Database(error)) if database::number(&error).is_none() => {
                    if !database::is_unreachable(&error) {
                        return Err(ServerError::Database(error).into());
                    }
                }
                Err(error) => {
                    self.answered.insert(id.to_owned(), true);
                    return Err(error.into());
                }
            }
            if attempt < attempts {
                tokio::time::sleep(PAUSE).await;
            }
        }
        if self.answered.get(id) == Some(&true) {
            self.silent.insert(id.to_owned());
            return Err(fell_silent(id));
        }
        self.answered.insert(id.to_owned(), false);
        Ok(None)
    }
}

fn fell_silent(id: &str) -> BackupError {
    BackupError::Refused(format!(
        "the database server {id} answered a moment ago and does not now: run the command again when it is known \
         whether it is lost; --abandon restores without it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    /// What a server with too many connections says instead of a greeting.
    const TOO_MANY: &[u8] = b"\x1d\x00\x00\x00\xff\x10\x04#08004Too many connections";

    fn servers(port: u16) -> LostServers {
        let url = |name: &str| (name.to_owned(), format!("mysql://root:x@127.0.0.1:{port}/"));
        let settings = Settings::from_pairs([url("TENANT_DB_ADMIN_URL"), url("TENANT_DB_ADMIN_URL_EU2")]);
        LostServers::new(&settings).expect("the settings are right")
    }

    #[tokio::test]
    async fn a_server_that_drops_one_connection_and_refuses_another_lives() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut servers = servers(listener.local_addr().expect("an address").port());
        std::thread::spawn(move || {
            drop(listener.accept());
            let (mut client, _) = listener.accept().expect("another attempt");
            client.write_all(TOO_MANY).expect("the client reads");
        });
        assert!(servers.connect("eu2").await.is_err(), "it was called lost");
        assert!(servers.connect("eu2").await.is_err(), "it has answered, so it is not lost when it does not any more");
    }

    #[tokio::test]
    async fn a_server_that_nothing_answers_for_is_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut servers = servers(listener.local_addr().expect("an address").port());
        drop(listener);
        for _ in 0..3 {
            assert!(matches!(servers.connect("eu2").await, Ok(None)));
        }
    }
}
