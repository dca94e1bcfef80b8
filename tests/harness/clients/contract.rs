//! Values of the admin API's contract.

use serde::Deserialize;
use serde_json::Value;

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

/// A user to create.
#[derive(Clone, Copy, Debug)]
pub struct NewUser<'a> {
    pub username: &'a str,
    pub name: &'a str,
    pub email: &'a str,
    pub mobile: &'a str,
}
