//! [`Turns`]: who may begin a unit of work now.
//!
//! Units on one tenant wait for each other in the database, and each holds a connection while it waits. **Guarantee.**
//! The waiting units of one tenant hold at most [`OF_TENANT`] connections of the pool, and all units together leave a
//! quarter of it to readers, to the relay and to leases. The others wait here, in order, without a connection.

use crate::database::ACQUIRE_TIMEOUT;
use crate::domain::TenantId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Units on one tenant at once: one works, and the next one is ready.
const OF_TENANT: usize = 2;

#[derive(Clone)]
pub(super) struct Turns {
    units: Arc<Semaphore>,
    queues: Queues,
}

/// The tenants on which units work or wait.
type Queues = Arc<Mutex<HashMap<TenantId, Arc<Semaphore>>>>;

/// The right to begin a unit. It must outlive the unit.
pub struct Turn {
    _unit: OwnedSemaphorePermit,
    // The permit of the tenant is returned before its place in the queue.
    _of_tenant: Option<(OwnedSemaphorePermit, Place)>,
}

impl Turns {
    /// For a pool of so many connections.
    pub(super) fn new(connections: u32) -> Self {
        let connections = usize::try_from(connections).unwrap_or(usize::MAX);
        let units = (connections - connections.div_ceil(4)).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), queues: Queues::default() }
    }

    /// Waits for a turn as long as for a connection of a pool, and fails in the same way.
    pub(super) async fn wait(&self, tenant: Option<&TenantId>) -> Result<Turn, sqlx::Error> {
        let waiting = async {
            let of_tenant = match tenant {
                Some(tenant) => {
                    let place = Place::new(&self.queues, tenant);
                    Some((permit(&place.queue).await?, place))
                }
                None => None,
            };
            Ok(Turn { _unit: permit(&self.units).await?, _of_tenant: of_tenant })
        };
        tokio::time::timeout(ACQUIRE_TIMEOUT, waiting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, sqlx::Error> {
    Arc::clone(semaphore).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)
}

/// A place in the queue of a tenant. The last one that is given up removes the queue.
struct Place {
    queues: Queues,
    tenant: TenantId,
    queue: Arc<Semaphore>,
}

impl Place {
    fn new(queues: &Queues, tenant: &TenantId) -> Self {
        let mut all = queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = all.entry(tenant.clone()).or_insert_with(|| Arc::new(Semaphore::new(OF_TENANT)));
        Self { queues: Arc::clone(queues), tenant: tenant.clone(), queue: Arc::clone(queue) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // The map holds one, and so does this place. Only the lock lets others take one.
        if Arc::strong_count(&self.queue) == 2 {
            all.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_at_once(waiting: impl Future<Output = Result<Turn, sqlx::Error>>) -> bool {
        futures::poll!(std::pin::pin!(waiting)).is_ready()
    }

    #[tokio::test]
    async fn one_tenant_takes_few_turns_and_all_leave_some() {
        let turns = Turns::new(8);
        let (acme, beta): (TenantId, TenantId) = ("acme".parse().unwrap(), "beta".parse().unwrap());
        let mut of_acme = vec![turns.wait(Some(&acme)).await.unwrap(), turns.wait(Some(&acme)).await.unwrap()];
        assert!(!is_at_once(turns.wait(Some(&acme))).await);
        let others = [
            turns.wait(Some(&beta)).await.unwrap(),
            turns.wait(None).await.unwrap(),
            turns.wait(None).await.unwrap(),
            turns.wait(None).await.unwrap(),
        ];
        assert!(!is_at_once(turns.wait(None)).await, "two connections of eight stay free");
        drop(others);
        of_acme.pop();
        assert!(is_at_once(turns.wait(Some(&acme))).await);
        drop(of_acme);
        assert!(turns.queues.lock().unwrap().is_empty());
        assert!(is_at_once(Turns::new(1).wait(None)).await, "a pool of one connection serves a unit");
    }
}
