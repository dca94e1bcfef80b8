//! HTTP as bytes on a connection: for requests that a client library would correct or refuse, and for a great many of
//! them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The body as JSON. `Null` when it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// One connection, which stays open as long as both sides permit.
pub struct Wire {
    address: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Wire {
    /// The connection is opened at the first request.
    pub fn new(url: &str) -> Self {
        Self { address: url.trim_start_matches("http://").to_owned(), stream: None, buffer: Vec::new() }
    }

    /// Sends these bytes and reads the answer. An open connection that turns out to be closed is replaced once.
    pub async fn send(&mut self, request: &[u8]) -> Result<Answer> {
        if let Some(stream) = self.stream.take()
            && let Ok(answer) = self.exchange(stream, request).await
        {
            return Ok(answer);
        }
        let stream = TcpStream::connect(&self.address).await.context("connect to a service")?;
        stream.set_nodelay(true)?;
        self.exchange(stream, request).await
    }

    async fn exchange(&mut self, mut stream: TcpStream, request: &[u8]) -> Result<Answer> {
        stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            ensure!(stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed without an answer");
        };
        let text = std::str::from_utf8(&self.buffer[..head])?.to_ascii_lowercase();
        let status = text.split(' ').nth(1).context("a status")?.parse()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length: usize = field("content-length:").map_or(Ok(0), str::parse)?;
        ensure!(field("transfer-encoding:").is_none(), "an answer of unknown length");
        let end = head + 4 + length;
        while self.buffer.len() < end {
            ensure!(stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed in an answer");
        }
        let body = String::from_utf8(self.buffer[head + 4..end].to_vec())?;
        if field("connection:") != Some("close") && text.starts_with("http/1.1") {
            self.stream = Some(stream);
        }
        Ok(Answer { status, body })
    }
}

/// A well-formed `GET`.
pub fn get(path: &str, host: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes()
}
