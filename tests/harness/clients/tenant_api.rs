//! A client of the tenant API.

use anyhow::Result;
use serde_json::Value;

use super::call::{Reply, call, http};

/// A client of the tenant API at one data node.
#[derive(Clone, Debug)]
pub struct TenantApi {
    base: String,
    http: reqwest::Client,
}

impl TenantApi {
    pub fn new(base: &str) -> Self {
        Self { base: base.into(), http: http() }
    }

    /// A `GET` as a user of the tenant with this domain.
    pub async fn get(&self, domain: &str, token: &str, path: &str) -> Result<Reply> {
        let bearer = format!("Bearer {token}");
        self.request("GET", path, &[("Host", domain), ("Authorization", &bearer)]).await
    }

    /// Any call with a JSON body.
    pub async fn send(&self, method: &str, path: &str, body: Value, headers: &[(&str, &str)]) -> Result<Reply> {
        call(&self.http, method, &format!("{}{path}", self.base), Some(body), headers).await
    }

    /// Any call with any headers, `Host` among them.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Reply> {
        call(&self.http, method, &format!("{}{path}", self.base), None, headers).await
    }
}
