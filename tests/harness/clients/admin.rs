//! A client of the admin API, and of its live stream of events.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::call::{Reply, call, http};
use super::contract::{Created, Event, NewUser, Operation, Tenant};
use crate::wait;

#[derive(Deserialize)]
struct Events {
    events: Vec<Event>,
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

    /// A client with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    /// Any call. Every status is an answer; only a broken connection is an error.
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

    /// Creates a tenant and waits until it is active.
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

    /// Waits until an operation has succeeded. An operation that fails ends the wait with an error.
    pub async fn wait_for_operation(&self, operation_id: &str, limit: Duration) -> Result<Operation> {
        let ended = self.wait_for_end(operation_id, limit).await?;
        ensure!(ended.status == "succeeded", "{} of {} failed: {:?}", ended.kind, ended.tenant_id, ended.error);
        Ok(ended)
    }

    /// Waits until an operation has succeeded or failed.
    pub async fn wait_for_end(&self, operation_id: &str, limit: Duration) -> Result<Operation> {
        wait::until_ok(limit, &format!("operation {operation_id} to end"), async || {
            let operation = self.operation(operation_id).await?;
            ensure!(matches!(operation.status.as_str(), "succeeded" | "failed"), "it is {}", operation.status);
            Ok(operation)
        })
        .await
    }

    /// Waits until a tenant is in a state. A tenant that fails instead ends the wait with an error.
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

    /// Creates a user and returns the id.
    pub async fn create_user(&self, user: NewUser<'_>) -> Result<String> {
        let body = json!({"username": user.username, "name": user.name, "email": user.email, "mobile": user.mobile});
        let created: Value = self.post("/admin/users", body).await?.expect(201).context("create a user")?;
        Ok(created["user_id"].as_str().context("no user_id")?.to_owned())
    }

    /// Creates a session token for a user.
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

/// A live stream of events. The time limit of the client ends it.
pub struct Live {
    response: reqwest::Response,
    /// Text that has arrived and was not returned yet.
    text: String,
}

impl Live {
    /// Waits for the next event.
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
