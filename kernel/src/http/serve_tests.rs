//! Tests with clients that are slow, send too much or stay silent, over real sockets.

use super::*;
use crate::http::{ApiError, MAX_BODY, edge, read_body};
use axum::middleware::from_fn;
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The value of every limit. A client that is cut after [`CUT`] only was not cut by the limit.
const LIMIT: Duration = Duration::from_millis(300);
const CUT: Duration = Duration::from_secs(20);

/// The most connections of one address.
const OF_ADDRESS: usize = 30;

/// More than the buffers of both ends can hold.
const LARGE: usize = 64 << 20;

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/large", get(|| async { vec![b'x'; LARGE] }))
        .route("/slow", get(|| async { tokio::time::sleep(LIMIT * 3).await }))
        .route("/name/{name}", get(|axum::extract::Path(name): axum::extract::Path<String>| async { name }))
        .route("/body", post(async |body: Body| Ok::<_, ApiError>(read_body(body, MAX_BODY).await?.len().to_string())))
        .layer(from_fn(edge))
}

async fn start(connections: usize) -> (SocketAddr, Shutdown, tokio::task::JoinHandle<()>) {
    start_with(connections, LIMIT, LIMIT).await
}

async fn start_with(
    connections: usize,
    header: Duration,
    write: Duration,
) -> (SocketAddr, Shutdown, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::default();
    let trusted = Arc::default();
    let limits = HttpLimits { header, body: LIMIT, write, connections, of_address: OF_ADDRESS, trusted };
    let served = shutdown.clone();
    let health = Health::new(PrometheusBuilder::new().build_recorder().handle());
    let server = tokio::spawn(async move {
        serve(&served, listener, app(), &health, limits, Duration::from_secs(5)).await.unwrap();
    });
    (address, shutdown, server)
}

async fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that refuses early may close before everything is sent.
    let _ = stream.write_all(bytes).await;
    stream
}

/// Reads until the other end closes.
async fn rest(stream: &mut TcpStream) -> String {
    String::from_utf8_lossy(&bytes(stream).await).into_owned()
}

async fn bytes(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(CUT, stream.read_to_end(&mut bytes)).await.expect("the connection is cut");
    bytes
}

