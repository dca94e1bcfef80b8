//! Room for those who come next.
//!
//! **Why.** A server notices a goodbye late: with its processors busy, a thread that has nothing left but to end waited 6 ms
//! for its turn. Whoever opens a connection in the slot of one that was just closed has the server count both. So when few slots
//! are free, connections that have rested are closed ahead of need, and their slots freed after [`NOTICED`]. It is also faster:
//! nobody waits for the close. When more come at once than there is room for, they close one each, as ever.

use super::{Connect, Shared};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// From a goodbye until its server has surely noticed.
const NOTICED: Duration = Duration::from_millis(25);

impl<C: Connect> Shared<C> {
    /// Closes as many as are wanted, in the background.
    pub(super) fn make_room(self: &Arc<Self>) {
        loop {
            let ahead = self.lock().ahead();
            let Some((tenant, generation, connection)) = ahead else { return };
            let (shared, slot) = (Arc::clone(self), self.slot(&tenant, generation));
            tokio::spawn(async move {
                shared.close(connection).await;
                sleep(NOTICED).await;
                drop(slot);
                shared.lock().closed();
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

    /// A server that counts a connection for a while after it was closed.
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

        async fn end(&self, (): ()) {
            self.close(()).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_next_wait_for_no_close_and_the_server_counts_no_more_than_the_budget() {
        let server = Late::default();
        let pool = Pool::new(server.clone(), BUDGET, 2);
        for tenant in 0..400 {
            let began = Instant::now();
            let route = route_for_tests(&format!("t-{tenant}"));
            let mut lease = pool.acquire(&route, false, began + Duration::from_secs(1)).await.unwrap();
            assert_eq!(began.elapsed(), CONNECTS, "tenant {tenant}");
            lease.ask();
            lease.finished();
            drop(lease);
            sleep(Duration::from_millis(20)).await;
        }
        let most = server.0.1.load(Ordering::SeqCst);
        assert!((BUDGET - 2..=BUDGET).contains(&most), "{most}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_used_again_and_again_is_not_closed() {
        let server = Late::default();
        let pool = Pool::new(server.clone(), BUDGET, 2);
        for _ in 0..20 {
            for tenant in 0..BUDGET {
                let route = route_for_tests(&format!("t-{tenant}"));
                let mut lease = pool.acquire(&route, false, Instant::now() + Duration::from_secs(1)).await.unwrap();
                lease.ask();
                lease.finished();
            }
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((server.0.0.load(Ordering::SeqCst), pool.counts()), (BUDGET, (BUDGET, BUDGET)));
    }
}
