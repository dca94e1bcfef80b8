//! The pool on a connector that counts, on paused time.

use super::*;
use crate::routing::route_for_tests;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

const WAIT: Duration = Duration::from_secs(2);

/// How long a server is at a question that was given up.
const ENDING: Duration = Duration::from_millis(4);

#[derive(Default)]
struct Counts {
    open: AtomicUsize,
    most: AtomicUsize,
    made: AtomicU64,
    down: AtomicBool,
    hangs: AtomicBool,
}

#[derive(Clone, Default)]
struct Fake(Arc<Counts>);

struct FakeConnection {
    tenant: String,
    number: u64,
    counts: Arc<Counts>,
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Connect for Fake {
    type Connection = FakeConnection;

    async fn connect(&self, route: &Route) -> Result<FakeConnection, OpenError> {
        // Counted from the first packet on, as a server would.
        let open = self.0.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(open, Ordering::SeqCst);
        let number = self.0.made.fetch_add(1, Ordering::SeqCst);
        let connection = FakeConnection { tenant: route.tenant_id.to_string(), number, counts: Arc::clone(&self.0) };
        sleep(Duration::from_millis(3)).await;
        if self.0.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.0.down.load(Ordering::SeqCst) {
            return Err(OpenError::Unreachable(sqlx::Error::PoolTimedOut));
        }
        Ok(connection)
    }

    async fn close(&self, connection: FakeConnection) {
        sleep(Duration::from_millis(1)).await;
        drop(connection);
    }

    async fn end(&self, connection: FakeConnection) {
        sleep(ENDING).await;
        drop(connection);
    }
}

fn pool(budget: usize, share: usize) -> (Pool<Fake>, Arc<Counts>) {
    let fake = Fake::default();
    (Pool::new(fake.clone(), budget, share), fake.0)
}

async fn get(pool: &Pool<Fake>, route: &Route) -> Result<Lease<Fake>, NoConnection> {
    pool.acquire(route, false, Instant::now() + WAIT).await
}

fn number(lease: &mut Lease<Fake>) -> u64 {
    let number = lease.ask().number;
    lease.finished();
    number
}

/// Lets everything that was spawned come to rest.
async fn settle() {
    sleep(Duration::from_millis(50)).await;
}

#[tokio::test(start_paused = true)]
async fn the_budget_and_the_shares_hold_under_many_tenants() {
    let served = crowd(400).await;
    assert!(served > 2000, "{served}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_budget_and_the_shares_hold_on_many_threads() {
    assert!(crowd(100).await > 500);
}

/// Workers who ask 10 times each, for all sorts of tenants, and sometimes give up; returns how often one was served.
async fn crowd(workers: usize) -> u32 {
    let (pool, counts) = pool(10, 3);
    let in_use: Arc<Vec<AtomicUsize>> = Arc::new((0..40).map(|_| AtomicUsize::new(0)).collect());
    let mut tasks = Vec::new();
    for worker in 0..workers {
        let (pool, in_use) = (pool.clone(), Arc::clone(&in_use));
        tasks.push(tokio::spawn(async move {
            let mut served = 0;
            for round in 0..10_usize {
                // Half of the requests go to 4 tenants, the rest to all.
                let tenant = if worker.is_multiple_of(2) { worker % 4 } else { (worker * 7 + round * 13) % 40 };
                let route = route_for_tests(&format!("t-{tenant}"));
                let Ok(mut lease) = get(&pool, &route).await else { continue };
                let now = in_use[tenant].fetch_add(1, Ordering::SeqCst) + 1;
                assert!(now <= 3, "a tenant has {now} connections in use");
                assert_eq!(lease.ask().tenant, route.tenant_id.as_str());
                let millis = ((worker + round) % 5) as u64;
                let asked = timeout(Duration::from_millis(3), sleep(Duration::from_millis(millis))).await;
                in_use[tenant].fetch_sub(1, Ordering::SeqCst);
                // Some are given up in the middle of a question.
                if asked.is_ok() {
                    lease.finished();
                }
                served += 1;
            }
            served
        }));
    }
    let mut served = 0;
    for task in tasks {
        served += task.await.unwrap();
    }
    settle().await;
    assert!(counts.most.load(Ordering::SeqCst) <= 10, "{:?}", counts.most);
    let (open, idle) = pool.counts();
    assert_eq!(open, idle, "nothing is in use any more");
    assert_eq!(open, counts.open.load(Ordering::SeqCst));
    served
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again_by_its_own_tenant_only() {
    let (pool, counts) = pool(10, 3);
    let (t1, t2) = (route_for_tests("t1"), route_for_tests("t2"));
    let first = number(&mut get(&pool, &t1).await.unwrap());
    assert_eq!(number(&mut get(&pool, &t1).await.unwrap()), first);
    assert_ne!(number(&mut get(&pool, &t2).await.unwrap()), first);
    assert_eq!(counts.made.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn the_connection_idle_longest_makes_room() {
    let (pool, counts) = pool(2, 2);
    for name in ["t1", "t2", "t1"] {
        number(&mut get(&pool, &route_for_tests(name)).await.unwrap());
    }
    number(&mut get(&pool, &route_for_tests("t3")).await.unwrap());
    // t2 had to go, t1 is still there.
    number(&mut get(&pool, &route_for_tests("t1")).await.unwrap());
    assert_eq!(counts.made.load(Ordering::SeqCst), 3);
    assert_eq!(counts.most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_asked_often_leaves_the_others_what_they_are_using() {
    let (pool, counts) = pool(4, 3);
    let others = ["t1", "t2", "t3", "t4"].map(route_for_tests);
    for route in &others {
        number(&mut get(&pool, route).await.unwrap());
    }
    // Six at once, each for a moment: one of the others makes room for the first, and the rest wait for that one.
    let busy = route_for_tests("busy");
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (pool, busy) = (pool.clone(), busy.clone());
        asked.spawn(async move {
            let mut lease = get(&pool, &busy).await.unwrap();
            sleep(Duration::from_millis(5)).await;
            number(&mut lease)
        });
    }
    assert_eq!(asked.join_all().await, [4; 6]);
    for (route, made) in others[1..].iter().zip(1..) {
        assert_eq!(number(&mut get(&pool, route).await.unwrap()), made, "it was taken from {}", route.tenant_id);
    }
    assert_eq!(counts.made.load(Ordering::SeqCst), 5);

    // What nobody has used for a while is taken, up to the tenant's share.
    sleep(Duration::from_millis(300)).await;
    let held = [get(&pool, &busy).await.unwrap(), get(&pool, &busy).await.unwrap(), get(&pool, &busy).await.unwrap()];
    assert_eq!((counts.made.load(Ordering::SeqCst), pool.counts()), (7, (4, 1)));
    // From a tenant that has more it is taken although it was in use just now, until they have the same.
    drop(held);
    let mut both = Vec::new();
    for _ in 0..2 {
        both.push(get(&pool, &others[0]).await.unwrap());
    }
    assert_eq!(counts.made.load(Ordering::SeqCst), 9);
    assert!(timeout(Duration::from_millis(100), get(&pool, &others[0])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_node_does_not_become_slower_by_opening_connections() {
    let (pool, counts) = pool(4, 3);
    let others = ["t1", "t2", "t3", "t4"].map(route_for_tests);
    // Everything has rested for long, whenever the next tenant is asked: three times at once, and its own is back at once.
    for _ in 0..5 {
        for route in &others {
            let mut asked = tokio::task::JoinSet::new();
            for _ in 0..3 {
                let (pool, route) = (pool.clone(), route.clone());
                asked.spawn(async move {
                    let mut lease = get(&pool, &route).await.unwrap();
                    sleep(Duration::from_millis(10)).await;
                    number(&mut lease)
                });
            }
            asked.join_all().await;
            sleep(Duration::from_millis(300)).await;
        }
    }
    // Three of the first tenant's, which had room for them, and one of each of the others.
    assert_eq!(counts.made.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_of_another_tenant_gets_what_is_released() {
    let (pool, _) = pool(1, 1);
    let held = get(&pool, &route_for_tests("t1")).await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { get(&pool, &route_for_tests("t2")).await.map(|mut lease| lease.ask().tenant.clone()) }
    });
    settle().await;
    drop(held);
    assert_eq!(waiting.await.unwrap().unwrap(), "t2");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_at_its_share_does_not_hold_up_those_behind() {
    let (pool, _) = pool(2, 1);
    let t1 = get(&pool, &route_for_tests("t1")).await.unwrap();
    let t2 = get(&pool, &route_for_tests("t2")).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for name in ["t1", "t3"] {
        let (pool, order) = (pool.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let mut lease = get(&pool, &route_for_tests(name)).await.unwrap();
            lease.ask();
            order.lock().unwrap().push(name);
            settle().await;
        }));
        settle().await;
    }
    drop(t2);
    settle().await;
    assert_eq!(*order.lock().unwrap(), ["t3"]);
    drop(t1);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), ["t3", "t1"]);
}

#[tokio::test(start_paused = true)]
async fn giving_up_loses_nothing() {
    let (pool, counts) = pool(2, 2);
    let route = route_for_tests("t1");
    let held = [get(&pool, &route).await.unwrap(), get(&pool, &route).await.unwrap()];
    // Too late by their own deadline, and cancelled from outside.
    for _ in 0..5 {
        let too_late = pool.acquire(&route, false, Instant::now() + Duration::from_millis(10)).await;
        assert!(matches!(too_late.map(drop), Err(NoConnection::TooLate)));
        assert!(timeout(Duration::from_millis(10), get(&pool, &route)).await.is_err());
    }
    // Granted in the same instant in which they give up.
    let gone = tokio::spawn({
        let (pool, route) = (pool.clone(), route.clone());
        async move { get(&pool, &route).await.map(drop) }
    });
    settle().await;
    drop(held);
    gone.abort();
    settle().await;
    // Cancelled while opening.
    let other = route_for_tests("t2");
    assert!(timeout(Duration::from_millis(2), get(&pool, &other)).await.is_err());
    settle().await;
    let all = [get(&pool, &other).await.unwrap(), get(&pool, &other).await.unwrap()];
    assert_eq!(pool.counts(), (2, 0));
    drop(all);
    settle().await;
    assert_eq!(pool.counts(), (2, 2));
    assert_eq!(counts.most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_connection_keeps_its_slot_until_the_server_has_ended_it() {
    let (pool, counts) = pool(1, 1);
    let mut lease = get(&pool, &route_for_tests("t1")).await.unwrap();
    let first = lease.ask().number;
    drop(lease);
    assert_eq!((pool.counts(), counts.open.load(Ordering::SeqCst)), ((1, 0), 1));
    let began = Instant::now();
    assert_ne!(number(&mut get(&pool, &route_for_tests("t1")).await.unwrap()), first);
    assert!(began.elapsed() >= ENDING && counts.most.load(Ordering::SeqCst) == 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_gives_its_slot_back_at_once() {
    let (pool, counts) = pool(2, 2);
    let mut lease = get(&pool, &route_for_tests("t1")).await.unwrap();
    let first = lease.ask().number;
    lease.lost();
    drop(lease);
    assert_eq!((pool.counts(), counts.open.load(Ordering::SeqCst)), ((0, 0), 0));
    assert_ne!(number(&mut get(&pool, &route_for_tests("t1")).await.unwrap()), first);
}

#[tokio::test(start_paused = true)]
async fn a_new_generation_ends_idle_and_used_connections() {
    let (pool, counts) = pool(4, 4);
    let old = Route { generation: 1, ..route_for_tests("t1") };
    let new = Route { generation: 2, ..old.clone() };
    let used = get(&pool, &old).await.unwrap();
    drop(get(&pool, &old).await.unwrap());
    pool.retire(&old.tenant_id, 2);
    settle().await;
    assert_eq!(pool.counts(), (1, 0), "the idle one is closed");
    drop(used);
    settle().await;
    assert_eq!(pool.counts(), (0, 0), "the used one is closed when it comes back");
    // A request that still has the old route: its connection is not kept.
    drop(get(&pool, &old).await.unwrap());
    settle().await;
    assert_eq!(pool.counts(), (0, 0));
    drop(get(&pool, &new).await.unwrap());
    assert_eq!(pool.counts(), (1, 1));
    assert_eq!(counts.made.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_one_replaces_an_idle_one() {
    let (pool, counts) = pool(1, 1);
    let route = route_for_tests("t1");
    let first = number(&mut get(&pool, &route).await.unwrap());
    let mut fresh = pool.acquire(&route, true, Instant::now() + WAIT).await.unwrap();
    assert_ne!(number(&mut fresh), first);
    assert_eq!(counts.most.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_share_that_has_become_smaller_is_kept_as_connections_come_back() {
    let (pool, counts) = pool(4, 4);
    let route = route_for_tests("t1");
    let held =
        [get(&pool, &route).await.unwrap(), get(&pool, &route).await.unwrap(), get(&pool, &route).await.unwrap()];
    let smaller = Route { max_connections: 1, ..route };
    assert!(timeout(ENDING, get(&pool, &smaller)).await.is_err());
    drop(held);
    settle().await;
    assert!(counts.open.load(Ordering::SeqCst) <= 1, "{:?}", pool.counts());
    assert!(get(&pool, &smaller).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_swept() {
    let (pool, counts) = pool(4, 4);
    drop(get(&pool, &route_for_tests("t1")).await.unwrap());
    sleep(Duration::from_secs(40)).await;
    drop(get(&pool, &route_for_tests("t2")).await.unwrap());
    pool.sweep(Duration::from_secs(30));
    settle().await;
    assert_eq!((pool.counts(), counts.open.load(Ordering::SeqCst)), ((1, 1), 1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_costs_the_others_nothing() {
    let (pool, counts) = pool(4, 4);
    counts.down.store(true, Ordering::SeqCst);
    let mut tasks = Vec::new();
    for at in 0..50 {
        let pool = pool.clone();
        tasks.push(tokio::spawn(async move {
            let route = route_for_tests(&format!("t-{}", at % 10));
            get(&pool, &route).await.map(drop)
        }));
    }
    let began = Instant::now();
    for task in tasks {
        assert!(task.await.unwrap().is_err());
    }
    assert!(began.elapsed() <= WAIT + Duration::from_millis(100), "{:?}", began.elapsed());
    assert!(counts.made.load(Ordering::SeqCst) < 20, "no storm: {:?}", counts.made);
    settle().await;
    assert_eq!(pool.counts(), (0, 0));
    counts.down.store(false, Ordering::SeqCst);
    assert!(get(&pool, &route_for_tests("t-1")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_leaves_slots_for_another() {
    let (pool, counts) = pool(10, 2);
    counts.hangs.store(true, Ordering::SeqCst);
    let mut tasks = Vec::new();
    for at in 0..40 {
        let pool = pool.clone();
        tasks.push(tokio::spawn(async move {
            let route = route_for_tests(&format!("t-{at}"));
            get(&pool, &route).await.map(drop)
        }));
    }
    // After one open timeout the server is known to fail, and at most one try holds a slot.
    sleep(OPEN_TIMEOUT + Duration::from_millis(20)).await;
    assert!(pool.counts().0 <= 1, "{:?}", pool.counts());
    counts.hangs.store(false, Ordering::SeqCst);
    let mut elsewhere = route_for_tests("other");
    elsewhere.place.host = "db2".into();
    assert!(get(&pool, &elsewhere).await.is_ok());
    for task in tasks {
        let _ = task.await.unwrap();
    }
}
