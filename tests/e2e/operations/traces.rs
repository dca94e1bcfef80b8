//! One trace follows a tenant from the request through the broker and the worker to the data node.

use crate::world::SOON;
use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use harness::clients::TenantApi;
use harness::servers::certificates::Certificate;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio_rustls::TlsAcceptor;

/// A span as the collector received it.
#[derive(Clone, Debug)]
pub struct Received {
    service: String,
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    /// The attributes with text values.
    attributes: BTreeMap<String, String>,
}

pub type Spans = Arc<Mutex<Vec<Received>>>;

/// The same collector behind TLS.
pub async fn receiver_by_tls(certificate: &Certificate) -> Result<(String, Spans)> {
    let (plain, spans) = receiver().await?;
    let behind = plain.trim_start_matches("http://").to_owned();
    let chain = CertificateDer::pem_file_iter(&certificate.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&certificate.key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("https://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let mut client = acceptor.accept(stream).await?;
                let mut server = tokio::net::TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    Ok((address, spans))
}

/// A collector that stores the spans it receives.
async fn receiver() -> Result<(String, Spans)> {
    let spans = Spans::default();
    let received_spans = Arc::clone(&spans);
    let receive = post(move |body: Bytes| async move {
        let request = ExportTraceServiceRequest::decode(body).expect("OTLP in protobuf");
        received_spans.lock().expect("no holder of the lock panics").extend(received(request));
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", receive)).await });
    Ok((address, spans))
}

fn received(request: ExportTraceServiceRequest) -> Vec<Received> {
    let texts = |attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]| -> BTreeMap<String, String> {
        let text = |value: &Value| match value {
            Value::StringValue(text) => Some(text.clone()),
            _ => None,
        };
        attributes
            .iter()
            .filter_map(|pair| Some((pair.key.clone(), text(pair.value.as_ref()?.value.as_ref()?)?)))
            .collect()
    };
    let mut all = Vec::new();
    for resource in request.resource_spans {
        let of_resource = texts(&resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            all.push(Received {
                service: of_resource.get("service.name").cloned().unwrap_or_default(),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                attributes: texts(&span.attributes),
            });
        }
    }
    all
}

#[tokio::test]
async fn one_trace_follows_a_tenant_through_every_process() -> Result<()> {
    let (address, spans) = receiver().await?;
    let mut options = StackOptions::for_test("traces")?;
    for service in ["control-plane", "provisioner", "data-plane"] {
        options =
            options.with_env(service, "OTLP_ENDPOINT", &address).with_env(service, "OTEL_BSP_SCHEDULE_DELAY", "200");
    }
    // Of the traces that begin at a node, it records hardly any. It still records its part of all others.
    options = options.with_env("data-plane", "OTLP_SAMPLE", "0.001");
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    let caller = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{caller}-00f067aa0ba902b7-01");
    let body = serde_json::json!({"tenant_id": "acme", "tenant_name": "Acme"});
    let created = admin.request("POST", "/admin/tenants", Some(body), &[("traceparent", &traceparent)]).await?;
    ensure!(created.status == 202, "{}", created.text);
    admin.wait_for_state("acme", "active", SOON).await?;

    let trace = hex::decode(caller)?;
    let expected: BTreeSet<(&str, &str)> = BTreeSet::from([
        ("control-plane", "request"),
        ("control-plane", "publish"),
        ("provisioner", "job"),
        ("provisioner", "step"),
        ("data-plane", "invalidate"),
    ]);
    let of_trace = wait::until_ok(SOON, "the spans of every process", async || {
        let found: Vec<Received> =
            spans.lock().expect("unharmed").iter().filter(|span| span.trace == trace).cloned().collect();
        let names: BTreeSet<(&str, &str)> =
            found.iter().map(|span| (span.service.as_str(), span.name.as_str())).collect();
        ensure!(expected.is_subset(&names), "so far {names:?}");
        // The end of the job is another event, which nodes follow too.
        ensure!(
            found.iter().filter(|span| span.name == "invalidate").count() >= 3,
            "so far {} invalidations",
            found.len()
        );
        // Every span has its parent in the trace, except that of the caller. Each process sends its spans itself, so a
        // parent may arrive after its child.
        let ids: BTreeSet<&[u8]> = found.iter().map(|span| span.id.as_slice()).collect();
        for span in &found {
            let rooted = span.parent == hex::decode("00f067aa0ba902b7")? || ids.contains(span.parent.as_slice());
            ensure!(rooted, "{} of {} has no parent in the trace", span.name, span.service);
        }
        Ok(found)
    })
    .await?;
    let job = of_trace.iter().find(|span| span.name == "job").context("a job")?;
    assert_eq!(job.attributes.get("tenant_id").map(String::as_str), Some("acme"));
    let request = of_trace.iter().find(|span| span.name == "request").context("a request")?;
    assert_eq!(job.parent, request.id, "the job's parent is the request that asked for it");
    let published =
        of_trace.iter().filter(|span| span.name == "publish").map(|span| span.id.as_slice()).collect::<BTreeSet<_>>();
    for received in of_trace.iter().filter(|span| span.name == "invalidate") {
        ensure!(published.contains(received.parent.as_slice()), "the relay published what the node received");
    }
    a_caller_does_not_decide_what_is_recorded(&stack.tenant_api(0), &spans).await
}

/// A caller chooses the ids that the ratio would record, and the flag that says so.
async fn a_caller_does_not_decide_what_is_recorded(api: &TenantApi, spans: &Spans) -> Result<()> {
    let traces: Vec<String> = (1..=50).map(|n| format!("{n:032x}")).collect();
    for trace in &traces {
        let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
        api.request("GET", "/api/orders", &[("traceparent", &traceparent)]).await?;
    }
    // Spans are sent five times a second.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let all = spans.lock().expect("unharmed");
    let recorded = all.iter().filter(|span| traces.contains(&hex::encode(&span.trace))).count();
    ensure!(recorded <= 5, "{recorded} of 50 requests are recorded");
    Ok(())
}
