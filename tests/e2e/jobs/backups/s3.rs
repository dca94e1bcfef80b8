//! A store that is compatible with S3. The test uses a double of the few calls that the services make: it holds
//! objects in memory and requires signatures and checksums.

use super::{FOUND, REFUSED, assert_equal, killed_at, odd_tenant, run, sums};
use crate::world;
use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use harness::stack::Stack;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Bytes>,
    /// Parts of unfinished uploads, by id and number.
    uploads: BTreeMap<String, BTreeMap<u32, Bytes>>,
    finished: usize,
}

type Shared = Arc<Mutex<Bucket>>;

async fn call(State(bucket): State<Shared>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let answer = |status: StatusCode, body: Vec<u8>| {
        Response::builder().status(status).header(header::ETAG, "\"x\"").body(Body::from(body)).expect("an answer")
    };
    let signed = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !signed.starts_with("AWS4-HMAC-SHA256 Credential=backup-account/") {
        return answer(StatusCode::FORBIDDEN, b"<Error><Code>AccessDenied</Code></Error>".to_vec());
    }
    let checksum = parts.headers.get("x-amz-checksum-sha256").map_or(0, |value| value.as_bytes().len());
    // As a bucket with Object Lock does. 32 bytes in base64 have 44 letters.
    if parts.method == "PUT" && checksum != 44 {
        return answer(StatusCode::BAD_REQUEST, b"<Error><Code>InvalidRequest</Code></Error>".to_vec());
    }
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
    let query: HashMap<String, String> = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let key = parts.uri.path().trim_start_matches("/bucket").trim_start_matches('/').to_owned();
    let mut bucket = bucket.lock().expect("no holder of the lock panics");
    match (parts.method.as_str(), query.get("uploadId")) {
        ("POST", None) if query.contains_key("uploads") => {
            let id = format!("upload-{}", bucket.uploads.len());
            bucket.uploads.insert(id.clone(), BTreeMap::new());
            let xml = format!(
                "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>{key}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            );
            answer(StatusCode::OK, xml.into_bytes())
        }
        ("PUT", Some(id)) => {
            let number = query.get("partNumber").and_then(|number| number.parse().ok()).unwrap_or_default();
            bucket.uploads.entry(id.clone()).or_default().insert(number, body);
            answer(StatusCode::OK, Vec::new())
        }
        ("POST", Some(id)) => {
            let whole: Vec<u8> = bucket.uploads.remove(id).unwrap_or_default().into_values().flatten().collect();
            bucket.objects.insert(key.clone(), whole.into());
            bucket.finished += 1;
            let xml = format!(
                "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>{key}</Key><ETag>\"x\"</ETag></CompleteMultipartUploadResult>"
            );
            answer(StatusCode::OK, xml.into_bytes())
        }
        ("PUT", None) => {
            bucket.objects.insert(key, body);
            answer(StatusCode::OK, Vec::new())
        }
        ("DELETE", _) => {
            bucket.objects.remove(&key);
            answer(StatusCode::NO_CONTENT, Vec::new())
        }
        ("GET", None) if query.contains_key("list-type") => {
            let prefix = query.get("prefix").cloned().unwrap_or_default();
            let mut xml = String::from("<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>");
            for (key, object) in bucket.objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
                let _ = write!(
                    xml,
                    "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"x\"</ETag><Size>{}</Size></Contents>",
                    object.len()
                );
            }
            xml.push_str("</ListBucketResult>");
            answer(StatusCode::OK, xml.into_bytes())
        }
        ("GET" | "HEAD", None) => {
            let Some(object) = bucket.objects.get(&key) else {
                return answer(StatusCode::NOT_FOUND, b"<Error><Code>NoSuchKey</Code></Error>".to_vec());
            };
            let range = parts.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
            let range = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
            let range = range.and_then(|(from, to)| Some((from.parse().ok()?, to.parse::<usize>().ok()?)));
            let (status, from, to) = match range {
                Some((from, to)) => (StatusCode::PARTIAL_CONTENT, from, to.min(object.len() - 1)),
                None => (StatusCode::OK, 0, object.len().saturating_sub(1)),
            };
            let some = object.get(from..=to).unwrap_or_default().to_vec();
            let response = Response::builder()
                .status(status)
                .header(header::ETAG, "\"x\"")
                .header(header::LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT")
                .header(header::CONTENT_RANGE, format!("bytes {from}-{to}/{}", object.len()))
                .header(header::CONTENT_LENGTH, some.len());
            response.body(Body::from(some)).expect("an answer")
        }
        _ => answer(StatusCode::METHOD_NOT_ALLOWED, Vec::new()),
    }
}

#[tokio::test]
async fn a_backup_in_an_s3_store_can_be_restored() -> Result<()> {
    let bucket = Shared::default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let router = Router::new().fallback(call).with_state(Arc::clone(&bucket));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let mut options = world::without_nodes("backup-s3")?;
    for (name, value) in [
        ("BACKUP_STORE", "s3://bucket/our/place"),
        ("BACKUP_S3_ENDPOINT", endpoint.as_str()),
        ("BACKUP_S3_ACCESS_KEY_ID", "backup-account"),
        ("BACKUP_S3_SECRET_ACCESS_KEY", "s3-secret-canary"),
    ] {
        options = options.with_env("provisioner", name, value);
    }
    let stack = Stack::start(options).await?;
    odd_tenant(&stack, "acme", 500).await?;
    // More data than fits into one part, which no compression makes smaller.
    for _ in 0..3 {
        let bytes: Vec<u8> = (0..3 << 20).map(|_| rand::random()).collect();
        sqlx::query("INSERT INTO ai_shifu_tenant_acme.odd (large) VALUES (?)")
            .bind(bytes)
            .execute(&mut world::root(&stack).await?)
            .await?;
    }
    let before = sums(&stack.urls.root, "acme").await?;

    killed_at(&stack, &["backup", "acme"], "backup.before_finish").await?;
    let listed = run(&stack, &["backup", "list", "--json"], &[]).await?.expect(0)?;
    ensure!(
        listed.json.as_array().is_some_and(Vec::is_empty),
        "an unfinished upload is not listed as a backup: {}",
        listed.json
    );
    let taken = run(&stack, &["backup", "acme", "--json"], &[]).await?.expect(0)?;
    ensure!(bucket.lock().expect("a bucket").finished == 1, "the command uploaded the backup in parts");
    let id = taken.json["backup_id"].as_str().context("an id")?.to_owned();
    let key = format!("our/place/tenants/acme/{id}.data");
    super::spoil(&stack, "acme").await?;
    run(&stack, &["restore", "acme"], &[]).await?.expect(0)?;
    assert_equal(&before, &sums(&stack.urls.root, "acme").await?, "out of the bucket")?;

    {
        let mut bucket = bucket.lock().expect("a bucket");
        let mut changed = bucket.objects.get(&key).context("the data")?.to_vec();
        changed[1 << 20] ^= 1;
        bucket.objects.insert(key.clone(), changed.into());
    }
    let verified = run(&stack, &["backup", "verify", "--json"], &[]).await?.expect(FOUND)?;
    let error = verified.json[0]["error"].as_str().unwrap_or_default().to_owned();
    ensure!(error.contains(&key) && error.contains("chunk 3"), "{error}");
    let other = [("BACKUP_S3_ACCESS_KEY_ID", "stranger")];
    let denied = run(&stack, &["backup", "list"], &other).await?.expect(1)?;
    ensure!(!denied.errors.contains("s3-secret-canary"), "{}", denied.errors);
    run(&stack, &["backup", "list"], &[("BACKUP_S3_SECRET_ACCESS_KEY", "")]).await?.expect(REFUSED)?;
    server.abort();
    Ok(())
}