/// Sends the bytes of `text` again and again, slowly, until the other end closes. Returns what that end sent.
async fn trickle(stream: TcpStream, text: &'static str) -> String {
    let (mut read, mut write) = stream.into_split();
    let writer = tokio::spawn(async move {
        for byte in text.as_bytes().iter().cycle() {
            tokio::time::sleep(LIMIT / 6).await;
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    });
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(CUT, read.read_to_end(&mut bytes)).await.expect("the connection is cut");
    writer.abort();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_connection_without_a_complete_head_is_cut() {
    let (address, ..) = start(100).await;
    // A client that is silent from the start, stops before the version is known, or stops in the middle of a head.
    for begun in ["", "PRI * HT", "GET / HTTP/1.1\r\nHost: a\r\nX-"] {
        assert_eq!(rest(&mut connect(address, begun.as_bytes()).await).await, "", "{begun:?}");
    }
    let said = trickle(connect(address, b"GET / HTTP/1.1\r\nHost: a\r\n").await, "X-A: b\r\n").await;
    assert!(!said.contains("200"), "{said}");
    let said = rest(&mut connect(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("hello"), "{said}");
}

#[tokio::test]
async fn a_body_that_arrives_too_slowly_is_answered_408() {
    let (address, ..) = start(100).await;
    let head = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    let said = trickle(connect(address, head).await, "x").await;
    assert!(said.starts_with("HTTP/1.1 408") && said.contains(r#""error":"request_timeout""#), "{said}");
}

#[tokio::test]
async fn a_head_or_body_that_is_too_large_is_refused() {
    let (address, ..) = start(100).await;
    let bomb = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Bomb: {}\r\n\r\n", "x".repeat(MAX_HEAD));
    let said = rest(&mut connect(address, bomb.as_bytes()).await).await;
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(200));
    let said = rest(&mut connect(address, many.as_bytes()).await).await;
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    // A body that announces its length is refused even if no handler reads it. A body without a length is counted.
    for path in ["/body", "/"] {
        for (length, sent) in [(300_000, 300_000), (100_000_000, 0), (100_000_000, 10_000_000)] {
            let mut announced = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            announced.extend(std::iter::repeat_n('x', sent));
            let said = rest(&mut connect(address, announced.as_bytes()).await).await;
            // A client that continues to send far too much may not see the answer.
            let refused = said.starts_with("HTTP/1.1 413") && said.contains(r#""error":"too_large""#);
            assert!(refused || (sent == 10_000_000 && said.is_empty()), "{path} {length} {sent}: {said}");
        }
    }
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked =
        format!("POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    let said = rest(&mut connect(address, chunked.as_bytes()).await).await;
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let (address, ..) = start(1).await;
    let mut deaf = connect(address, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // There is room for one connection only, so the second client is served once the first one is cut.
    let said = tokio::time::timeout(CUT, async {
        rest(&mut connect(address, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await).await
    });
    assert!(said.await.unwrap().ends_with("hello"));
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(CUT, deaf.read_to_end(&mut bytes)).await;
    assert!(bytes.len() < LARGE, "it was cut in the middle");
}

#[tokio::test]
async fn a_path_that_is_not_utf_8_gets_a_contract_error() {
    let (address, ..) = start(100).await;
    let close = "Host: a\r\nConnection: close\r\n\r\n";
    let said = rest(&mut connect(address, format!("GET /name/%ff%fe HTTP/1.1\r\n{close}").as_bytes()).await).await;
    assert!(said.starts_with("HTTP/1.1 400") && said.contains(r#""error":"bad_request""#), "{said}");
    assert!(said.contains(r#""request_id":"#), "{said}");
    let said = rest(&mut connect(address, format!("GET /name/%E5%AD%A6 HTTP/1.1\r\n{close}").as_bytes()).await).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("学"), "{said}");
}

#[tokio::test]
async fn a_stopping_server_finishes_answers_and_closes_idle_ones() {
    let (address, shutdown, server) = start(100).await;
    let mut idle = connect(address, b"").await;
    let mut busy = connect(address, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::time::sleep(LIMIT / 3).await;
    let asked = Instant::now();
    shutdown.request();
    assert_eq!(rest(&mut idle).await, "");
    assert!(rest(&mut busy).await.starts_with("HTTP/1.1 200"));
    server.await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "it did not wait for the deadline");
    assert!(TcpStream::connect(address).await.is_err());
}

#[test]
fn a_wrong_limit_names_its_setting() {
    for (name, value) in [("HTTP_HEADER_TIMEOUT", "0"), ("HTTP_CONNECTIONS", "0"), ("HTTP_BODY_TIMEOUT", "soon")] {
        let settings = Settings::from_pairs([(name.to_owned(), value.to_owned())]);
        assert!(HttpLimits::from_settings(&settings).unwrap_err().to_string().contains(name));
    }
    assert!(HttpLimits::from_settings(&Settings::from_pairs([])).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_idle_server_does_not_skip_the_drain() {
    for _ in 0..200 {
        let shutdown = Shutdown::default();
        let ended = Arc::new(AtomicBool::new(false));
        let (stop, end) = (shutdown.clone(), Arc::clone(&ended));
        shutdown.spawn(async move {
            stop.requested().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            end.store(true, Ordering::SeqCst);
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let health = Health::new(PrometheusBuilder::new().build_recorder().handle());
        shutdown.request();
        let limits = HttpLimits::from_settings(&Settings::from_pairs([])).unwrap();
        serve(&shutdown, listener, Router::new(), &health, limits, Duration::from_secs(5)).await.unwrap();
        assert!(ended.load(Ordering::SeqCst), "a task was not waited for");
    }
}

/// A client of HTTP/2 that asks once, and then only stays connected.
const ONE_REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x01a";

#[tokio::test]
async fn an_idle_connection_of_http_2_is_closed() {
    let (address, ..) = start(100).await;
    let began = Instant::now();
    let said = bytes(&mut connect(address, ONE_REQUEST).await).await;
    assert!(began.elapsed() >= LIMIT, "after {:?}", began.elapsed());
    assert!(String::from_utf8_lossy(&said).contains("hello"));
    assert!(kinds(&said).contains(&GOAWAY), "the client learns which requests were not served: {:?}", kinds(&said));
}

const GOAWAY: u8 = 7;

/// The kinds of the frames of HTTP/2.
fn kinds(mut frames: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [high, middle, low, kind, ..] = *frames {
        kinds.push(kind);
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        frames = frames.get(9 + length..).unwrap_or_default();
    }
    kinds
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_the_whole_answer() {
    let (address, ..) = start_with(100, LIMIT, CUT).await;
    let mut slow = connect(address, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (began, mut read, mut piece) = (Instant::now(), 0, vec![0; LARGE / 16]);
    while read < LARGE {
        tokio::time::sleep(LIMIT / 2).await;
        match tokio::time::timeout(CUT, slow.read_exact(&mut piece)).await.expect("the server sends") {
            Ok(more) => read += more,
            Err(error) => panic!("it was cut after {:?} and {read} bytes: {error}", began.elapsed()),
        }
    }
    assert!(began.elapsed() > LIMIT * 4, "it took longer than an idle connection may");
}

/// A client of HTTP/2 that asks for a large answer.
const LARGE_REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x0d\x01\x05\x00\x00\x00\x01\x82\x04\x06/large\x86\x41\x01a";
/// It has room for 32 KiB more: on the connection, and for its request.
const ROOM: &[u8] = b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x80\x00\
    \x00\x00\x04\x08\x00\x00\x00\x00\x01\x00\x00\x80\x00";

#[tokio::test]
async fn a_client_of_http_2_is_cut_only_once_it_takes_nothing() {
    let (address, ..) = start_with(100, LIMIT * 3, CUT).await;
    let (mut read, mut write) = connect(address, LARGE_REQUEST).await.into_split();
    let reader = tokio::spawn(async move {
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(CUT, read.read_to_end(&mut bytes)).await.expect("the connection is cut");
        bytes.len()
    });
    // The server notices that the client takes its answer as long as it does so within each limit.
    for _ in 0..30 {
        tokio::time::sleep(LIMIT / 3).await;
        write.write_all(ROOM).await.expect("the client is served");
    }
    let most = reader.await.unwrap();
    assert!((30 * 0x8000..LARGE).contains(&most), "{most} bytes");
}

#[tokio::test]
async fn one_address_has_a_bound_of_connections() {
    let (address, ..) = start(1000).await;
    let mut open = Vec::new();
    for _ in 0..OF_ADDRESS {
        open.push(connect(address, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await);
    }
    // The connections are accepted in their order, so this is one too many.
    let said = rest(&mut connect(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await).await;
    assert_eq!(said, "");
    drop(open);
}

#[tokio::test]
async fn no_answer_is_stored_by_a_cache_or_guessed_by_a_browser() {
    let (address, ..) = start(100).await;
    for path in ["/", "/nothing", "/body"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let said = rest(&mut connect(address, head.as_bytes()).await).await.to_ascii_lowercase();
        for header in
            ["cache-control: no-store", "x-content-type-options: nosniff", "vary: accept, accept-language, auth"]
        {
            assert!(said.contains(header), "{path}: {said}");
        }
    }
}
