//! Clients of the public APIs, as an outside program would write them: they know the contract and nothing else.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::wait;

/// Longer than any call may take: commands answer at once, slow work is an operation.
const LIMIT: Duration = Duration::from_secs(30);

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// `Null` when the body is not JSON.
    pub json: Value,
    pub text: String,
}

impl Reply {
    /// The code of an error answer.
    pub fn error(&self) -> &str {
        self.json["error"].as_str().unwrap_or("")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as a value of the contract, if the status is the expected one.
    pub fn expect<T: DeserializeOwned>(self, status: u16) -> Result<T> {
        ensure!(self.status == status, "expected {status}, got {}: {}", self.status, self.text);
        serde_json::from_value(self.json).with_context(|| format!("not as promised: {}", self.text))
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Tenant {
    pub tenant_id: String,
    pub tenant_name: String,
    pub tenant_domain: Option<String>,
    pub domains: Vec<Value>,
    /// 0 stopped, 1 normal, 2 maintenance, 3 provisioning, 4 failed.
    pub status: i64,
    pub state: String,
    pub plan_type: Option<String>,
    pub database: Option<Value>,
    pub version: u64,
    pub position: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Created {
    pub tenant: Tenant,
    pub operation_id: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Operation {
    pub operation_id: String,
    pub tenant_id: String,
    pub kind: String,
    /// `pending`, `running`, `succeeded` or `failed`.
    pub status: String,
    pub attempts: u64,
    pub error: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    pub name: String,
    pub status: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    pub position: u64,
    pub tenant_id: String,
    pub version: u64,
    pub event_id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub occurred_at: String,
    pub actor: String,
    pub data: Value,
}

#[derive(Deserialize)]
struct Events {
    events: Vec<Event>,
}

/// A user to create.
#[derive(Clone, Copy, Debug)]
pub struct NewUser<'a> {
    pub username: &'a str,
    pub name: &'a str,
    pub email: &'a str,
    pub mobile: &'a str,
}

/// A client of the admin API with one token.
#[derive(Clone, Debug)]
pub struct Admin {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Admin {
    pub fn new(base: &str, token: &str) -> Self {
        Self { base: base.into(), token: token.into(), http: http() }
    }

    /// The same API with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    /// Any call; every status is an answer, only a broken connection is an error.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Result<Reply> {
        let mut all = vec![("X-Admin-Token", self.token.as_str())];
        all.retain(|(_, token)| !token.is_empty());
        all.extend_from_slice(headers);
        call(&self.http, method, &format!("{}{path}", self.base), body, &all).await
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.request("GET", path, None, &[]).await?.expect(200).with_context(|| format!("GET {path}"))
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Reply> {
        self.request("POST", path, Some(body), &[]).await
    }

    pub async fn create_tenant(&self, tenant_id: &str, name: &str, domain: Option<&str>) -> Result<Created> {
        let mut body = json!({"tenant_id": tenant_id, "tenant_name": name});
        if let Some(domain) = domain {
            body["tenant_domain"] = domain.into();
        }
        self.post("/admin/tenants", body).await?.expect(202).with_context(|| format!("create tenant {tenant_id}"))
    }

    /// Creates a tenant and waits until it serves.
    pub async fn create_active_tenant(&self, tenant_id: &str, domain: Option<&str>, limit: Duration) -> Result<Tenant> {
        let created = self.create_tenant(tenant_id, tenant_id, domain).await?;
        self.wait_for_operation(&created.operation_id, limit).await?;
        self.wait_for_state(tenant_id, "active", limit).await
    }

    pub async fn tenant(&self, tenant_id: &str) -> Result<Tenant> {
        self.get(&format!("/admin/tenants/{tenant_id}")).await
    }

    pub async fn operation(&self, operation_id: &str) -> Result<Operation> {
        self.get(&format!("/admin/operations/{operation_id}")).await
    }

    /// Waits until an operation has ended well; an operation that failed ends the wait.
    pub async fn wait_for_operation(&self, operation_id: &str, limit: Duration) -> Result<Operation> {
        let ended = self.wait_for_end(operation_id, limit).await?;
        ensure!(ended.status == "succeeded", "{} of {} failed: {:?}", ended.kind, ended.tenant_id, ended.error);
        Ok(ended)
    }

    /// Waits until an operation has ended, one way or the other.
    pub async fn wait_for_end(&self, operation_id: &str, limit: Duration) -> Result<Operation> {
        wait::until_ok(limit, &format!("operation {operation_id} to end"), async || {
            let operation = self.operation(operation_id).await?;
            ensure!(matches!(operation.status.as_str(), "succeeded" | "failed"), "it is {}", operation.status);
            Ok(operation)
        })
        .await
    }

    /// Waits until a tenant is in a state. Not waited for: a tenant that failed while another state is wanted.
    pub async fn wait_for_state(&self, tenant_id: &str, state: &str, limit: Duration) -> Result<Tenant> {
        let tenant = wait::until_ok(limit, &format!("tenant {tenant_id} to be {state}"), async || {
            let tenant = self.tenant(tenant_id).await?;
            ensure!(tenant.state == state || tenant.state == "failed", "it is {}", tenant.state);
            Ok(tenant)
        })
        .await?;
        if tenant.state != state {
            let events = self.events(tenant_id).await.unwrap_or_default();
            let reason = events.last().map(|event| event.data.to_string()).unwrap_or_default();
            bail!("tenant {tenant_id} has failed: {reason}");
        }
        Ok(tenant)
    }

    /// The events of one tenant, oldest first.
    pub async fn events(&self, tenant_id: &str) -> Result<Vec<Event>> {
        Ok(self.get::<Events>(&format!("/admin/tenants/{tenant_id}/events")).await?.events)
    }

    /// The stream of events of all tenants after a position.
    pub async fn live(&self, after: u64) -> Result<Live> {
        let request = self.http.get(format!("{}/admin/events?after={after}", self.base));
        let request = request.header("X-Admin-Token", &self.token).header("Accept", "text/event-stream");
        let response = request.send().await?.error_for_status()?;
        Ok(Live { response, text: String::new() })
    }

    /// The events of all tenants after a position.
    pub async fn events_after(&self, position: u64) -> Result<Vec<Event>> {
        Ok(self.get::<Events>(&format!("/admin/events?after={position}")).await?.events)
    }

    /// Creates a user and gives the id.
    pub async fn create_user(&self, user: NewUser<'_>) -> Result<String> {
        let body = json!({"username": user.username, "name": user.name, "email": user.email, "mobile": user.mobile});
        let created: Value = self.post("/admin/users", body).await?.expect(201).context("create a user")?;
        Ok(created["user_id"].as_str().context("no user_id")?.to_owned())
    }

    /// Makes a token for a user.
    pub async fn create_token(&self, user_id: &str, ttl_seconds: Option<u64>) -> Result<String> {
        let body = ttl_seconds.map_or(json!({}), |ttl| json!({"ttl_seconds": ttl}));
        let path = format!("/admin/users/{user_id}/tokens");
        let created: Value = self.post(&path, body).await?.expect(201).context("make a user's token")?;
        Ok(created["token"].as_str().context("no token")?.to_owned())
    }

    /// Makes a user a member of a tenant, or changes the role.
    pub async fn put_member(&self, tenant_id: &str, user_id: &str, role: &str) -> Result<Value> {
        let path = format!("/admin/tenants/{tenant_id}/users/{user_id}");
        self.request("PUT", &path, Some(json!({"role": role})), &[]).await?.expect(200).context("put a member")
    }
}

/// A live stream of events; it ends with the client's own limit.
pub struct Live {
    response: reqwest::Response,
    /// What has arrived and was not given yet.
    text: String,
}

impl Live {
    /// The next event.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            while let Some((message, rest)) = self.text.split_once("\n\n") {
                let event = message.lines().find_map(|line| line.strip_prefix("data: ")).map(serde_json::from_str);
                self.text = rest.to_owned();
                if let Some(event) = event {
                    return Ok(event?);
                }
            }
            let chunk = self.response.chunk().await?.context("the stream of events has ended")?;
            self.text.push_str(std::str::from_utf8(&chunk)?);
        }
    }
}

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

    /// A read as a user of the tenant with this domain.
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

fn http() -> reqwest::Client {
    // No redirects: an answer is looked at as it is.
    let builder = crate::http().redirect(reqwest::redirect::Policy::none()).timeout(LIMIT);
    builder.build().expect("a client without special settings can be built")
}

async fn call(
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
