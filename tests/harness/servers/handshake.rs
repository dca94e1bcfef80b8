//! A database server that has only a handshake, for versions that can no longer be installed. It accepts every
//! account, offers no TLS, answers the question for its version, and answers every other statement with OK.

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Dropping it ends the server.
pub struct Handshake {
    port: u16,
    task: JoinHandle<()>,
}

impl Handshake {
    /// Starts a server of this version on a free loopback port.
    pub async fn start(version: &'static str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(async move {
                    // The conversation ends with an error when the client closes it.
                    let _ = talk(client, version).await;
                });
            }
        });
        Ok(Self { port, task })
    }

    pub fn url(&self, database: &str) -> String {
        format!("mysql://anybody:secret@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// OK without rows and id, with autocommit, without warnings.
const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
/// The end of the columns, and of the rows.
const EOF: [u8; 5] = [0xFE, 0, 0, 2, 0];

async fn talk(mut client: TcpStream, version: &str) -> Result<()> {
    send(&mut client, 0, &greeting(version)).await?;
    let (number, _) = receive(&mut client).await?;
    send(&mut client, number + 1, &OK).await?;
    loop {
        let (_, command) = receive(&mut client).await?;
        let text = String::from_utf8_lossy(command.get(1..).unwrap_or_default()).into_owned();
        match command.first() {
            Some(1) | None => return Ok(()),
            Some(3) if text.contains("VERSION()") => {
                send(&mut client, 1, &[1]).await?;
                send(&mut client, 2, &column()).await?;
                send(&mut client, 3, &EOF).await?;
                let mut row = vec![u8::try_from(version.len())?];
                row.extend(version.as_bytes());
                send(&mut client, 4, &row).await?;
                send(&mut client, 5, &EOF).await?;
            }
            Some(_) => send(&mut client, 1, &OK).await?,
        }
    }
}

fn greeting(version: &str) -> Vec<u8> {
    // The capabilities: the protocol and passwords of 4.1, plugins, databases at login, transactions, several
    // statements and results.
    let capabilities: u32 =
        0x0000_0001 | 0x0000_0008 | 0x0000_0200 | 0x0000_2000 | 0x0000_8000 | 0x0003_0000 | 0x0008_0000;
    let [low0, low1, high0, high1] = capabilities.to_le_bytes();
    let mut greeting = vec![10];
    greeting.extend(version.as_bytes());
    greeting.push(0);
    greeting.extend([7, 0, 0, 0]);
    greeting.extend(b"abcdefgh\0");
    greeting.extend([low0, low1, 33, 2, 0, high0, high1, 21]);
    greeting.extend([0; 10]);
    greeting.extend(b"ijklmnopqrst\0mysql_native_password\0");
    greeting
}

/// The description of one column of text.
fn column() -> Vec<u8> {
    let mut column = Vec::new();
    for name in ["def", "", "", "", "VERSION()", ""] {
        column.push(name.len() as u8);
        column.extend(name.as_bytes());
    }
    column.extend([12, 33, 0, 255, 0, 0, 0, 0xFD, 0, 0, 0, 0, 0]);
    column
}

async fn send(client: &mut TcpStream, number: u8, payload: &[u8]) -> Result<()> {
    let [a, b, c, _] = u32::try_from(payload.len())?.to_le_bytes();
    client.write_all(&[&[a, b, c, number], payload].concat()).await?;
    Ok(())
}

async fn receive(client: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let mut payload = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    client.read_exact(&mut payload).await?;
    Ok((head[3], payload))
}
