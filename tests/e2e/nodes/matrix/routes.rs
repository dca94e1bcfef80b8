//! The routes of a data node, and whose data each shows.

use anyhow::{Context, Result, ensure};
use harness::stack::Stack;
use serde_json::Value;
use std::collections::BTreeSet;

/// Whose data a route shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The tenant's: any member may ask.
    Tenant,
    /// The user's in the path: the user, admins and viewers may ask.
    User,
    /// The tenant's: members who may change something make an order, whose course names their own tenant.
    NewOrder,
    /// The default tenant's, whatever the request names, in the envelope of the old application.
    Old,
    /// No tenant: the route shows the process itself.
    Process,
}

pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub about: About,
    /// Whether the answer contains rows of the tenant's database.
    pub rows: bool,
}

pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/api/orders", about: About::Tenant, rows: true },
    Route { method: "POST", path: "/api/orders", about: About::NewOrder, rows: true },
    Route { method: "GET", path: "/api/config", about: About::Tenant, rows: true },
    Route { method: "GET", path: "/api/me", about: About::Tenant, rows: false },
    Route { method: "GET", path: "/api/users/{user_id}", about: About::User, rows: false },
    Route { method: "GET", path: "/api/users/{user_id}/orders", about: About::User, rows: true },
    Route { method: "GET", path: "/api/users/{user_id}/shifus", about: About::User, rows: true },
    Route { method: "GET", path: "/api/users/{user_id}/activities", about: About::User, rows: true },
    Route { method: "GET", path: "/api/users/{user_id}/coupons", about: About::User, rows: true },
    Route { method: "POST", path: "/api/legacy/orders", about: About::Old, rows: false },
    Route { method: "GET", path: "/api/legacy/user/{user_id}/orders", about: About::Old, rows: true },
    Route { method: "GET", path: "/api/legacy/user/{user_id}/study_progress", about: About::Old, rows: false },
    Route { method: "GET", path: "/api/legacy/coupons/user/{user_id}", about: About::Old, rows: true },
    Route { method: "GET", path: "/api/legacy/shifu/{shifu_id}", about: About::Old, rows: true },
    Route { method: "GET", path: "/livez", about: About::Process, rows: false },
    Route { method: "GET", path: "/readyz", about: About::Process, rows: false },
];

/// Fails if the node has a route that is not in [`ROUTES`]. The router makes the OpenAPI document from its routes, so
/// the document lists them all.
pub async fn every_route_is_listed(stack: &Stack) -> Result<()> {
    let reply = stack.tenant_api(0).request("GET", "/openapi.json", &[]).await?;
    let document: Value = reply.expect(200)?;
    let mut served = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().context("paths")? {
        for method in methods.as_object().context("methods")?.keys() {
            served.insert((method.to_uppercase(), path.clone()));
        }
    }
    let listed: BTreeSet<_> = ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    let of_tenants = served.iter().filter(|(_, path)| path.starts_with("/api/")).count();
    ensure!(of_tenants >= 8, "the document has hardly any routes");
    let missing: Vec<_> = served.difference(&listed).collect();
    ensure!(missing.is_empty(), "not in the matrix: {missing:?}");
    Ok(())
}
