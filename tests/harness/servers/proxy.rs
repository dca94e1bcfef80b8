//! A TCP proxy on loopback in front of a server, for networks that are slow, silent or cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Passes everything on, and delays what the server sends if a test asks for that. Dropping it ends all connections.
///
/// It runs on a thread of its own, so that a test with many requests under way does not delay what it passes on.
pub struct Proxy {
    port: u16,
    delay: Arc<AtomicU64>,
    /// Its end stops the thread.
    _running: oneshot::Sender<()>,
}

impl Proxy {
    /// Starts a proxy in front of a loopback port.
    pub async fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let delay = Arc::new(AtomicU64::new(0));
        let of_connections = Arc::clone(&delay);
        let listener = listener.into_std()?;
        let (running, stopped) = oneshot::channel();
        let passing = async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            // Connections end with the proxy.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let delay = Arc::clone(&of_connections);
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let none = AtomicU64::new(0);
                    tokio::select! {
                        _ = pass(from_client, to_server, &none) => {}
                        _ = pass(from_server, to_client, &delay) => {}
                    }
                });
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = passing => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { port, delay, _running: running })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Delays everything that the server sends from now on, also on open connections.
    pub fn delay(&self, by: Duration) {
        self.delay.store(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    delay: &AtomicU64,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        match delay.load(Ordering::Relaxed) {
            0 => {}
            millis => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
        to.write_all(&buffer[..length]).await?;
    }
}
