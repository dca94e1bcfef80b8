//! Many tenants whose rows name them, and clients that ask for these rows.

use super::{SOON, plant_order, served, user};
use anyhow::{Result, ensure};
use harness::clients::TenantApi;
use harness::load::{Answered, Asker};
use harness::stack::Stack;
use harness::wait;
use std::time::Duration;

/// Limit for all tenants of a fleet together.
const CREATED: Duration = Duration::from_secs(300);

/// A host whose first label names the tenant.
pub fn host(tenant: &str) -> String {
    format!("{tenant}.saas.example")
}

/// Creates active tenants with one user, who is the admin of each. Each has one order, whose number is the tenant's
/// id, so a request that is led to a wrong tenant shows it. Every node knows the last tenant. Returns the user's
/// token.
pub async fn fleet<S: AsRef<str>>(stack: &Stack, ids: &[S]) -> Result<String> {
    let admin = stack.admin();
    let (user, token) = user(&admin, "ann", &[]).await?;
    let mut operations = Vec::new();
    for id in ids {
        operations.push(admin.create_tenant(id.as_ref(), id.as_ref(), None).await?.operation_id);
    }
    for operation in &operations {
        admin.wait_for_operation(operation, CREATED).await?;
    }
    for id in ids {
        admin.put_member(id.as_ref(), &user, "admin").await?;
        plant_order(stack, id.as_ref(), &user, id.as_ref()).await?;
    }
    for node in 0..stack.data_planes.len() {
        served(&stack.tenant_api(node), &host(ids[ids.len() - 1].as_ref()), &token).await?;
    }
    Ok(token)
}

/// Waits until a node serves each of these tenants.
pub async fn serves_all<S: AsRef<str>>(api: &TenantApi, ids: &[S], token: &str) -> Result<()> {
    for id in ids {
        wait::until(SOON, "the node to serve every tenant", async || {
            let reply = api.get(&host(id.as_ref()), token, "/api/orders").await;
            reply.ok().filter(|reply| reply.status == 200)
        })
        .await?;
    }
    Ok(())
}

/// A client that requests the orders of one tenant of a fleet after the other. Each answer must show the order of that
/// tenant.
pub fn orders<T>(api: &TenantApi, token: &str, mut tenant: T) -> impl Asker + use<T>
where
    T: FnMut(u64) -> String + Send + 'static,
{
    let (api, token) = (api.clone(), token.to_owned());
    move |turn| {
        let (api, token, id) = (api.clone(), token.clone(), tenant(turn));
        async move {
            let reply = api.get(&host(&id), &token, "/api/orders").await?;
            ensure!(
                reply.status == 200 && super::order_bids(&reply) == [id.as_str()],
                "{id} was answered {}: {}",
                reply.status,
                reply.text
            );
            Ok(Answered::Served)
        }
    }
}
