//! One HTTP call, and its answer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longer than any call may take: commands answer at once, and slow work is an operation.
const LIMIT: Duration = Duration::from_secs(30);

/// An answer with any status.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// `Null` when the body is not JSON.
    pub json: Value,
    pub text: String,
}

impl Reply {
    /// The code of an error answer. Empty for a success.
    pub fn error(&self) -> &str {
        self.json["error"].as_str().unwrap_or("")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The id of the operation that carries out a command.
    pub fn operation_id(&self) -> Result<&str> {
        let id = self.json["operation_id"].as_str();
        id.with_context(|| format!("an operation was expected, got {}: {}", self.status, self.text))
    }

    /// The body as a value of the contract, if the status is the expected one.
    pub fn expect<T: DeserializeOwned>(self, status: u16) -> Result<T> {
        ensure!(self.status == status, "expected {status}, got {}: {}", self.status, self.text);
        serde_json::from_value(self.json).with_context(|| format!("not as promised: {}", self.text))
    }
}

pub(super) fn http() -> reqwest::Client {
    // Redirects are not followed, because the tests check each answer itself.
    let builder = crate::http().redirect(reqwest::redirect::Policy::none()).timeout(LIMIT);
    builder.build().expect("a client without special settings can be built")
}

pub(super) async fn call(
    http: &reqwest::Client,
    method: &str,
    url: &str,
    body: Option<Value>,
    headers: &[(&str, &str)],
) -> Result<Reply> {
    let mut request = http.request(method.parse()?, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Reply { status, headers, json, text })
}
