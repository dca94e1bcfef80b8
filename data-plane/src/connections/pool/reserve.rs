//! The reserve of free slots: the pool closes rested connections before their slots are needed.
//!
//! A busy server notices late that a client has closed its connection; we measured 6 ms until its thread got to run and
//! end. If the node opens the next connection at once, the server counts both and may refuse the new one. So when few
//! slots are free, the pool closes connections that have rested, and frees their slots only after [`CLOSE_NOTICED`].
//! This is also faster, because the next request need not wait for the close. When more requests come at once than
//! there are free slots, each of them closes one connection itself.

use super::slot::Slot;
use super::{Connect, Shared};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Time after which the server has certainly noticed that a connection was closed.
const CLOSE_NOTICED: Duration = Duration::from_millis(25);

impl<C: Connect> Shared<C> {
    /// Closes as many connections as the reserve lacks, in the background.
    pub(super) fn make_room(self: &Arc<Self>) {
        loop {
            let ahead = self.lock().close_ahead();
            let Some((tenant, generation, connection)) = ahead else { return };
            let (shared, slot) = (Arc::clone(self), Slot::new(self, &tenant, generation));
            tokio::spawn(async move {
                shared.close(connection).await;
                sleep(CLOSE_NOTICED).await;
                drop(slot);
                shared.lock().closed_ahead();
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::connections::pool::{Connect, OpenError, Pool};
    use crate::routing::{Route, route_for_tests};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    const BUDGET: usize = 40;
    const CONNECTS: Duration = Duration::from_millis(3);
    const LATE: Duration = Duration::from_millis(10);

    /// A server that still counts a connection for a while after it was closed.
    #[derive(Clone, Default)]
    struct Late(Arc<(AtomicUsize, AtomicUsize)>);

    impl Connect for Late {
        type Connection = ();

        async fn connect(&self, _: &Route) -> Result<(), OpenError> {
            let (open, most) = &*self.0;
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(CONNECTS).await;
            Ok(())
        }

        async fn close(&self, (): ()) {
            let server = Arc::clone(&self.0);
            tokio::spawn(async move {
                sleep(LATE).await;
                server.0.fetch_sub(1, Ordering::SeqCst);
            });
            sleep(Duration::from_millis(1)).await;
        }

        async fn abort(&self, (): ()) {
            self.close(()).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn opening_at_full_budget_never_exceeds_the_server_limit() {
        let server = Late::default();
        let pool = Pool::new(server.clone(), BUDGET, 2);
        for tenant in 0..400 {
            let began = Instant::now();
            let route = route_for_tests(&format!("t-{tenant}"));
            let mut connection = pool.acquire(&route, false, began + Duration::from_secs(1)).await.unwrap();
            assert_eq!(began.elapsed(), CONNECTS, "tenant {tenant}");
            connection.begin();
            connection.finished();
            drop(connection);
            sleep(Duration::from_millis(20)).await;
        }
        let most = server.0.1.load(Ordering::SeqCst);
        assert!((BUDGET - 2..=BUDGET).contains(&most), "{most}");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_in_steady_use_are_not_closed() {
        let server = Late::default();
        let pool = Pool::new(server.clone(), BUDGET, 2);
        for _ in 0..20 {
            for tenant in 0..BUDGET {
                let route = route_for_tests(&format!("t-{tenant}"));
                let mut connection =
                    pool.acquire(&route, false, Instant::now() + Duration::from_secs(1)).await.unwrap();
                connection.begin();
                connection.finished();
            }
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((server.0.0.load(Ordering::SeqCst), pool.counts()), (BUDGET, (BUDGET, BUDGET)));
    }
}
