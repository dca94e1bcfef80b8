//! Asks whether a server is ready, as a client would: with the credentials, over the network, in the protocol of the
//! server.
//!
//! An open port shows only that a process listens. A server may accept connections long before it serves them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sqlx::{ConnectOptions, Connection, mysql::MySqlConnectOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::files::tail;
use crate::process::Process;
use crate::wait;

/// Limit for one probe: a frozen server accepts connections and never answers.
const LIMIT: Duration = Duration::from_secs(2);

/// The question by which the harness sees whether a server serves.
#[derive(Clone, Debug)]
pub enum Probe {
    /// A statement, for a MariaDB or MySQL server.
    Database {
        url: String,
    },
    /// The greeting, for an AMQP broker.
    Broker {
        url: String,
        authority: Option<PathBuf>,
    },
    Redis {
        url: String,
        authority: Option<PathBuf>,
    },
    /// `/readyz`, for a service.
    Service {
        url: String,
    },
}

impl Probe {
    pub async fn ask(&self) -> Result<()> {
        match self {
            Self::Database { url } => mysql(url).await,
            Self::Broker { url, authority } => amqp(url, authority.as_deref()).await,
            Self::Redis { url, authority } => redis(url, authority.as_deref()).await,
            Self::Service { url } => ready(url).await,
        }
    }

    /// Waits until the server answers. A process that has ended ends the wait at once with the end of its log.
    pub async fn wait(&self, process: &mut Process, limit: Duration) -> Result<()> {
        let mut died = None;
        let answered = wait::until_ok(limit, &format!("{} to answer", process.name()), async || {
            if let Err(error) = process.check() {
                died = Some(error);
                return Ok(());
            }
            self.ask().await
        })
        .await;
        match died {
            Some(error) => Err(error),
            None => answered.with_context(|| tail(&process.log(), 25)),
        }
    }
}

/// Runs a statement on a MariaDB or MySQL server.
pub async fn mysql(url: &str) -> Result<()> {
    let options: MySqlConnectOptions = url.parse()?;
    let ask = async {
        let mut connection = options.disable_statement_logging().connect().await?;
        sqlx::query("SELECT 1").execute(&mut connection).await?;
        connection.close().await
    };
    Ok(timeout(LIMIT, ask).await.context("no answer in time")??)
}

/// Greets an AMQP broker and waits for its `connection.start`.
pub async fn amqp(url: &str, authority: Option<&Path>) -> Result<()> {
    let ask = async {
        let mut stream = open(url, 5672, authority).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        // The answer is a method frame on channel 0. A broker with another version answers with its own header.
        let mut start = [0; 3];
        stream.read_exact(&mut start).await?;
        ensure!(start == [1, 0, 0], "the broker does not speak AMQP 0-9-1");
        Ok(())
    };
    timeout(LIMIT, ask).await.context("no answer in time")?
}

/// Authenticates against Redis and pings it.
pub async fn redis(url: &str, authority: Option<&Path>) -> Result<()> {
    let ask = async {
        let mut stream = open(url, 6379, authority).await?;
        let parsed = Url::parse(url)?;
        let user = parsed.username();
        let mut expected = 1;
        let mut request = String::new();
        if let Some(password) = parsed.password() {
            expected += 1;
            let parts = if user.is_empty() { vec!["AUTH", password] } else { vec!["AUTH", user, password] };
            request.push_str(&format!("*{}\r\n", parts.len()));
            for part in parts {
                request.push_str(&format!("${}\r\n{part}\r\n", part.len()));
            }
        }
        request.push_str("*1\r\n$4\r\nPING\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        while answer.matches("\r\n").count() < expected {
            let mut chunk = [0; 256];
            let length = stream.read(&mut chunk).await?;
            ensure!(length > 0, "the connection was closed");
            answer.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
        if !answer.ends_with("+PONG\r\n") {
            bail!("the answer was {answer:?}");
        }
        Ok(())
    };
    timeout(LIMIT, ask).await.context("no answer in time")?
}

/// Asks a service whether it is ready.
pub async fn ready(base: &str) -> Result<()> {
    let client = crate::http().timeout(LIMIT).build()?;
    let response = client.get(format!("{base}/readyz")).send().await?;
    let status = response.status();
    ensure!(status.is_success(), "/readyz answers {status}: {}", response.text().await.unwrap_or_default());
    Ok(())
}

/// A connection in plaintext or by TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn open(url: &str, default_port: u16, authority: Option<&Path>) -> Result<Box<dyn Stream>> {
    let parsed = Url::parse(url).context("not a URL")?;
    let host = parsed.host_str().context("a URL without a host")?;
    let stream = TcpStream::connect((host, parsed.port().unwrap_or(default_port))).await?;
    let Some(authority) = authority else { return Ok(Box::new(stream)) };
    let mut trusted = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        trusted.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}
