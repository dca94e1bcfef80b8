//! How tenants share the budget: its limits, fairness between tenants, waiting, and giving up.

use super::fake::{ABORTING, get, number, pool, settle};
use super::*;
use crate::routing::route_for_tests;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test(start_paused = true)]
async fn budget_and_shares_hold_under_many_tenants() {
    let served = crowd(400).await;
    assert!(served > 2000, "{served}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn budget_and_shares_hold_on_many_threads() {
    assert!(crowd(100).await > 500);
}

/// Each worker asks 10 times, for various tenants, and sometimes gives up. Returns how often a worker was served.
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
                let Ok(mut connection) = get(&pool, &route).await else { continue };
                let now = in_use[tenant].fetch_add(1, Ordering::SeqCst) + 1;
                assert!(now <= 3, "a tenant has {now} connections in use");
                assert_eq!(connection.begin().tenant, route.tenant_id.as_str());
                let millis = ((worker + round) % 5) as u64;
                let asked = timeout(Duration::from_millis(3), sleep(Duration::from_millis(millis))).await;
                in_use[tenant].fetch_sub(1, Ordering::SeqCst);
                // Some give up in the middle of a statement.
                if asked.is_ok() {
                    connection.finished();
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
    assert_eq!(open, idle, "no connection is in use");
    assert_eq!(open, counts.open.load(Ordering::SeqCst));
    served
}

#[tokio::test(start_paused = true)]
async fn the_connection_idle_longest_is_closed_first() {
    let (pool, counts) = pool(2, 2);
    for name in ["t1", "t2", "t1"] {
        number(&mut get(&pool, &route_for_tests(name)).await.unwrap());
    }
    number(&mut get(&pool, &route_for_tests("t3")).await.unwrap());
    // The connection of t2 was closed, and that of t1 was not.
    number(&mut get(&pool, &route_for_tests("t1")).await.unwrap());
    assert_eq!(counts.made.load(Ordering::SeqCst), 3);
    assert_eq!(counts.most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_busy_tenant_takes_no_connection_in_recent_use() {
    let (pool, counts) = pool(4, 3);
    let others = ["t1", "t2", "t3", "t4"].map(route_for_tests);
    for route in &others {
        number(&mut get(&pool, route).await.unwrap());
    }
    // Six requests at once: one of the other tenants makes room for the first, and the rest wait for its connection.
    let busy = route_for_tests("busy");
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (pool, busy) = (pool.clone(), busy.clone());
        asked.spawn(async move {
            let mut connection = get(&pool, &busy).await.unwrap();
            sleep(Duration::from_millis(5)).await;
            number(&mut connection)
        });
    }
    assert_eq!(asked.join_all().await, [4; 6]);
    for (route, made) in others[1..].iter().zip(1..) {
        assert_eq!(number(&mut get(&pool, route).await.unwrap()), made, "it was taken from {}", route.tenant_id);
    }
    assert_eq!(counts.made.load(Ordering::SeqCst), 5);

    // A connection that has rested for a while is taken, up to the tenant's share.
    sleep(Duration::from_millis(300)).await;
    let held = [get(&pool, &busy).await.unwrap(), get(&pool, &busy).await.unwrap(), get(&pool, &busy).await.unwrap()];
    assert_eq!((counts.made.load(Ordering::SeqCst), pool.counts()), (7, (4, 1)));
    // From a tenant that has more, a connection is taken although it was in use just now, until both have the same.
    drop(held);
    let mut both = Vec::new();
    for _ in 0..2 {
        both.push(get(&pool, &others[0]).await.unwrap());
    }
    assert_eq!(counts.made.load(Ordering::SeqCst), 9);
    assert!(timeout(Duration::from_millis(100), get(&pool, &others[0])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_node_opens_no_more_connections_than_it_needs() {
    let (pool, counts) = pool(4, 3);
    let others = ["t1", "t2", "t3", "t4"].map(route_for_tests);
    // Every connection has rested for long when the next tenant gets three requests at once, and its own is back soon.
    for _ in 0..5 {
        for route in &others {
            let mut asked = tokio::task::JoinSet::new();
            for _ in 0..3 {
                let (pool, route) = (pool.clone(), route.clone());
                asked.spawn(async move {
                    let mut connection = get(&pool, &route).await.unwrap();
                    sleep(Duration::from_millis(10)).await;
                    number(&mut connection)
                });
            }
            asked.join_all().await;
            sleep(Duration::from_millis(300)).await;
        }
    }
    // The first tenant opened three, because there was room for them, and each of the others one.
    assert_eq!(counts.made.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn a_released_slot_goes_to_a_waiter_of_another_tenant() {
    let (pool, _) = pool(1, 1);
    let held = get(&pool, &route_for_tests("t1")).await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { get(&pool, &route_for_tests("t2")).await.map(|mut connection| connection.begin().tenant.clone()) }
    });
    settle().await;
    drop(held);
    assert_eq!(waiting.await.unwrap().unwrap(), "t2");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_at_its_share_does_not_block_the_queue() {
    let (pool, _) = pool(2, 1);
    let t1 = get(&pool, &route_for_tests("t1")).await.unwrap();
    let t2 = get(&pool, &route_for_tests("t2")).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for name in ["t1", "t3"] {
        let (pool, order) = (pool.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let mut connection = get(&pool, &route_for_tests(name)).await.unwrap();
            connection.begin();
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
async fn a_request_that_gives_up_loses_no_slot() {
    let (pool, counts) = pool(2, 2);
    let route = route_for_tests("t1");
    let held = [get(&pool, &route).await.unwrap(), get(&pool, &route).await.unwrap()];
    // Requests that reach their deadline, and requests that are cancelled from outside.
    for _ in 0..5 {
        let too_late = pool.acquire(&route, false, Instant::now() + Duration::from_millis(10)).await;
        assert!(matches!(too_late.map(drop), Err(NoConnection::TooLate)));
        assert!(timeout(Duration::from_millis(10), get(&pool, &route)).await.is_err());
    }
    // A request that is granted a connection in the same instant in which it gives up.
    let gone = tokio::spawn({
        let (pool, route) = (pool.clone(), route.clone());
        async move { get(&pool, &route).await.map(drop) }
    });
    settle().await;
    drop(held);
    gone.abort();
    settle().await;
    // A request that is cancelled while its connection is being opened.
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
async fn a_smaller_share_holds_once_connections_come_back() {
    let (pool, counts) = pool(4, 4);
    let route = route_for_tests("t1");
    let held =
        [get(&pool, &route).await.unwrap(), get(&pool, &route).await.unwrap(), get(&pool, &route).await.unwrap()];
    let smaller = Route { max_connections: 1, ..route };
    assert!(timeout(ABORTING, get(&pool, &smaller)).await.is_err());
    drop(held);
    settle().await;
    assert!(counts.open.load(Ordering::SeqCst) <= 1, "{:?}", pool.counts());
    assert!(get(&pool, &smaller).await.is_ok());
}
