//! The history of events, as pages and as a live stream that resumes.

use crate::world::{self, SOON};
use anyhow::{Context, Result};
use harness::stack::Stack;
use harness::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn events_are_streamed_live_and_a_stream_resumes() -> Result<()> {
    let mut stack = Stack::start(world::without_nodes("history")?).await?;
    let admin = stack.admin();
    let head = admin.events_after(0).await?.len();
    let stream = stream(&stack, "/admin/events", &[("Last-Event-ID", &head.to_string())]).await?;
    let created = admin.create_tenant("acme", "Acme", Some("acme.example.com")).await?;
    admin.wait_for_operation(&created.operation_id, SOON).await?;
    let received = receive(stream, 4).await?;
    let kinds = ["tenant.created", "tenant.domain_registered", "tenant.database_provisioned", "tenant.activated"];
    for (number, kind) in kinds.iter().enumerate() {
        let id = format!("id: {}\n", head + 1 + number);
        let at = received.find(&id).with_context(|| format!("{id:?} in {received}"))?;
        assert!(
            received[..at].ends_with(&format!("event: {kind}\n"))
                || received[at..].contains(&format!("event: {kind}\n"))
        );
    }

    // A client that saw the first two events resumes with the third. The stream of one tenant counts the tenant's
    // versions.
    let resumed =
        receive(self::stream(&stack, "/admin/tenants/acme/events", &[("Last-Event-ID", "2")]).await?, 2).await?;
    assert!(!resumed.contains("tenant.created") && resumed.contains("tenant.activated"), "{resumed}");

    // An open stream does not delay the end of the process.
    let _open = self::stream(&stack, "/admin/events", &[]).await?;
    let began = std::time::Instant::now();
    assert!(stack.control_planes[0].stop().await?, "the stream ended by itself");
    assert!(
        began.elapsed().as_secs() < harness::stack::DRAIN_SECONDS,
        "the control plane ended the stream when it stopped"
    );
    Ok(())
}

async fn stream(stack: &Stack, path: &str, headers: &[(&str, &str)]) -> Result<TcpStream> {
    let address = stack.control_plane_url().trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(&address).await?;
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\nX-Admin-Token: {}\r\n",
        stack.admin_token
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    connection.write_all(format!("{request}\r\n").as_bytes()).await?;
    Ok(connection)
}

/// Reads until so many events have arrived.
async fn receive(mut connection: TcpStream, events: usize) -> Result<String> {
    let (mut received, mut chunk) = (String::new(), [0; 4096]);
    wait::until_ok(SOON, "the events of a stream", async || {
        let length = connection.read(&mut chunk).await?;
        received.push_str(&String::from_utf8_lossy(&chunk[..length]));
        anyhow::ensure!(received.matches("\ndata: ").count() >= events, "received {received}");
        Ok(())
    })
    .await?;
    Ok(received)
}
