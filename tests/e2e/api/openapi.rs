//! Both APIs serve their documents, and pages to read them that need no other server.

use crate::world;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;

#[tokio::test]
async fn both_apis_serve_their_documents_and_pages() -> Result<()> {
    let stack = world::start("openapi").await?;
    for (service, url) in [("control-plane", stack.control_plane_url()), ("data-plane", stack.data_planes[0].url())] {
        let served: Value = reqwest::get(format!("{url}/openapi.json")).await?.error_for_status()?.json().await?;
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/openapi/{service}.json"));
        let committed: Value = serde_json::from_str(&std::fs::read_to_string(committed)?)?;
        assert_eq!(served, committed, "{service} serves another document than the committed one");

        let page = reqwest::get(format!("{url}/docs")).await?.error_for_status()?;
        let policy = page.headers()["content-security-policy"].to_str()?.to_owned();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        let page = page.text().await?;
        let scripts: Vec<_> = page.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(scripts.len() >= 2, "{page}");
        for script in scripts {
            let name = script.strip_prefix("./").with_context(|| format!("{script} is not of this page"))?;
            let loaded = reqwest::get(format!("{url}/docs/{name}")).await?.error_for_status()?.text().await?;
            assert!(!loaded.is_empty(), "{name}");
        }
    }
    Ok(())
}

/// A route that is added past the list of [`utoipa_axum::routes`] would be in no document.
#[test]
fn every_route_is_in_an_openapi_document() -> Result<()> {
    for service in ["control-plane", "data-plane"] {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(service).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = std::fs::read_to_string(&path)?;
                    let past = [".route(", ".route_service(", ".nest_service(", ".nest("];
                    assert!(!past.iter().any(|call| text.contains(call)), "{} adds a route", path.display());
                }
            }
        }
    }
    Ok(())
}
